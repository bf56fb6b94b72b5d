/** Hyper-V's MSRs, each with good and bad values, against the TLFS. */
import { describe, expect, test } from 'vitest'
import { CALL_PAGE, OS_ID, setUp } from '../testing.ts'
import { msrs } from './index.ts'

const GUEST_OS_ID = 0x40000000
const HYPERCALL = 0x40000001
const REFERENCE_TSC = 0x40000021
const ASSIST = 0x40000073
const CRASH_P0 = 0x40000100
const CRASH_CTL = 0x40000105

const page = (number: number) => BigInt(number) << 12n
const bytes = (text: string) => new TextEncoder().encode(text)

describe('the hypercall page', () => {
  test('needs an identity', () => {
    const { write, read, ram } = setUp()
    expect(read(GUEST_OS_ID)).toBe(0n)
    expect(write(HYPERCALL, page(5) | 1n)).toBe(true)
    expect(read(HYPERCALL)).toBe(page(5))
    expect(ram[0x5000]).toBe(0)
    write(GUEST_OS_ID, OS_ID, 3)
    expect(read(GUEST_OS_ID)).toBe(OS_ID)
    expect(write(HYPERCALL, page(5) | 1n, 2)).toBe(true)
    expect(read(HYPERCALL)).toBe(page(5) | 1n)
  })

  test.each([
    ['inorder', 0xc1],
    ['amd', 0xd9],
  ] as const)('has the instruction of the processor: %s', (cpu, last) => {
    const { enable, ram } = setUp({ cpu })
    expect(enable()).toBe(true)
    expect([...ram.subarray(0x5000, 0x5009)]).toEqual([0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x01, last, 0xc3, 0])
  })

  test('covers what is there, moves, and uncovers it', () => {
    const { enable, write, ram, effects } = setUp()
    effects.memory.write(0x5000n, bytes('five'))
    effects.memory.write(0x6000n, bytes('six'))
    enable()
    expect(ram[0x5000]).toBe(0xf3)
    write(HYPERCALL, page(6) | 1n)
    expect(new TextDecoder().decode(ram.subarray(0x5000, 0x5004))).toBe('five')
    expect(ram[0x6000]).toBe(0xf3)
    write(HYPERCALL, page(6))
    expect(new TextDecoder().decode(ram.subarray(0x6000, 0x6003))).toBe('six')
  })

  test('goes when the identity goes', () => {
    const { enable, write, read, ram } = setUp()
    enable()
    write(GUEST_OS_ID, 0)
    expect(read(HYPERCALL)).toBe(page(CALL_PAGE))
    expect(ram[0x5000]).toBe(0)
  })

  test('cannot lie outside memory', () => {
    const { enable, write, read } = setUp()
    enable()
    expect(write(HYPERCALL, page(64) | 1n)).toBe(false)
    expect(write(HYPERCALL, 0xffff_ffff_ffff_f001n)).toBe(false)
    expect(read(HYPERCALL)).toBe(page(CALL_PAGE) | 1n)
  })

  test('cannot be moved once it is locked', () => {
    const { enable, write, read } = setUp()
    enable()
    write(HYPERCALL, page(6) | 3n)
    expect(write(HYPERCALL, page(7) | 1n)).toBe(true)
    expect(read(HYPERCALL)).toBe(page(6) | 3n)
  })

  test('keeps its reserved bits', () => {
    const { enable, write, read } = setUp()
    enable()
    write(HYPERCALL, page(6) | 0xffdn)
    expect(read(HYPERCALL)).toBe(page(6) | 0xffdn)
  })
})

test('VP index: the vCPU, read-only', () => {
  const { read, write } = setUp()
  expect([0, 1, 2, 3].map((cpu) => read(0x40000002, cpu))).toEqual([0n, 1n, 2n, 3n])
  expect(write(0x40000002, 0)).toBe(false)
})

test('VP runtime: the time of the turns, read-only', () => {
  const { read, write, platform, advance } = setUp()
  platform.enter(1)
  advance(1000)
  expect(read(0x40000010, 1)).toBe(10n)
  platform.leave(1)
  advance(1000)
  platform.enter(1)
  advance(250)
  expect(read(0x40000010, 1)).toBe(12n)
  expect(read(0x40000010, 0)).toBe(0n)
  expect(write(0x40000010, 0)).toBe(false)
})

test('reset: bit 0 only', () => {
  const { read, write, done } = setUp()
  expect(write(0x40000003, 2)).toBe(true)
  expect(done()).toEqual([])
  expect(write(0x40000003, 1)).toBe(true)
  expect(done()).toEqual(['reset'])
  expect(read(0x40000003)).toBe(0n)
})

test('frequencies: read-only', () => {
  const { read, write } = setUp()
  expect(read(0x40000022)).toBe(1_000_000_000n)
  expect(read(0x40000023)).toBe(25_000_000n)
  expect(write(0x40000022, 1)).toBe(false)
  expect(write(0x40000023, 1)).toBe(false)
})

describe('reference time', () => {
  /** As the document tells a guest to compute it. */
  const fromPage = ({ view, effects }: ReturnType<typeof setUp>, at: number) => {
    expect(view.getUint32(at, true)).not.toBe(0)
    const tsc = BigInt.asUintN(64, BigInt(effects.time.now()) + effects.time.tscOffset(0))
    return ((tsc * view.getBigUint64(at + 8, true)) >> 64n) + view.getBigInt64(at + 16, true)
  }

  test('the counter starts at 0, counts 100 ns, is read-only', () => {
    const { read, write, advance } = setUp()
    expect(read(0x40000020)).toBe(0n)
    advance(1e9)
    expect(read(0x40000020, 3)).toBe(10_000_000n)
    expect(write(0x40000020, 0)).toBe(false)
  })

  test('the page gives what the counter gives', () => {
    const guest = setUp()
    guest.write(REFERENCE_TSC, page(9) | 1n)
    for (const step of [0, 99, 1, 100, 12345, 1e9, 86_400e9, 0.5e9 + 7]) {
      guest.advance(step)
      expect(fromPage(guest, 0x9000)).toBe(guest.read(0x40000020))
    }
  })

  test('the page allows for a TSC that was written', () => {
    const guest = setUp()
    guest.advance(1e9)
    guest.vcpu(0).tscOffset = -1_000_000_000n
    guest.write(REFERENCE_TSC, page(9) | 1n)
    guest.advance(1e6)
    expect(fromPage(guest, 0x9000)).toBe(10_010_000n)
  })

  test('the sequence number changes when the page does, and is never 0', () => {
    const { write, view } = setUp()
    const sequences = [9, 9, 10].map((number) => {
      write(REFERENCE_TSC, page(number) | 1n)
      return view.getUint32(number << 12, true)
    })
    expect(new Set(sequences).size).toBe(3)
    expect(sequences).not.toContain(0)
  })

  test('the page covers what is there; reserved bits stay; one outside memory is not seen', () => {
    const { write, read, ram, effects } = setUp()
    effects.memory.write(0x9000n, bytes('nine'))
    write(REFERENCE_TSC, page(9) | 0xfffn)
    expect(read(REFERENCE_TSC, 1)).toBe(page(9) | 0xfffn)
    expect(ram[0x9000]).toBe(1)
    expect(write(REFERENCE_TSC, page(1000) | 1n)).toBe(true)
    expect(read(REFERENCE_TSC)).toBe(page(1000) | 1n)
    expect(new TextDecoder().decode(ram.subarray(0x9000, 0x9004))).toBe('nine')
  })
})

describe('local APIC', () => {
  test('EOI: write-only', () => {
    const { write, read, done } = setUp()
    expect(write(0x40000070, 0, 2)).toBe(true)
    expect(done()).toEqual(['eoi 2'])
    expect(read(0x40000070)).toBeUndefined()
  })

  test('ICR: high half and low half', () => {
    const { write, read, done } = setUp()
    expect(write(0x40000071, 0x02000000_000000fdn, 1)).toBe(true)
    expect(done()).toEqual(['icr 1 0x2000000000000fd'])
    expect(read(0x40000071, 1)).toBe(0x02000000_000000fdn)
  })

  test('TPR: eight bits', () => {
    const { write, read } = setUp()
    expect(write(0x40000072, 0xffff_ff30n, 1)).toBe(true)
    expect(read(0x40000072, 1)).toBe(0x30n)
    expect(read(0x40000072, 0)).toBe(0n)
  })
})

describe('VP assist page', () => {
  test('an EOI is left out when the guest clears the bit', () => {
    const { write, ram, vcpu } = setUp()
    expect(vcpu(1).assist).toBeUndefined()
    expect(write(ASSIST, page(7) | 1n, 1)).toBe(true)
    const assist = vcpu(1).assist
    expect(assist?.offer()).toBe(true)
    expect(ram[0x7000]).toBe(1)
    ram[0x7000] = 0
    expect(assist?.withdraw()).toBe(true)
    expect(assist?.offer()).toBe(true)
    expect(assist?.withdraw()).toBe(false)
    expect(ram[0x7000]).toBe(0)
    expect(vcpu(0).assist).toBeUndefined()
  })

  test('is an overlay: zero at first, kept while it moves, gone when it is disabled', () => {
    const { write, read, ram, vcpu, effects } = setUp()
    effects.memory.write(0x7000n, bytes('seven'))
    write(ASSIST, page(7) | 1n)
    expect(ram[0x7000]).toBe(0)
    ram[0x7010] = 9
    write(ASSIST, page(8) | 1n)
    expect(ram[0x8010]).toBe(9)
    expect(new TextDecoder().decode(ram.subarray(0x7000, 0x7005))).toBe('seven')
    write(ASSIST, page(8))
    expect(ram[0x8010]).toBe(0)
    expect(vcpu(0).assist).toBeUndefined()
    expect(read(ASSIST)).toBe(page(8))
  })

  test('cannot lie outside memory', () => {
    const { write, read } = setUp()
    expect(write(ASSIST, page(64) | 1n)).toBe(false)
    expect(read(ASSIST)).toBe(0n)
  })

  test('exists without EOIs left out, for Linux writes it unasked', () => {
    const { write, vcpu } = setUp({ features: ['no-eoi-assist', 'no-apic-msrs'] })
    expect(write(ASSIST, page(7) | 1n)).toBe(true)
    expect(vcpu(0).assist).toBeUndefined()
  })

  test('is gone after INIT', () => {
    const { write, read, vcpu, platform } = setUp()
    write(ASSIST, page(7) | 1n, 1)
    platform.init(1)
    expect(read(ASSIST, 1)).toBe(0n)
    expect(vcpu(1).assist).toBeUndefined()
  })
})

test('guest idle: a read halts, a write is refused', () => {
  const { read, write, done } = setUp()
  expect(read(0x400000f0, 2)).toBe(0n)
  expect(done()).toEqual(['block 2'])
  expect(write(0x400000f0, 0)).toBe(false)
})

describe('crash', () => {
  test('five parameters, reported', () => {
    const { write, read, done } = setUp()
    expect(read(CRASH_CTL)).toBe(0xc000_0000_0000_0000n)
    for (let i = 0; i < 5; i++) write(CRASH_P0 + i, 0x10 + i, i % 4)
    expect(read(CRASH_P0 + 4)).toBe(0x14n)
    expect(write(CRASH_CTL, 1n << 62n)).toBe(true)
    expect(done()).toEqual([])
    expect(write(CRASH_CTL, 1n << 63n)).toBe(true)
    expect(done()).toEqual(['report crash: P0=0x10 P1=0x11 P2=0x12 P3=0x13 P4=0x14'])
  })

  test('a message of at most 4096 bytes, as text', () => {
    const { write, done, effects, ram } = setUp()
    effects.memory.write(0x3000n, bytes('<0>Kernel panic\n<0>\u001b[31mred\n\n'))
    write(CRASH_P0 + 3, 0x3000)
    write(CRASH_P0 + 4, 29)
    write(CRASH_CTL, 3n << 62n)
    expect(done()[0]).toMatch(/P4=0x1d <0>Kernel panic <0>\.\[31mred$/)
    ram.fill(0x41, 0x3000, 0x6000)
    write(CRASH_P0 + 4, 1 << 20)
    write(CRASH_CTL, 3n << 62n)
    expect(done()[0]).toMatch(/P4=0x100000 A{4096}$/)
  })

  test('a message outside memory is none', () => {
    const { write, done } = setUp()
    for (const at of [0x3ff00n, 1n << 63n, 0xffff_ffff_ffff_ffffn]) {
      write(CRASH_P0 + 3, at)
      write(CRASH_P0 + 4, 4096)
      expect(write(CRASH_CTL, 3n << 62n)).toBe(true)
      expect(done()[0]).toMatch(/P4=0x1000$/)
    }
  })
})

test('changes of the TSC: registers that keep their values, and a status that is 0', () => {
  const { write, read } = setUp()
  const control = (3n << 32n) | (1n << 16n) | 0xeen
  expect(write(0x40000106, control)).toBe(true)
  expect(read(0x40000106, 1)).toBe(control)
  expect(write(0x40000107, 1)).toBe(true)
  expect(read(0x40000107)).toBe(1n)
  expect(read(0x40000108)).toBe(0n)
  expect(write(0x40000108, 0)).toBe(true)
  expect(write(0x40000108, 1)).toBe(false)
})

test('an MSR without its feature is #GP, and so are those that do not exist', () => {
  for (const { number, name, feature } of msrs) {
    if (!feature) continue
    const { read, write } = setUp({ features: [`no-${feature}`] })
    expect(read(number), name).toBeUndefined()
    expect(write(number, 0), name).toBe(false)
  }
  const { read, write } = setUp()
  for (const number of [0x40000004, 0x400000b8, 0x400000f1, 0x40000114, 0x4000ffff]) {
    expect(read(number)).toBeUndefined()
    expect(write(number, 0)).toBe(false)
  }
})

test('each access is noted', () => {
  const { read, write, events } = setUp()
  read(0x40000002, 1)
  write(0x40000002, 5)
  expect(events.map(({ vcpu, request, access, args, result }) => [vcpu, request.name, access, args, result])).toEqual([
    [1, 'HV_X64_MSR_VP_INDEX', 'read', [], 1n],
    [0, 'HV_X64_MSR_VP_INDEX', 'write', [5n], '#GP'],
  ])
})

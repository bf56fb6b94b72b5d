/** Xen PV's platform without a processor: hypercalls of the processor mode, vcpu_guest_context, MSRs, CPUID. */
import { beforeEach, describe, expect, test } from 'vitest'
import { cpuModel, cpuid } from '../../../cpu/models.ts'
import { Mock } from '../../../paravirt/mock.ts'
import { Observer } from '../../../paravirt/observe.ts'
import { pvFrames } from '../mm/create.ts'
import { TYPE, Type } from '../mm/frame-table.ts'
import { CONTEXT_BYTES } from './context.ts'
import { XenPvPlatform } from './index.ts'
import type { PvKind } from './kind.ts'

const MEMORY = 0x200000
const PAGE = 4096
const AREA = 0x1000
const HANDLER = 0xffff_ffff_8100_0000n
const XEN = 0xffff_8000_0000_0000n
const HOLE = 1n << 47n

let mock: Mock
let platform: XenPvPlatform
let kind: PvKind
/** Frames of the domain's. */
let own: number[]

const make = (model: 'inorder' | 'amd' = 'inorder') => {
  mock = new Mock({ vcpus: 2, pages: MEMORY / PAGE, frames: pvFrames(MEMORY) })
  platform = new XenPvPlatform({
    effects: mock.effects,
    model: cpuModel(model),
    features: new Set(),
    observer: new Observer(() => 0),
  })
  kind = platform.domain.kind as PvKind
  kind.mm.frames.maximum = 64
  own = Array.from({ length: 16 }, () => kind.mm.frames.allocate(0))
  mock.log.length = 0
}
beforeEach(() => make())

const pv = () => mock.effects.pv
const hypercall = (number: number, ...args: (number | bigint)[]): number => {
  const names = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const
  mock.effects.cpu.setRegister(0, 'rax', BigInt(number))
  names.forEach((name, i) => mock.effects.cpu.setRegister(0, name, BigInt(args[i] ?? 0)))
  expect(platform.pv.hypercall(0)).toBe('done')
  return Number(BigInt.asIntN(64, mock.effects.cpu.register(0, 'rax')))
}
const view = () => mock.view
const put = (at: number, ...values: (number | bigint)[]) =>
  values.forEach((value, i) => view().setBigUint64(at + 8 * i, BigInt.asUintN(64, BigInt(value)), true))

describe('set_trap_table', () => {
  const trap = (i: number, vector: number, flags: number, cs: number, address: bigint) =>
    put(AREA + 16 * i, BigInt(vector | (flags << 8) | (cs << 16)), address)

  test('takes entries up to one without address, with selectors of ring 3', () => {
    trap(0, 14, 4, 0xe030, HANDLER)
    trap(1, 3, 3, 0x10, 0x1000n)
    trap(2, 9, 0, 0, 0n)
    expect(hypercall(0, AREA)).toBe(0)
    expect([14, 3, 9].map((vector) => pv().trap(0, vector))).toEqual([
      { flags: 4, cs: 0xe033, address: HANDLER },
      { flags: 3, cs: 0x13, address: 0x1000n },
      { flags: 0, cs: 0, address: 0n },
    ])
    expect(hypercall(0, 0)).toBe(0)
    expect(pv().trap(0, 14).address).toBe(0n)
  })

  test('stops at what is no address, or cannot be read', () => {
    trap(0, 14, 4, 0xe030, HANDLER)
    trap(1, 3, 3, 0x10, HOLE)
    expect(hypercall(0, AREA)).toBe(-22)
    expect(pv().trap(0, 14).address).toBe(HANDLER)
    expect(hypercall(0, HOLE * 2n - 16n)).toBe(-14)
    expect(hypercall(0, XEN)).toBe(-14)
  })

  test('a table without end is taken in slices', () => {
    for (let i = 0; i < 256; i++) trap(i, i, 0, 0, 0x1000n)
    put(AREA + 4096, 0, 0)
    mock.effects.cpu.setRegister(0, 'rax', 0n)
    mock.effects.cpu.setRegister(0, 'rdi', BigInt(AREA))
    expect(platform.pv.hypercall(0)).toBe('again')
    expect(mock.effects.cpu.register(0, 'rdi')).toBe(BigInt(AREA + 4096))
    expect(platform.pv.hypercall(0)).toBe('done')
  })
})

describe('callbacks', () => {
  const register = (type: number, flags: number, address: bigint) => {
    put(AREA, BigInt(type | (flags << 16)), address)
    return hypercall(30, 0, AREA)
  }

  test('are registered by type, and say whether they mask', () => {
    expect([0, 1, 2, 5, 7].map((type) => register(type, 1, HANDLER + BigInt(type)))).toEqual([0, 0, 0, 0, 0])
    expect(
      ['event', 'failsafe', 'syscall', 'sysenter', 'syscall32'].map((name) => pv().wide(0, name as 'event')),
    ).toEqual([HANDLER, HANDLER + 1n, HANDLER + 2n, HANDLER + 5n, HANDLER + 7n])
    expect([pv().word(0, 'flags'), pv().word(0, 'sysenterMasks'), pv().word(0, 'syscall32Masks')]).toEqual([0x18, 1, 1])
    expect([register(1, 0, 0n), register(2, 0, 0n), pv().word(0, 'flags')]).toEqual([0, 0, 0])
  })

  test('bad ones are refused', () => {
    expect([register(0, 0, HOLE), register(3, 0, HANDLER), register(9, 0, HANDLER)]).toEqual([-22, -38, -38])
    expect([hypercall(30, 0, HOLE), hypercall(30, 2, AREA)]).toEqual([-14, -38])
  })

  test('only the one for NMIs can be taken away', () => {
    expect([register(4, 0, HANDLER), pv().trap(0, 2)]).toEqual([0, { flags: 4, cs: 0xe033, address: HANDLER }])
    const unregister = (type: number) => {
      put(AREA, type)
      return hypercall(30, 1, AREA)
    }
    expect([0, 1, 2, 5, 7, 3, 4].map(unregister)).toEqual([-22, -22, -22, -22, -22, -38, 0])
    expect(pv().trap(0, 2).address).toBe(0n)
  })

  test('nmi_op and set_callbacks do the same', () => {
    put(AREA, HANDLER, 0)
    expect([hypercall(28, 0, AREA), pv().trap(0, 2).address]).toEqual([0, HANDLER])
    put(AREA, HOLE, 0)
    expect([hypercall(28, 0, AREA), hypercall(28, 1), hypercall(28, 2), hypercall(28, 0, HOLE)]).toEqual([
      -22, 0, -38, -14,
    ])
    expect(hypercall(4, HANDLER, HOLE, HANDLER + 1n)).toBe(0)
    expect([pv().wide(0, 'event'), pv().wide(0, 'failsafe'), pv().wide(0, 'syscall')]).toEqual([
      HANDLER,
      0n,
      HANDLER + 1n,
    ])
  })
})

test('sched_op_compat: yield, block, end, by value', () => {
  expect([hypercall(6, 0), hypercall(6, 1), hypercall(6, 3)]).toEqual([0, 0, -38])
  mock.log.length = 0
  expect(hypercall(6, 2, 1)).toBe(0)
  expect(mock.log).toEqual(['reset'])
})

describe('hypercalls of older guests', () => {
  let end: number
  beforeEach(() => void (end = mock.ram.length))

  test('event_channel_op_compat: the command stands in the structure, the answer goes into it', () => {
    put(AREA, 6n | (0x7ff0n << 32n), 0n)
    expect([hypercall(16, AREA), view().getUint32(AREA + 8, true)]).toEqual([0, 1])
    put(AREA, 4n | (1n << 32n))
    expect(hypercall(16, AREA)).toBe(0)
    for (const command of [10n, 11n, 12n, 13n, 14n, 99n]) {
      put(AREA, command | (1n << 32n))
      expect(hypercall(16, AREA)).toBe(-38)
    }
    // All of it must be there, whatever the command needs of it.
    put(end - 24, 4n | (1n << 32n))
    expect([hypercall(16, end - 24), hypercall(16, XEN)]).toEqual([-14, -14])
    put(end - 32, 0n, 0n)
    view().setUint32(end - 28, 4, true)
    view().setUint32(end - 24, 1, true)
    expect(hypercall(16, end - 28)).toBe(0)
  })

  test('physdev_op_compat: the union follows at 8, as it holds pointers', () => {
    put(AREA, 6n, 3n)
    expect([hypercall(19, AREA), pv().word(0, 'iopl')]).toEqual([0, 0x3000])
    put(AREA, 6n, 4n)
    expect(hypercall(19, AREA)).toBe(-22)
    put(AREA, 7n, 0x3000n, 8n)
    expect([hypercall(19, AREA), pv().wide(0, 'iobmp')]).toEqual([0, 0x3000n])
    put(AREA, 8n)
    expect(hypercall(19, AREA)).toBe(-1)
    put(AREA, 99n)
    expect([hypercall(19, AREA), hypercall(19, end - 16), hypercall(19, XEN)]).toEqual([-38, -14, -14])
  })

  test('they are multicalls’ as well', () => {
    put(AREA, 19n, 0n, AREA + 64, 0n, 0n, 0n, 0n, 0n, 6n, 1n)
    expect([hypercall(13, AREA, 1), pv().word(0, 'iopl')]).toEqual([0, 0x1000])
  })
})

describe('descriptors', () => {
  const type = (frame: number) => (kind.mm.frames.types[frame] as number) & TYPE

  test('set_gdt makes descriptor tables of its frames, and lets go of the old ones', () => {
    put(AREA, own[0] as number, own[1] as number)
    expect(hypercall(2, AREA, 600)).toBe(0)
    expect(mock.log.at(-1)).toBe(`gdt 0 0x${own[0]?.toString(16)} 0x${own[1]?.toString(16)} 600`)
    expect([type(own[0] as number), kind.mm.frames.typeRefs[own[1] as number]]).toEqual([Type.SEG_DESC, 1])
    put(AREA, own[2] as number)
    expect([hypercall(2, AREA, 16), kind.mm.frames.typeRefs[own[1] as number]]).toEqual([0, 0])
  })

  test('set_gdt refuses too many entries, others’ frames, tables and unsafe descriptors', () => {
    put(AREA, own[0] as number, 5, 1n << 32n)
    expect([
      hypercall(2, AREA, 7169),
      hypercall(2, HOLE, 16),
      hypercall(2, AREA, 1024),
      hypercall(2, AREA + 16, 16),
    ]).toEqual([-22, -14, -22, -22])
    // A TSS.
    put((own[5] as number) * PAGE, 0x0000890000000067n)
    put(AREA, own[5] as number)
    expect(hypercall(2, AREA, 16)).toBe(-22)
  })

  test('update_descriptor writes what it makes of a descriptor', () => {
    const address = BigInt(own[3] as number) * 4096n + 8n
    expect(hypercall(10, address, 0x00af9b000000ffffn)).toBe(0)
    expect(view().getBigUint64(Number(address), true)).toBe(0x00affb000000ffffn)
    expect(hypercall(10, address, 0)).toBe(0)
    const bad: [bigint, bigint][] = [
      [address + 4n, 0n],
      [0x5000n, 0n],
      [1n << 60n, 0n],
      [address, 0x0000890000000067n],
      [address, 0x0000820000000067n],
    ]
    for (const [at, descriptor] of bad) expect(hypercall(10, at, descriptor)).toBe(-22)
    kind.mm.frames.types[own[4] as number] = Type.L1
    kind.mm.frames.typeRefs[own[4] as number] = 1
    expect(hypercall(10, BigInt(own[4] as number) * 4096n, 0)).toBe(-22)
  })
})

describe('registers', () => {
  test('debug registers', () => {
    expect([hypercall(8, 0, 0x1000), hypercall(9, 0)]).toEqual([0, 0x1000])
    expect([hypercall(8, 1, XEN), hypercall(8, 7, 1n << 32n), hypercall(8, 8, 0), hypercall(9, 8)]).toEqual([
      -1, -22, -19, -19,
    ])
    expect([hypercall(8, 2, HANDLER), hypercall(9, 2)]).toEqual([0, Number(BigInt.asIntN(64, HANDLER))])
  })

  test('those that the core does, in multicalls', () => {
    put(AREA, 3, 0, 0xe02b, 0x8000, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 25, 0, 2, HANDLER, 0, 0, 0, 0, 25, 0, 9)
    expect(hypercall(13, AREA, 4)).toBe(0)
    expect(mock.log).toEqual(['stack 0 0xe02b 0x8000', 'ts 0 1', `segment-base 0 2 0x${HANDLER.toString(16)}`])
    expect([1, 9, 17, 25].map((i) => view().getBigInt64(AREA + 8 * i, true))).toEqual([0n, 0n, 0n, -22n])
  })

  test('I/O privilege', () => {
    put(AREA, 3)
    expect([hypercall(33, 6, AREA), pv().word(0, 'iopl')]).toEqual([0, 0x3000])
    put(AREA, 4)
    expect([hypercall(33, 6, AREA), hypercall(33, 6, HOLE), hypercall(33, 8, AREA), hypercall(33, 99, AREA)]).toEqual([
      -22, -14, -1, -38,
    ])
    put(AREA, 0x3000, 0x10000)
    expect([hypercall(33, 7, AREA), pv().wide(0, 'iobmp'), pv().word(0, 'iobmpLimit')]).toEqual([0, 0x3000n, 0x10000])
    put(AREA, 0x3000, 0x10001)
    expect(hypercall(33, 7, AREA)).toBe(-22)
    put(AREA, XEN, 8)
    expect(hypercall(33, 7, AREA)).toBe(-22)
  })
})

describe('VCPUOP_initialise', () => {
  const CONTEXT = 0x10000
  /** As Linux fills it, with an L4 table that is empty. */
  const fill = () => {
    for (let at = 0; at < CONTEXT_BYTES; at += 8) put(CONTEXT + at, 0)
    put(CONTEXT + 0x200, 4)
    put(CONTEXT + 0x288, HANDLER, 0xe030, 0x1000, 0x9000, 0xe02b)
    put(CONTEXT + 0x12e0, own[0] as number)
    put(CONTEXT + 0x1360, 16, 0xe02b, 0xa000)
    put(CONTEXT + 0x1390, (own[1] as number) * PAGE)
    put(CONTEXT + 0x2d0 + 14 * 16, 14 | (4 << 8), HANDLER)
    put(CONTEXT + 0x13f8, HANDLER, HANDLER + 1n, HANDLER + 2n)
  }
  const initialise = () => hypercall(24, 0, 1, CONTEXT)

  test('the vCPU begins as it says when it is brought up', () => {
    fill()
    mock.effects.cpu.park(1)
    expect([hypercall(24, 1, 1), initialise(), initialise(), hypercall(24, 3, 1)]).toEqual([-22, 0, -17, 0])
    expect([pv().wide(1, 'kernelSp'), pv().wide(1, 'event'), pv().trap(1, 14).address, pv().word(1, 'kernel')]).toEqual(
      [0xa000n, HANDLER, HANDLER, 1],
    )
    expect(kind.mm.kernelRoots[1]).toBe(own[1])
    mock.log.length = 0
    expect(hypercall(24, 1, 1)).toBe(0)
    expect(mock.log[0]).toBe(`begin 1 0x${HANDLER.toString(16)}`)
  })

  test.each([
    ['an instruction pointer that is no address', 0x288, HOLE],
    ['a stack that is none', 0x2a0, HOLE],
    ['a trap that is none', 0x2d8, HOLE],
    ['a callback that is none', 0x1408, HOLE],
    ['an LDT in Xen', 0x12d0, XEN],
    ['an LDT that is not aligned', 0x12d0, 8n],
    ['an LDT that is too large', 0x12d8, 8193n],
    ['user mode without a page table', 0x200, 0n],
    ['a GDT that is too large', 0x1360, 8193n],
    ['a GDT of another’s frames', 0x12e0, 5n],
    ['a page table that is none of its own', 0x1390, 0x5000n],
    ['no page table', 0x1390, 0n],
    ['a page table beyond all frames', 0x1390, (1n << 52n) + 0x5000n],
  ])('refuses %s', (_name, offset, value) => {
    fill()
    mock.effects.cpu.park(1)
    put(CONTEXT + offset, value)
    expect(initialise()).toBe(-22)
    expect([kind.mm.frames.typeRefs[own[0] as number], kind.mm.kernelRoots[1]]).toEqual([0, 0])
  })

  test('refuses a user page table in frame 0', () => {
    fill()
    put(CONTEXT + 0x1380, 1n)
    expect(initialise()).toBe(-22)
  })

  test('one that is online counts as up, but runs only after it has been down', () => {
    fill()
    put(CONTEXT + 0x200, 0x24)
    mock.effects.cpu.park(1)
    expect([initialise(), hypercall(24, 3, 1), hypercall(24, 1, 1)]).toEqual([0, 1, 0])
    expect(mock.effects.cpu.running(1)).toBe(false)
    expect([hypercall(24, 2, 1), hypercall(24, 3, 1), hypercall(24, 1, 1)]).toEqual([0, 0, 0])
    expect(mock.log.filter((line) => line.startsWith('begin'))).toHaveLength(1)
  })

  test('refuses what it cannot read, and vCPUs that are none', () => {
    expect([hypercall(24, 0, 1, HOLE), hypercall(24, 0, 2, CONTEXT)]).toEqual([-14, -2])
  })
})

test('XENMEM_set_memory_map: its inner structure begins at a multiple of 8', () => {
  const SELF = 0x7ff0
  put(AREA, SELF, 1, 0x3000)
  put(0x3000, 0x1000, 0x2000, 2)
  expect(hypercall(12, 13, AREA)).toBe(0)
  put(AREA, 4, 0x4000)
  expect([hypercall(12, 9, AREA), view().getUint32(AREA, true)]).toEqual([0, 1])
  expect(view().getBigUint64(0x4008, true)).toBe(0x2000n)
})

describe('time', () => {
  const bind = () => {
    put(AREA, 0, 0)
    return hypercall(32, 1, AREA)
  }
  const ticks = () => {
    const at = platform.domain.sharedInfo.address + 0x800
    const [bits] = [view().getUint32(at, true), view().setUint32(at, 0, true)]
    return bits !== 0
  }

  test('a vCPU ticks until it is told not to, and again in a restored domain', () => {
    expect(bind()).toBe(0)
    mock.advance(20_000_000)
    platform.enter(0)
    expect(ticks()).toBe(true)
    expect(hypercall(24, 7, 0)).toBe(0)
    mock.advance(20_000_000)
    platform.enter(0)
    expect(ticks()).toBe(false)
    platform.domain.events.restart()
    for (const vcpu of platform.domain.vcpus) vcpu.restart()
    kind.restore(0, { store: 1, console: 2 })
    expect(bind()).toBe(0)
    platform.enter(0)
    expect(ticks()).toBe(true)
  })

  test('timers of another vCPU: refused before the structure is read', () => {
    expect([hypercall(24, 8, 1, HOLE), hypercall(24, 9, 1), hypercall(24, 8, 0, HOLE)]).toEqual([-22, -22, -14])
  })
})

describe('run states', () => {
  const INFO = 0x3000
  const state = (vcpu: number) => {
    expect(hypercall(24, 4, vcpu, INFO)).toBe(0)
    return view().getUint32(INFO, true)
  }
  const [RUNNABLE, BLOCKED, OFFLINE] = [1, 2, 3]

  test('a vCPU that is blocked stays so while it is down, until something wakes it', () => {
    const other = mock.vcpus[1]!
    kind.up(1)
    platform.enter(1)
    other.halted = true
    platform.leave(1, true)
    expect([state(1), hypercall(24, 2, 1), state(1)]).toEqual([BLOCKED, 0, BLOCKED])
    other.halted = false
    expect(state(1)).toBe(OFFLINE)
    platform.domain.up(1)
    expect(state(1)).toBe(RUNNABLE)
  })

  test('what it had written last of its state stays when another stops it', () => {
    put(AREA, INFO + 64)
    kind.up(1)
    platform.enter(1)
    platform.leave(1, false)
    expect([hypercall(24, 5, 1, AREA), hypercall(24, 2, 1), state(1)]).toEqual([0, 0, OFFLINE])
    expect(view().getUint32(INFO + 64, true)).toBe(RUNNABLE)
  })
})

describe('MSRs', () => {
  const read = (index: number) => platform.rdmsr(0, index)

  test('Xen’s answers', () => {
    pv().setTrap(0, 13, { flags: 0, cs: 0, address: HANDLER })
    expect([0xc0000080, 0x1b, 0x277, 0x3a, 0x8b, 0xce, 0x345, 0xc1, 0x1a0].map(read)).toEqual([
      0xd01n,
      0xfee00900n,
      0x50100070406n,
      1n,
      0n,
      0n,
      0n,
      0n,
      0x801801n,
    ])
    expect([0xfe, 0x2ff, 0x802, 0xc0000081, 0xc0010015, 0x12345].map(read)).toEqual(Array(6).fill(undefined))
    expect(platform.rdmsr(1, 0x1b)).toBe(0xfee00800n)
  })

  test('reads of what the processor has are 0 while there is no handler for #GP', () => {
    expect([read(0xfe), read(0x12345), read(0x40000123)]).toEqual([0n, undefined, undefined])
  })

  test('writes', () => {
    const write = (index: number, value: bigint) => platform.wrmsr(0, index, value)
    expect([
      write(0xc0000080, 0xd01n),
      write(0xc0000080, 1n),
      write(0x1a0, 5n),
      write(0x1b, 0n),
      write(0xc1, 9n),
    ]).toEqual([true, false, true, false, true])
  })

  test('of AMD’s processor', () => {
    make('amd')
    pv().setTrap(0, 13, { flags: 0, cs: 0, address: HANDLER })
    expect([0xc0010015, 0xc0011029, 0x3a, 0x17, 0xc0010000].map(read)).toEqual([0n, 2n, undefined, undefined, 0n])
  })
})

test('CPUID: no paging features, the vCPU’s APIC id is 0, Xen’s leaves', () => {
  const processor = (leaf: number) =>
    cpuid(cpuModel('inorder'), leaf, 0, { apicId: 1, vcpus: 2, osxsave: false, apicEnabled: true })
  const ask = (leaf: number) => platform.cpuid(1, leaf, 0, processor(leaf)).map((word) => word >>> 0)
  const [, ebx, ecx, edx] = ask(1) as [number, number, number, number]
  expect([ebx >>> 24, ecx >>> 31, (ecx >>> 17) & 1, (ecx >>> 27) & 1]).toEqual([0, 1, 0, 0])
  expect([1, 3, 12, 13, 17].map((bit) => (edx >>> bit) & 1)).toEqual([0, 0, 0, 0, 0])
  expect((ask(7)[1] as number) & ((1 << 7) | (1 << 10) | (1 << 20))).toBe(0)
  expect((ask(0x80000001)[3] as number) & (1 << 26)).toBe(0)
  pv().setWord(1, 'kernel', 1)
  expect(((ask(1)[2] as number) >>> 27) & 1).toBe(1)
  expect(ask(0x40000000)[1]).toBe(0x566e6558)
})

test('a domain is crashed once, with a reason', () => {
  platform.pv.crash(0, 3)
  platform.pv.crash(0, 2)
  expect(mock.log.slice(1)).toEqual(['crash vCPU 0: an exception, or an event, for which it has no handler'])
  expect(mock.log[0]).toMatch(/^report d1v0 Unhandled: vec \d+/)
})

test('stores to tables are done by Xen, others are the guest’s fault', () => {
  expect(platform.pv.store(0, (own[0] as number) * PAGE, 8, 0, 0)).toBe(false)
})

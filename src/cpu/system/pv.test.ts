/** Xen PV, 64 bits: traps, callbacks, hypercalls that the core does, iret (Xen 4.17: arch/x86/pv, x86_64/entry.S). */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Attr, M, PvCrash, S } from '../layout.ts'
import { LDT, Machine, SEL } from '../testing/machine.ts'
import { p } from '../testing/memory.ts'
import {
  CR2,
  enterPv,
  frame,
  GS_KERNEL,
  GS_USER,
  INFO,
  KERNEL_ROOT,
  KERNEL_STACK,
  MASK,
  PENDING,
  type PvProcedures,
  setTrap,
  USER_ROOT,
  USER_STACK,
} from '../testing/pv.ts'

const HANDLER = 0x1234_5678n
const EVENT = 0x4444_0000n
const CODE64 = 0xb | Attr.S | Attr.P | Attr.G | Attr.L | 0x60
const DATA = 0x3 | Attr.S | Attr.P | Attr.G | Attr.DB | 0x60
const UNMAPPED = 0x4000_0000n

let m: Machine
let run: PvProcedures
beforeAll(async () => {
  m = await Machine.make()
})
beforeEach(() => {
  run = enterPv(m)
})

const byte = (pa: number): number => m.core.bytes[M.RAM + pa] as number
const setByte = (pa: number, value: number): void => {
  m.core.bytes[M.RAM + pa] = value
}
const crashes = (): number[] => m.core.calls.filter(([name]) => name === 'pvCrash').map(([, reason]) => Number(reason))
const user = (): void => void (run = enterPv(m, false))
const gs = (): bigint[] => [m.base(5), m.get('KERNEL_GS_BASE')]
const raise = (vector: number, error?: number): void => {
  if (error === undefined) run.raiseNoError(p, vector)
  else run.raise(p, vector, error)
  m.run.deliver(p)
}

describe('entry', () => {
  test('a vCPU begins at CPL 3 with flat segments, interrupts on', () => {
    expect([m.get32('CPL'), m.get32('MODE'), m.selector(1), m.attr(1), m.selector(2), m.attr(2)]).toEqual([
      3,
      13,
      0xe033,
      CODE64,
      0xe02b,
      DATA,
    ])
    expect([m.run.readEflags(p), m.get('CR3'), m.get('CR0')]).toEqual([0x202, BigInt(KERNEL_ROOT), 0x80050033n])
    expect(gs()).toEqual([GS_KERNEL, GS_USER])
  })

  test('selectors that cannot be loaded become null, and the failsafe callback hears of it', () => {
    m.set('PV_FAILSAFE', HANDLER)
    m.set32('PV_FLAGS', 8)
    m.set32('SEG_SELECTOR', 0x1f0 | 3, 0)
    m.set32('SEG_SELECTOR', SEL.userData, 3)
    setByte(MASK, 0)
    m.set('R11', 11)
    m.set('RCX', 12)
    m.set('RIP', 0x5000)
    m.set('RSP', KERNEL_STACK)
    run.pvEnter(p, 1)
    expect(m.get('RIP')).toBe(HANDLER)
    expect(frame(m, 11)).toEqual([
      12n,
      11n,
      BigInt(SEL.userData),
      0x1f3n,
      0n,
      0n,
      0x5000n,
      0xe030n,
      0x202n,
      KERNEL_STACK,
      0xe02bn,
    ])
    expect(byte(MASK)).toBe(1)
  })
})

describe('exceptions', () => {
  test("from the kernel: on its stack, aligned, CS without RPL, SYSRET's registers", () => {
    setTrap(m, 13, 4, HANDLER)
    setByte(MASK, 0)
    m.set('RSP', KERNEL_STACK - 0x103n)
    m.set('RCX', 0xc)
    m.set('R11', 0xb)
    m.set32('SYSFLAGS', 0x244702)
    raise(13, 0x58)
    expect(m.get('RSP')).toBe(KERNEL_STACK - 0x110n - 64n)
    expect(frame(m, 8)).toEqual([0xcn, 0xbn, 0x58n, 0x5000n, 0xe030n, 0x254702n, KERNEL_STACK - 0x103n, 0xe02bn])
    // AC, NT and TF are off in the handler, DF stays.
    expect([m.get('RIP'), m.get('RCX'), m.get('R11'), m.run.readEflags(p)]).toEqual([
      HANDLER,
      HANDLER,
      0x200602n,
      0x200602,
    ])
    expect(byte(MASK)).toBe(1)
    expect(m.get('CR3')).toBe(BigInt(KERNEL_ROOT))
  })

  test('from user mode: kernel stack, page table and GS', () => {
    user()
    setTrap(m, 0, 0, HANDLER)
    expect([m.get('CR3'), ...gs(), m.get32('PV_KERNEL')]).toEqual([BigInt(USER_ROOT), GS_USER, GS_KERNEL, 0])
    raise(0)
    expect(m.get('RSP')).toBe(KERNEL_STACK - 56n)
    // The mask was 1 and stays: IF is 0 in the image, the mask beside CS.
    expect(frame(m, 7)).toEqual([
      0n,
      0n,
      0x7000n,
      (1n << 32n) | BigInt(SEL.user64),
      0x10002n,
      USER_STACK,
      BigInt(SEL.userData),
    ])
    expect([m.get('CR3'), ...gs(), m.get32('PV_KERNEL')]).toEqual([BigInt(KERNEL_ROOT), GS_KERNEL, GS_USER, 1])
    expect([m.selector(1), m.selector(2)]).toEqual([0xe033, 0xe02b])
  })

  test("#PF: CR2 in vcpu_info, the USER bit is the guest's mode", () => {
    setTrap(m, 14, 4, HANDLER)
    run.slowLoad(p, UNMAPPED, 8)
    m.run.deliver(p)
    expect(frame(m, 3)[2]).toBe(0n)
    expect(m.read(CR2, 8)).toBe(UNMAPPED)
    user()
    setTrap(m, 14, 4, HANDLER)
    run.slowStore(p, UNMAPPED + 8n, 8, 0n)
    m.run.deliver(p)
    expect(frame(m, 3)[2]).toBe(6n)
    expect(m.read(CR2, 8)).toBe(UNMAPPED + 8n)
  })

  test("#NM clears the guest's CR0.TS", () => {
    setTrap(m, 7, 4, HANDLER)
    m.set('RAX', 5)
    m.set('RDI', 1)
    m.run.syscall(p, 0x5002n)
    expect([m.get('CR0') & 8n, m.get32('FPU_TRAP') & 2]).toEqual([8n, 2])
    raise(7)
    expect([m.get('RIP'), m.get('CR0') & 8n, m.get32('FPU_TRAP')]).toEqual([HANDLER, 0n, 0])
  })

  test('an architectural IOPL shows in the frame', () => {
    setTrap(m, 0, 4, HANDLER)
    m.set32('PV_ASSIST', 1 << 4)
    m.set32('PV_IOPL', 0x3000)
    raise(0)
    expect(frame(m, 5)[4]).toBe(0x13002n)
  })

  test.each([
    ['no handler', PvCrash.NO_HANDLER, () => {}],
    ['a stack that faults', PvCrash.FRAME_FAULT, () => m.set('RSP', UNMAPPED)],
    ['a stack that is no address', PvCrash.FRAME_FAULT, () => m.set('RSP', 0x9000_0000_0000_0000n)],
    ['a stack in Xen', PvCrash.BAD_STACK, () => m.set('RSP', 0xffff_8200_0000_0000n)],
    ['a stack just above Xen', PvCrash.BAD_STACK, () => m.set('RSP', 0xffff_8800_0000_0030n)],
  ])('%s crashes the domain', (_name, reason, change) => {
    setTrap(m, 0, 4, reason === PvCrash.NO_HANDLER ? 0n : HANDLER)
    change()
    raise(0)
    expect(crashes()[0]).toBe(reason)
    expect(m.get32('LEAVE') & 4).toBe(4)
  })
})

describe('software interrupts', () => {
  const int = (vector: number, length = 2): number => {
    // A record of this length.
    m.set32('RECORD', p + S.SCRATCH_RECORDS)
    m.core.view.setUint16(p + S.SCRATCH_RECORDS + 2, length, true)
    return m.run.softInterrupt(p, vector, 0x5000n + BigInt(length))
  }
  test.each([
    [0, false, false],
    [1, true, false],
    [2, true, false],
    [3, true, true],
  ])('DPL %i: kernel %s, user %s', (dpl, kernel, byUser) => {
    for (const mode of [true, false]) {
      run = enterPv(m, mode)
      setTrap(m, 0x21, dpl, HANDLER)
      const status = int(0x21)
      const done = [status, m.exception(), m.get('RIP') === HANDLER]
      expect(done).toEqual((mode ? kernel : byUser) ? [0, '', true] : [1, '13(10a)', false])
    }
  })

  test('by way of #GP: RF is set in the image', () => {
    setTrap(m, 0x21, 3, HANDLER)
    int(0x21)
    expect([frame(m, 3)[2], frame(m, 5)[4]]).toEqual([0x5002n, 0x10002n])
  })

  test('a prefix makes no difference to where Xen says it was', () => {
    setTrap(m, 0x21, 3, HANDLER)
    int(0x21, 3)
    expect(frame(m, 3)[2]).toBe(0x5002n)
  })

  test('INT3 and INT 0x80 want no DPL, and are traps', () => {
    for (const vector of [3, 0x80]) {
      user()
      setTrap(m, vector, 0, HANDLER)
      expect([int(vector), m.get('RIP'), frame(m, 3)[2], frame(m, 5)[4]]).toEqual([0, HANDLER, 0x5002n, 2n])
    }
    user()
    expect([int(0x80), m.exception()]).toEqual([1, '13(402)'])
  })

  test('one that is permitted but has no handler crashes the domain', () => {
    setTrap(m, 0x21, 3, 0n)
    int(0x21)
    expect(crashes()).toEqual([PvCrash.NO_HANDLER])
  })
})

describe('SYSCALL and SYSENTER', () => {
  test('from user mode: the callback, DF off, segments that Xen supposes', () => {
    user()
    m.set('PV_SYSCALL', HANDLER)
    m.set32('PV_FLAGS', 1 << 4)
    setByte(MASK, 0)
    m.set32('SYSFLAGS', 0x602)
    m.set('RAX', 23)
    expect(m.run.syscall(p, 0x7002n)).toBe(0)
    expect(frame(m, 7)).toEqual([0x7002n, 0x602n, 0x7002n, 0xe033n, 0x602n, USER_STACK, 0xe02bn])
    expect([m.get('RIP'), m.run.readEflags(p), byte(MASK), m.get('RAX')]).toEqual([HANDLER, 0x202, 1, 23n])
  })

  test('without a callback it is #UD at the instruction', () => {
    user()
    setTrap(m, 6, 0, HANDLER)
    m.set32('SYSFLAGS', 0x602)
    m.run.syscall(p, 0x7002n)
    expect([m.get('RIP'), frame(m, 3)[2], m.run.readEflags(p)]).toEqual([HANDLER, 0x7000n, 0x602])
  })

  test("from 32-bit code, with AMD's processor: the callback of its own", () => {
    user()
    m.set32('AMD', 1)
    m.set('PV_SYSCALL32', HANDLER)
    m.run.farJump(p, SEL.user32, 0x7000n, 4)
    m.run.syscall(p, 0x7002n)
    expect([m.get('RIP'), frame(m, 4)[3], m.get32('MODE')]).toEqual([HANDLER, (1n << 32n) | 0xe023n, 13])
    m.set32('AMD', 0)
  })

  test('SYSENTER says nothing of where it was', () => {
    user()
    m.set('PV_SYSENTER', HANDLER)
    m.set32('PV_SYSENTER_MASKS', 1)
    setByte(MASK, 0)
    m.run.sysenter(p)
    expect([m.get('RIP'), ...frame(m, 7)]).toEqual([HANDLER, 0n, 0n, 0n, 3n, 0x202n, 0n, 0xe02bn])
    user()
    setTrap(m, 13, 0, HANDLER)
    m.run.sysenter(p)
    expect(frame(m, 4)).toEqual([0n, 0n, 0n, 0n])
  })

  test("from the kernel it is a hypercall of the host's", () => {
    m.set('RAX', 17)
    m.core.host['hypercall'] = () => {
      m.set('RAX', 0x40011)
      return 1
    }
    expect(m.run.syscall(p, 0x5002n)).toBe(0)
    expect(m.core.calls).toEqual([['hypercall', 2]])
    expect([m.get('RAX'), m.get('RIP'), m.get('RCX'), m.get('R11')]).toEqual([0x40011n, 0x5002n, 0x5002n, 0x202n])
  })

  test('one that is not finished is made again, and lets events in before', () => {
    m.set('RAX', 1)
    m.set('PV_EVENT', EVENT)
    m.set32('RECORD', p + S.SCRATCH_RECORDS)
    m.core.view.setUint16(p + S.SCRATCH_RECORDS + 2, 2, true)
    m.core.host['hypercall'] = () => 2
    m.run.syscall(p, 0x5002n)
    expect(m.get('RIP')).toBe(0x5000n)
    setByte(MASK, 0)
    setByte(PENDING, 1)
    m.run.syscall(p, 0x5002n)
    expect([m.get('RIP'), frame(m, 3)[2]]).toEqual([EVENT, 0x5000n])
  })
})

describe('events', () => {
  test('an upcall comes on the return from a hypercall, when it is not masked', () => {
    m.set('PV_EVENT', EVENT)
    m.set('RAX', 17)
    setByte(PENDING, 1)
    m.run.syscall(p, 0x5002n)
    expect(m.get('RIP')).toBe(0x5002n)
    setByte(MASK, 0)
    m.run.syscall(p, 0x5002n)
    expect([m.get('RIP'), byte(MASK)]).toEqual([EVENT, 1])
    expect(frame(m, 7)).toEqual([0x5002n, 0x202n, 0x5002n, 0xe030n, 0x202n, KERNEL_STACK - 0x100n, 0xe02bn])
  })

  test('and nests in the handler of an exception that does not mask', () => {
    m.set('PV_EVENT', EVENT)
    setTrap(m, 0, 0, HANDLER)
    setByte(PENDING, 1)
    setByte(MASK, 0)
    raise(0)
    expect([m.get('RIP'), frame(m, 3)[2]]).toEqual([EVENT, HANDLER])
  })

  test('an NMI has its trap, once until iret; without handler it is lost', () => {
    m.set32('NMI_PENDING', 1)
    run.pvEvents(p)
    expect([m.get('RIP'), m.get32('NMI_PENDING')]).toEqual([0x5000n, 0])
    setTrap(m, 2, 4, HANDLER)
    m.set32('NMI_PENDING', 1)
    run.pvEvents(p)
    expect([m.get('RIP'), m.get32('NMI_BLOCKED')]).toEqual([HANDLER, 1])
    m.set32('NMI_PENDING', 1)
    m.set('RIP', 0x6000)
    run.pvEvents(p)
    expect(m.get('RIP')).toBe(0x6000n)
  })
})

describe('iret', () => {
  const FRAME = 0x68000
  const iret = (
    words: Partial<Record<'rax' | 'r11' | 'rcx' | 'flags' | 'rip' | 'cs' | 'rflags' | 'rsp' | 'ss', bigint>>,
  ) => {
    const all = {
      rax: 1n,
      r11: 2n,
      rcx: 3n,
      flags: 0n,
      rip: 0x7000n,
      cs: 0x43n,
      rflags: 0x202n,
      rsp: 0x70000n,
      ss: 0x3bn,
      ...words,
    }
    m.writeWords(FRAME, 8, ...Object.values(all))
    m.set('RSP', FRAME)
    m.set('RAX', 23)
    return m.run.syscall(p, 0x5002n)
  }

  test('to user mode: registers, mask, page table and GS', () => {
    iret({ rflags: 0x3a02n })
    expect([m.get('RAX'), m.get('R11'), m.get('RCX'), m.get('RIP'), m.get('RSP')]).toEqual([
      1n,
      2n,
      3n,
      0x7000n,
      0x70000n,
    ])
    expect([m.selector(1), m.selector(2), m.run.readEflags(p), byte(MASK), m.get('CR3'), ...gs()]).toEqual([
      0x43,
      0x3b,
      0xa02,
      0,
      BigInt(USER_ROOT),
      GS_USER,
      GS_KERNEL,
    ])
    expect(m.get32('PV_COUNTS')).toBe(1)
  })

  test('to the kernel: RPL 3 is forced, IF clear masks', () => {
    iret({ cs: 0xe030n, ss: 0xe028n, rflags: 2n })
    expect([m.get32('PV_KERNEL'), m.selector(1), m.selector(2), byte(MASK)]).toEqual([1, 0xe033, 0xe02b, 1])
  })

  test('VGCF_in_syscall: by SYSRET, whatever CS and SS say', () => {
    iret({ flags: 0x100n, rflags: 0x8d7n | 0x200n })
    expect([m.get('RCX'), m.get('R11'), m.selector(1), m.selector(2), m.get32('PV_KERNEL')]).toEqual([
      0x7000n,
      0xad7n,
      0xe033,
      0xe02b,
      0,
    ])
    run = enterPv(m)
    iret({ flags: 0x100n, cs: 0xe023n })
    expect([m.selector(1), m.attr(1) & Attr.L]).toEqual([0xe023, 0])
  })

  test('an event that is due gets its frame before anything is loaded', () => {
    m.set('PV_EVENT', EVENT)
    setByte(PENDING, 1)
    iret({ cs: 0x1f3n, ss: 0x1fbn })
    expect(m.get('RIP')).toBe(EVENT)
    expect([...frame(m, 7)]).toEqual([3n, 2n, 0x7000n, 0x1f3n, 0x202n, 0x70000n, 0x1fbn])
    expect([m.get('RSP'), m.get32('PV_KERNEL')]).toEqual([KERNEL_STACK - 56n, 1])
  })

  test.each([
    ["a code selector beyond the table's content", { cs: 0x1f3n }, 13, 0x1f0n],
    ['a data segment as CS', { cs: 0x3bn }, 13, 0x38n],
    ['a null SS', { ss: 0n }, 13, 0n],
    ['a code segment that is not present', { cs: 0x63n }, 13, 0x60n],
    ['an address that is none', { rip: 0x8000_0000_0000n }, 13, 0n],
    ['an LDT selector without LDT', { cs: 0xfn }, 13, 0xcn],
  ])('%s: the guest takes the exception there', (_name, words, vector, error) => {
    setTrap(m, vector, 4, HANDLER)
    iret(words)
    const cs = 'cs' in words ? words.cs : 0x43n
    expect([m.get('RIP'), frame(m, 5)[2], frame(m, 5)[3], frame(m, 5)[4]]).toEqual([
      HANDLER,
      error,
      'rip' in words ? words.rip : 0x7000n,
      cs,
    ])
    expect([m.get32('PV_KERNEL'), m.exception()]).toEqual([1, ''])
  })

  test('a frame that cannot be read, or user mode without page table, crashes the domain', () => {
    m.set('RAX', 23)
    m.set('RSP', UNMAPPED)
    m.run.syscall(p, 0x5002n)
    run = enterPv(m)
    m.set('RAX', 23)
    m.set('RSP', 0xffff_8100_0000_0000n)
    m.run.syscall(p, 0x5002n)
    expect(crashes()).toEqual([PvCrash.IRET_FRAME])
    run = enterPv(m)
    m.set('PV_USER_ROOT', 0)
    iret({})
    expect(crashes()).toEqual([PvCrash.NO_USER_TABLE])
  })

  test('it ends the blocking of NMIs', () => {
    m.set32('NMI_BLOCKED', 1)
    iret({})
    expect(m.get32('NMI_BLOCKED')).toBe(0)
  })

  test('IOPL is taken by assist', () => {
    m.set32('PV_ASSIST', 1 << 4)
    iret({ rflags: 0x3202n })
    expect([m.get32('PV_IOPL'), m.run.readEflags(p)]).toEqual([0x3000, 0x202])
  })
})

describe('hypercalls of the core', () => {
  const call = (number: number, a: number | bigint, b: number | bigint): bigint => {
    m.set('RAX', number)
    m.set('RDI', a)
    m.set('RSI', b)
    m.run.syscall(p, 0x5002n)
    return BigInt.asIntN(64, m.get('RAX'))
  }

  test('set_segment_base', () => {
    expect(call(25, 0, 0x1000)).toBe(0n)
    expect(call(25, 1, 0x2000)).toBe(0n)
    expect(call(25, 2, 0x3000)).toBe(0n)
    expect([m.base(4), m.get('KERNEL_GS_BASE'), m.base(5)]).toEqual([0x1000n, 0x2000n, 0x3000n])
    for (const which of [0, 1, 2, 4]) expect(call(25, which, 0x8000_0000_0000n)).toBe(-22n)
    // The user's GS by selector; one that cannot be loaded becomes null.
    expect([call(25, 3, SEL.userData & ~3), m.selector(5), m.get('KERNEL_GS_BASE'), m.base(5)]).toEqual([
      0n,
      SEL.userData,
      0n,
      0x3000n,
    ])
    expect([call(25, 3, 0x1f3), m.selector(5), m.exception()]).toEqual([0n, 0, ''])
    expect(m.get32('PV_COUNTS', 1)).toBe(9)
  })

  test('stack_switch', () => {
    expect(call(3, 0xe028, 0x66000)).toBe(0n)
    expect([m.get32('PV_KERNEL_SS'), m.get('PV_KERNEL_SP')]).toEqual([0xe02b, 0x66000n])
  })

  test('the host is told while it watches', () => {
    m.set32('PV_WATCHED', 1)
    call(25, 9, 0)
    expect(m.core.calls).toEqual([['pvNote', 25, -22]])
  })
})

describe('privileged instructions', () => {
  test('CLI and STI: nothing with IOPL 1 for the kernel and 3 for its users, else #GP', () => {
    for (const [kernel, iopl, assist, allowed] of [
      [true, 0, 0, false],
      [true, 1, 0, true],
      [true, 0, 16, true],
      [false, 1, 0, false],
      [false, 3, 0, true],
    ] as const) {
      run = enterPv(m, kernel)
      m.set32('PV_IOPL', iopl << 12)
      m.set32('PV_ASSIST', assist)
      expect([m.run.cli(p), m.exception(), m.run.readEflags(p)]).toEqual(allowed ? [0, '', 0x202] : [1, '13(0)', 0x202])
      expect(m.run.sti(p)).toBe(allowed ? 0 : 1)
    }
  })

  test('POPF cannot change IF, PUSHF shows it set', () => {
    m.run.popf(p, 2n, 8)
    expect(m.run.pushfImage(p)).toBe(0x202)
  })

  test("ports by bitmap: the kernel's memory, bytes that are not there refuse", () => {
    m.set('PV_IOBMP', 0x62000)
    m.set32('PV_IOBMP_LIMIT', 0x100)
    m.core.bytes.fill(0xff, M.RAM + 0x62000, M.RAM + 0x62020)
    setByte(0x6200e, 0xf0)
    user()
    m.set('PV_IOBMP', 0x62000)
    m.set32('PV_IOBMP_LIMIT', 0x100)
    m.core.bytes.fill(0xff, M.RAM + 0x62000, M.RAM + 0x62020)
    setByte(0x6200e, 0xf0)
    expect([run.checkIo(p, 0x70, 4), run.checkIo(p, 0x71, 4), m.exception(), m.get('CR3')]).toEqual([
      0,
      1,
      '13(0)',
      BigInt(USER_ROOT),
    ])
    expect([run.checkIo(p, 0xfe, 4), m.exception()]).toEqual([1, '13(0)'])
    m.set('PV_IOBMP', UNMAPPED)
    expect([run.checkIo(p, 0x70, 1), m.exception()]).toEqual([1, '13(0)'])
    m.set32('PV_IOPL', 0x3000)
    expect(run.checkIo(p, 0x70, 1)).toBe(0)
  })

  test('control registers: the kernel sees its own, only TS of CR0 may change', () => {
    const read = (n: number) => [m.run.movFromCr(p, n, S.RAX), m.get('RAX')]
    expect([read(0), read(3), read(4)]).toEqual([
      [0, 0x80050033n],
      [0, BigInt(KERNEL_ROOT)],
      [0, 0x660n],
    ])
    expect([m.run.movToCr(p, 0, 0x8005003bn), m.get('CR0')]).toEqual([0, 0x8005003bn])
    expect([m.run.clts(p), m.get('CR0')]).toEqual([0, 0x80050033n])
    expect([m.run.movToCr(p, 0, 0x80050032n), m.exception()]).toEqual([1, '13(0)'])
    expect([m.run.movToCr(p, 2, 0x1234n), m.read(CR2, 8), read(2)]).toEqual([0, 0x1234n, [0, 0x1234n]])
    m.run.movToCr(p, 4, ~0n)
    expect([read(4), m.get('CR4') & 0x10004n]).toEqual([[0, 0x5066cn], 0x10004n])
    m.core.host['pvRoot'] = (mfn) => (mfn === 0x50 ? 1 : 0)
    expect([m.run.movToCr(p, 3, 0x50000n), m.run.movToCr(p, 3, 0x51000n), m.exception()]).toEqual([0, 1, '13(0)'])
    expect([m.run.movFromCr(p, 8, S.RAX), m.exception()]).toEqual([1, '13(0)'])
    user()
    expect([m.run.movFromCr(p, 0, S.RAX), m.exception(), m.run.clts(p), m.exception()]).toEqual([
      1,
      '13(0)',
      1,
      '13(0)',
    ])
  })

  test("WBINVD and RDTSC with TSD are the kernel's", () => {
    m.run.movToCr(p, 4, 4n)
    expect([run.wbinvd(p), m.run.rdtsc(p)]).toEqual([0, 0])
    user()
    m.set('CR4', m.get('CR4') | 4n)
    expect([run.wbinvd(p), m.exception(), m.run.rdtsc(p), m.exception()]).toEqual([1, '13(0)', 1, '13(0)'])
  })

  test('MSRs: bases in the core, all else asks the host', () => {
    const msr = (index: number, value: bigint) => {
      m.set('RCX', index)
      m.set('RAX', value & 0xffff_ffffn)
      m.set('RDX', value >> 32n)
      return m.run.wrmsr(p)
    }
    expect([msr(0xc0000100, 0x11n), msr(0xc0000101, 0x22n), msr(0xc0000102, 0x33n)]).toEqual([0, 0, 0])
    expect([m.base(4), m.base(5), m.get('KERNEL_GS_BASE')]).toEqual([0x11n, 0x22n, 0x33n])
    expect([msr(0xc0000100, 1n << 47n), m.exception()]).toEqual([1, '13(0)'])
    m.core.host['wrmsr'] = (index) => (index === 0x1b ? 1 : 0)
    expect([msr(0x1b, 5n), msr(0xc0000080, 5n), m.exception()]).toEqual([0, 1, '13(0)'])
    m.core.host['rdmsr'] = () => 1
    m.set('RCX', 0xc0000080)
    expect(m.run.rdmsr(p)).toBe(0)
    expect(m.core.calls.at(-1)).toEqual(['rdmsr', 0xc0000080 | 0])
    user()
    expect([msr(0xc0000100, 0x11n), m.exception(), m.run.rdmsr(p), m.exception()]).toEqual([1, '13(0)', 1, '13(0)'])
  })

  test('debug registers: no breakpoints in Xen, reserved bits fixed', () => {
    expect([run.pvSetDebug(p, 0, 0x1000n), run.pvGetDebug(p, 0)]).toEqual([0, 0x1000n])
    expect(run.pvSetDebug(p, 1, 0xffff_8000_0000_0000n)).toBe(1)
    expect(run.pvSetDebug(p, 1, 0x8000_0000_0000n)).toBe(1)
    expect(run.pvSetDebug(p, 1, 0xffff_8800_0000_0000n)).toBe(0)
    expect([run.pvSetDebug(p, 6, 0x1000n), run.pvGetDebug(p, 6)]).toEqual([0, 0xffff0ff0n])
    expect([run.pvSetDebug(p, 7, 0xd800n), run.pvGetDebug(p, 7)]).toEqual([0, 0x400n])
    expect(run.pvSetDebug(p, 7, 1n << 13n)).toBe(1)
    expect(run.pvSetDebug(p, 7, 1n << 32n)).toBe(22)
    // An I/O breakpoint that is on wants CR4.DE, which takes DR4 and DR5 away.
    expect(run.pvSetDebug(p, 7, 0x20001n)).toBe(1)
    expect(run.pvSetDebug(p, 4, 0n)).toBe(0)
    m.run.movToCr(p, 4, 8n)
    expect([run.pvSetDebug(p, 7, 0x20001n), run.pvSetDebug(p, 4, 0n), run.pvSetDebug(p, 8, 0n)]).toEqual([0, 19, 19])
    expect([m.run.movToDr(p, 0, 0xffff_8000_0000_0000n), m.exception()]).toEqual([1, '13(0)'])
    expect([m.run.movToDr(p, 0, 0x2000n), m.run.movFromDr(p, 0, S.RAX), m.get('RAX')]).toEqual([0, 0, 0x2000n])
  })

  test('ud2 "xen" cpuid answers as CPUID, in both modes; any other ud2 is #UD', () => {
    for (const kernel of [true, false]) {
      run = enterPv(m, kernel)
      const rip = kernel ? 0x5000 : 0x7000
      m.writeWords(rip, 1, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2)
      raise(6)
      expect([m.get('RIP'), m.core.calls]).toEqual([BigInt(rip + 7), [['cpuid']]])
      setTrap(m, 6, 0, HANDLER)
      m.writeWords(rip + 7, 1, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa3)
      raise(6)
      expect([m.get('RIP'), frame(m, 3)[2]]).toEqual([HANDLER, BigInt(rip + 7)])
    }
  })

  test('with TF it traps after it', () => {
    setTrap(m, 1, 0, HANDLER)
    m.writeWords(0x5000, 1, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2)
    m.set32('SYSFLAGS', 0x302)
    raise(6)
    expect([m.get('RIP'), frame(m, 3)[2], m.get('DR6') & 0x4000n]).toEqual([HANDLER, 0x5007n, 0x4000n])
  })

  test('one that runs out of memory is a page fault', () => {
    setTrap(m, 14, 0, HANDLER)
    m.set('RIP', 0x7f_fffen)
    m.writeWords(0x7f_fffe, 1, 0x0f, 0x0b)
    raise(6)
    expect([m.get('RIP'), m.read(CR2, 8), frame(m, 3)[2]]).toEqual([HANDLER, 0x80_0000n, 0n])
  })
})

describe('descriptors', () => {
  const load = (selector: number) => [m.run.loadSegment(p, 3, selector), m.exception()]

  test("Xen's own are beyond the guest's, which end in zeros", () => {
    expect(load(0xe02b)).toEqual([0, ''])
    expect(load(0xe010)).toEqual([1, '13(e010)'])
    expect(load(0xe0f8)).toEqual([1, '13(e0f8)'])
    expect(load(0xf003)).toEqual([1, '13(f000)'])
    expect(load(0x2003)).toEqual([1, '13(2000)'])
  })

  test("accessed bits are set in the guest's frame", () => {
    const clean = m.ram.read64(0x8000 + (SEL.userData & ~7)) & ~(1n << 40n)
    m.setGdt(SEL.userData, clean)
    load(SEL.userData)
    expect(m.ram.read64(0x8000 + (SEL.userData & ~7))).toBe(clean | (1n << 40n))
  })

  test('pages of the LDT are asked for once, or are page faults there', () => {
    m.set('PV_LDT_BASE', 0x20_0000)
    m.set32('PV_LDT_ENTS', 600)
    run.pvSetLdt(p)
    m.core.host['pvLdt'] = (page) => (page === 0 ? LDT >> 12 : 0)
    m.ram.write64(LDT + 8, m.ram.read64(0x8000 + (SEL.userData & ~7)))
    expect([load(0xf), load(0xf), m.core.calls.filter(([name]) => name === 'pvLdt').length]).toEqual([
      [0, ''],
      [0, ''],
      1,
    ])
    expect([load(0x1007), m.get('CR2')]).toEqual([[1, '14(0)'], 0x20_1000n])
    expect(load(0x12c7)).toEqual([1, '13(12c4)'])
    m.set('PV_LDT_BASE', 0x7fff_ffff_f000n)
    expect(load(0x1007)).toEqual([1, '13(1004)'])
  })
})

describe('stores to read-only pages', () => {
  const PAGE = 0x20_0000
  /** The second 2 MiB by a table of 4 KiB pages, all read-only. */
  const protect = () => {
    for (let i = 0; i < 512; i++) m.ram.write64(0x7a000 + i * 8, BigInt(PAGE + i * 0x1000) | 5n)
    m.ram.write64(0x3008, 0x7a000n | 7n)
    run.flushRoots(p)
    m.set32('PV_ASSIST', 4)
  }

  test("the kernel's go to the host, which may do them", () => {
    protect()
    m.core.host['pvStore'] = (address) => (address === PAGE + 8 ? 1 : 0)
    expect([
      run.probeWrite(p, BigInt(PAGE + 8), 8),
      run.slowStore(p, BigInt(PAGE + 8), 8, 0x1234n),
      m.exception(),
    ]).toEqual([0, 0, ''])
    expect([run.slowStore(p, BigInt(PAGE + 16), 8, 0x1234n), m.exception(), m.get('CR2')]).toEqual([
      1,
      '14(7)',
      BigInt(PAGE + 16),
    ])
    expect(run.slowStore(p, BigInt(PAGE + 12), 8, 0n)).toBe(1)
    m.exception()
    // A read-modify-write has changed registers and flags before its store is refused; another's are its own.
    const change = () => {
      m.set('RCX', 2)
      m.set('FLAGS_RES', 2)
    }
    for (const [where, left] of [
      [16, 1n],
      [24, 2n],
    ] as const) {
      m.set('RCX', 1)
      m.set('FLAGS_RES', 1)
      expect(run.probeWrite(p, BigInt(PAGE + 16), 8)).toBe(0)
      change()
      expect(run.slowStore(p, BigInt(PAGE + where), 8, 0n)).toBe(1)
      m.exception()
      expect([m.get('RCX'), m.get('FLAGS_RES')]).toEqual([left, left])
    }
    m.set32('PV_ASSIST', 0)
    expect(run.slowStore(p, BigInt(PAGE + 8), 8, 0n)).toBe(1)
    m.exception()
  })
})

describe('page tables', () => {
  test('switching forgets nothing, a table that changed is forgotten when it is loaded again', () => {
    const other = 0x76000
    const l1 = 0x7a000
    for (let i = 0; i < 512; i++) m.ram.write64(l1 + i * 8, BigInt(0x20_0000 + i * 0x1000) | 7n)
    m.ram.write64(0x3008, BigInt(l1) | 7n)
    for (let pa = 0; pa < 0x1000; pa += 8) m.ram.write64(other + pa, m.ram.read64(KERNEL_ROOT + pa))
    run.flushRoots(p)
    m.ram.write64(0x20_0000, 1n)
    m.ram.write64(0x20_1000, 2n)
    const load = () => run.slowLoad(p, 0x20_0000n, 8)
    expect(load()).toBe(1n)
    m.ram.write64(l1, 0x20_1000n | 7n)
    run.pvKernelRoot(p, BigInt(other))
    // Another page: the same one would displace the translation.
    run.slowLoad(p, 0x20_2000n, 8)
    run.pvKernelRoot(p, BigInt(KERNEL_ROOT))
    expect(load()).toBe(1n)
    m.core.view.setUint32(M.TABLES_EPOCH, 1, true)
    run.pvKernelRoot(p, BigInt(other))
    run.pvKernelRoot(p, BigInt(KERNEL_ROOT))
    expect(load()).toBe(2n)
    m.core.view.setUint32(M.TABLES_EPOCH, 0, true)
  })
})

test('vcpu_info is where the host put it', () => {
  expect(m.get32('PV_INFO')).toBe(INFO)
})

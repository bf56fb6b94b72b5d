/** Xen PV, 32 bits: rings 1 and 3, INT 0x82, frames and iret (Xen 4.17: x86_64/compat/entry.S, arch/x86/pv/iret.c). */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Attr, M, Mode, PvCrash, S } from '../layout.ts'
import { Machine, SEL } from '../testing/machine.ts'
import { p } from '../testing/memory.ts'
import {
  enterPv32,
  frame32,
  INFO,
  KERNEL_CS32,
  KERNEL_DS32,
  KERNEL_STACK,
  MASK,
  NARROW_ROOT,
  PENDING,
  type PvProcedures,
  setTrap32,
  USER_STACK,
} from '../testing/pv.ts'

const HANDLER = 0x1234_5678n
const EVENT = 0x4444_0000n
/** struct vcpu_info's CR2. */
const CR2 = INFO + 8
const UNMAPPED = 0x4000_0000n
const COMPAT = Mode.D | Mode.B | Mode.FLAT
const CODE32 = 0xb | Attr.S | Attr.P | Attr.G | Attr.DB

let m: Machine
let run: PvProcedures
beforeAll(async () => {
  m = await Machine.make()
})
beforeEach(() => {
  run = enterPv32(m)
})

const byte = (pa: number): number => m.core.bytes[M.RAM + pa] as number
const setByte = (pa: number, value: number): void => {
  m.core.bytes[M.RAM + pa] = value
}
const crashes = (): number[] => m.core.calls.filter(([name]) => name === 'pvCrash').map(([, reason]) => Number(reason))
const user = (): void => void (run = enterPv32(m, false))
const raise = (vector: number, error?: number): void => {
  if (error === undefined) run.raiseNoError(p, vector)
  else run.raise(p, vector, error)
  m.run.deliver(p)
}
const int = (vector: number): number => {
  m.set32('RECORD', p + S.SCRATCH_RECORDS)
  m.core.view.setUint16(p + S.SCRATCH_RECORDS + 2, 2, true)
  return m.run.softInterrupt(p, vector, 0x5002n)
}
const state = () => [m.get32('CPL'), m.selector(1), m.selector(2)]

test('a vCPU begins in ring 1 of compatibility mode, on its L3 table', () => {
  expect([...state(), m.get32('MODE'), m.attr(1), m.get('CR3')]).toEqual([
    1,
    KERNEL_CS32,
    KERNEL_DS32,
    COMPAT,
    CODE32 | 0x20,
    BigInt(NARROW_ROOT),
  ])
  expect(m.run.readEflags(p)).toBe(0x202)
  // Four entries map 4 GiB; the third is empty.
  m.ram.write64(0x6000, 0x1122_3344n)
  expect(run.slowLoad(p, 0x6000n, 4)).toBe(0x1122_3344n)
  run.slowLoad(p, 0x8000_0000n, 4)
  expect(m.exception()).toBe('14(0)')
})

test('FS and GS have the bases of their descriptors', () => {
  const based = (base: bigint) => (base << 16n) | 0x00cf_b200_0000_ffffn
  m.setGdt(SEL.free, based(0x1234n))
  m.set32('SEG_SELECTOR', SEL.free | 1, 4)
  run.pvEnter(p, 2)
  expect([m.selector(4), m.base(4)]).toEqual([SEL.free | 1, 0x1234n])
})

test('selectors that cannot be loaded: the failsafe callback', () => {
  m.set('PV_FAILSAFE', HANDLER)
  m.set32('PV_FAILSAFE_CS', KERNEL_CS32)
  m.set32('PV_FLAGS', 8)
  m.set32('SEG_SELECTOR', 0x1f1, 0)
  m.set('RIP', 0x5000)
  setByte(MASK, 0)
  run.pvEnter(p, 2)
  expect([m.get('RIP'), m.get('RSP'), byte(MASK)]).toEqual([HANDLER, KERNEL_STACK - 0x100n - 28n, 1])
  const ds = BigInt(KERNEL_DS32)
  expect(frame32(m, 7)).toEqual([ds, 0x1f1n, ds, ds, 0x5000n, BigInt(KERNEL_CS32), 0x202n])
})

describe('exceptions', () => {
  test('from the kernel: three words and the error code on its stack', () => {
    setTrap32(m, 13, 4, HANDLER)
    setByte(MASK, 0)
    m.set32('SYSFLAGS', 0x4702)
    raise(13, 0x58)
    expect(frame32(m, 4)).toEqual([0x58n, 0x5000n, BigInt(KERNEL_CS32), 0x14702n])
    expect([m.get('RSP'), m.get('RIP'), byte(MASK)]).toEqual([KERNEL_STACK - 0x110n, HANDLER, 1])
    // NT and TF are off in the handler, DF stays.
    expect(m.run.readEflags(p)).toBe(0x602)
  })

  test('from user mode: ESP and SS too, on the stack that Xen was told', () => {
    user()
    setTrap32(m, 0, 0, HANDLER)
    expect([...state(), m.get('RSP')]).toEqual([3, SEL.user32, SEL.userData, USER_STACK])
    raise(0)
    expect(state()).toEqual([1, KERNEL_CS32, KERNEL_DS32])
    expect(m.get('RSP')).toBe(KERNEL_STACK - 20n)
    // The mask was 1 and stays: IF is 0 in the image, the mask above CS.
    expect(frame32(m, 5)).toEqual([0x7000n, 0x10000n | BigInt(SEL.user32), 0x10002n, USER_STACK, BigInt(SEL.userData)])
  })

  test("#PF: CR2 in vcpu_info, the USER bit is the ring's", () => {
    setTrap32(m, 14, 4, HANDLER)
    run.slowLoad(p, UNMAPPED, 4)
    m.run.deliver(p)
    expect([frame32(m, 1)[0], m.read(CR2, 4)]).toEqual([0n, UNMAPPED])
    user()
    setTrap32(m, 14, 4, HANDLER)
    run.slowStore(p, UNMAPPED + 8n, 4, 0n)
    m.run.deliver(p)
    expect([frame32(m, 1)[0], m.read(CR2, 4)]).toEqual([6n, UNMAPPED + 8n])
  })

  test.each([
    ['a handler without selector', PvCrash.NO_HANDLER, () => setTrap32(m, 0, 4, HANDLER, 0)],
    ['a handler in no code segment', PvCrash.NO_HANDLER, () => setTrap32(m, 0, 4, HANDLER, KERNEL_DS32)],
    ['a stack that faults', PvCrash.FRAME_FAULT, () => m.set('RSP', UNMAPPED)],
  ])('%s crashes the domain', (_name, reason, change) => {
    setTrap32(m, 0, 4, HANDLER)
    change()
    raise(0)
    expect(crashes()).toEqual([reason])
    expect(m.get32('LEAVE') & 4).toBe(4)
  })

  test('a kernel stack without segment crashes the domain', () => {
    user()
    setTrap32(m, 0, 4, HANDLER)
    m.set32('PV_KERNEL_SS', 1)
    raise(0)
    expect(crashes()).toEqual([PvCrash.BAD_STACK])
  })
})

describe('INT 0x82', () => {
  test("is a hypercall of ring 1's", () => {
    m.set('RAX', 17)
    m.core.host['hypercall'] = () => {
      m.set('RAX', 0x40011)
      return 1
    }
    expect(int(0x82)).toBe(0)
    expect([m.get('RAX'), m.get('RIP'), m.core.calls]).toEqual([0x40011n, 0x5002n, [['hypercall', 2]]])
  })

  test('is #GP in ring 3, and a trap if the guest lets it', () => {
    user()
    expect([int(0x82), m.exception()]).toEqual([1, '13(412)'])
    user()
    setTrap32(m, 0x82, 3, HANDLER)
    expect([int(0x82), m.get('RIP'), m.core.calls]).toEqual([0, HANDLER, []])
  })

  test('one that is not finished is made again, and lets events in', () => {
    m.set('RAX', 1)
    m.set('PV_EVENT', EVENT)
    m.set32('PV_EVENT_CS', KERNEL_CS32)
    m.core.host['hypercall'] = () => 2
    int(0x82)
    expect(m.get('RIP')).toBe(0x5000n)
    setByte(MASK, 0)
    setByte(PENDING, 1)
    int(0x82)
    expect([m.get('RIP'), byte(MASK), ...frame32(m, 3)]).toEqual([EVENT, 1, 0x5000n, BigInt(KERNEL_CS32), 0x202n])
  })

  test('stack_switch and fpu_taskswitch', () => {
    m.set('RAX', 3)
    m.set('RBX', 0xe020)
    m.set('RCX', 0x1234)
    int(0x82)
    expect([m.get32('PV_KERNEL_SS'), m.get('PV_KERNEL_SP'), m.get('RAX')]).toEqual([0xe021, 0x1234n, 0n])
    m.set('RAX', 5)
    m.set('RBX', 1)
    int(0x82)
    expect(m.get('CR0') & 8n).toBe(8n)
  })
})

describe('iret', () => {
  const iret = (...words: (number | bigint)[]): void => {
    m.writeWords(0x68000, 4, ...words)
    m.set('RSP', 0x68000)
    m.set('RAX', 23)
    int(0x82)
  }

  test('within ring 1: four words', () => {
    iret(7, 0x9000, KERNEL_CS32, 0x602)
    expect([m.get('RAX'), m.get('RIP'), m.get('RSP'), byte(MASK)]).toEqual([7n, 0x9000n, 0x68010n, 0])
    expect(m.run.readEflags(p)).toBe(0x602)
  })

  test('to ring 3: ESP and SS; the mask is the opposite of IF; data of ring 1 becomes null', () => {
    iret(7, 0x9000, SEL.user32, 0x3002, 0x7000, SEL.userData)
    expect([...state(), m.get('RSP'), byte(MASK)]).toEqual([3, SEL.user32, SEL.userData, 0x7000n, 1])
    expect(m.run.readEflags(p)).toBe(0x202)
    expect(m.selector(3)).toBe(0)
  })

  test('an event that waits comes with the frame of where it goes', () => {
    m.set('PV_EVENT', EVENT)
    m.set32('PV_EVENT_CS', KERNEL_CS32)
    setByte(PENDING, 1)
    iret(7, 0x9000, SEL.user32, 0x202, 0x7000, SEL.userData)
    expect([...state(), m.get('RIP')]).toEqual([1, KERNEL_CS32, KERNEL_DS32, EVENT])
    expect(frame32(m, 5)).toEqual([0x9000n, BigInt(SEL.user32), 0x202n, 0x7000n, BigInt(SEL.userData)])
  })

  test.each([
    ['ring 0', [7, 0x9000, SEL.code32, 0x202], PvCrash.IRET_RING],
    ['a frame that is not there', undefined, PvCrash.IRET_FRAME],
  ])('to %s crashes the domain', (_name, words, reason) => {
    if (words) iret(...words)
    else {
      m.set('RSP', UNMAPPED)
      m.set('RAX', 23)
      int(0x82)
    }
    expect(crashes()).toEqual([reason])
  })

  test('a frame in the hypervisor’s addresses crashes the domain', () => {
    m.set('RSP', 0xf580_0000n)
    m.set('RAX', 23)
    int(0x82)
    expect(crashes()).toEqual([PvCrash.IRET_FRAME])
  })

  test('a code segment that is none is the guest’s #GP there', () => {
    setTrap32(m, 13, 4, HANDLER)
    iret(7, 0x9000, SEL.userData, 0x202, 0x7000, SEL.userData)
    expect([m.get('RIP'), frame32(m, 2)]).toEqual([HANDLER, [BigInt(SEL.userData & ~3), 0x9000n]])
  })

  describe('to virtual-8086 mode', () => {
    /** EIP to GS. */
    const words = [0x1234, 0x3000, 0x20202, 0x7000, 0x4000, 0x11, 0x22, 0x33, 0x44]
    const from = (sp: number): void => {
      m.writeWords(sp, 4, 7, ...words)
      m.set('RSP', sp)
      m.set('RAX', 23)
      int(0x82)
    }
    const top = Number(KERNEL_STACK) - 40

    test.each([0x68000, top - 8, top, top + 8])('is #GP, with the frame at %i moved to the kernel’s stack', (sp) => {
      setTrap32(m, 13, 0, HANDLER)
      from(sp)
      expect([...state(), m.get('RIP'), m.get('RSP'), m.get('RAX')]).toEqual([
        1,
        KERNEL_CS32,
        KERNEL_DS32,
        HANDLER,
        BigInt(top),
        7n,
      ])
      expect(frame32(m, 10)).toEqual([0, ...words].map(BigInt))
      expect([m.run.readEflags(p), byte(MASK), crashes()]).toEqual([0x202, 0, []])
    })

    test('masks events if that handler does', () => {
      setTrap32(m, 13, 4, HANDLER)
      from(0x68000)
      expect(byte(MASK)).toBe(1)
    })

    test('crashes the domain if its stack is not there', () => {
      m.set('PV_KERNEL_SP', UNMAPPED)
      from(0x68000)
      expect(crashes()).toEqual([PvCrash.IRET_FRAME])
    })
  })
})

describe('SYSENTER', () => {
  test('from user mode: the callback, with nothing of where it was', () => {
    user()
    m.set('PV_SYSENTER', HANDLER)
    m.set32('PV_SYSENTER_CS', KERNEL_CS32)
    m.set32('PV_SYSENTER_MASKS', 1)
    setByte(MASK, 0)
    m.run.sysenter(p)
    expect([m.get('RIP'), ...state(), byte(MASK)]).toEqual([HANDLER, 1, KERNEL_CS32, KERNEL_DS32, 1])
    expect(frame32(m, 5)).toEqual([0n, 3n, 0x202n, 0n, 0xe033n])
  })

  test('without one it is #GP', () => {
    user()
    setTrap32(m, 13, 0, HANDLER)
    m.run.sysenter(p)
    expect([m.get('RIP'), ...frame32(m, 2)]).toEqual([HANDLER, 0n, 0n])
  })
})

test('CLI and STI are without effect where the IOPL permits it, else #GP; POPF changes no IF', () => {
  expect([m.run.cli(p), m.exception()]).toEqual([1, '13(0)'])
  run = enterPv32(m)
  m.set32('PV_IOPL', 0x1000)
  expect([m.run.cli(p), m.run.readEflags(p)]).toEqual([0, 0x202])
  m.run.popf(p, 2n, 4)
  expect(m.run.readEflags(p)).toBe(0x202)
})

test('a store that a page of the kernel’s refuses asks the host', () => {
  const TABLE = 0x52000
  m.ram.write64(0x3000, BigInt(TABLE) | 7n)
  for (let i = 0; i < 512; i++) m.ram.write64(TABLE + 8 * i, BigInt(i * 0x1000) | (i === 0x66 ? 5n : 7n))
  m.run.flushAll(p)
  m.set32('PV_ASSIST', 4)
  m.core.host['pvStore'] = () => 1
  expect([run.slowStore(p, 0x66010n, 4, 0x55n), m.exception()]).toEqual([0, ''])
  m.core.host['pvStore'] = () => 0
  expect([run.slowStore(p, 0x66010n, 4, 0x55n), m.exception()]).toEqual([1, '14(3)'])
})

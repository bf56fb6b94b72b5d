/** SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM Vol. 2). */
import { beforeAll, describe, expect, test } from 'vitest'
import { Attr, Leave, Mode } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine, STACK3 } from '../testing/machine.ts'

const CODE = 0x9b | Attr.G
const DATA = 0x93 | Attr.G | Attr.DB
const DPL3 = 0x60

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const segments = () => [1, 2].map((i) => [m.selector(i), m.attr(i), m.get32('SEG_LIMIT', i), m.base(i)])

function enter(mode: '64' | 'compat' | '32', cpl: number): void {
  m.set32('AMD', 0)
  m.enter(mode, cpl)
  if (mode !== '32') m.set('EFER', 0xd01n)
  m.set('STAR', 0x0023_0013_0000_0000n)
  m.set('LSTAR', 0xffff_8000_0000_1000n)
  m.set('FMASK', 0x47700)
  m.set('SYSENTER_CS', 0x101b)
  m.set('SYSENTER_ESP', 0xffff_8000_0000_2000n)
  m.set('SYSENTER_EIP', 0xffff_8000_0000_3000n)
}

describe('SYSCALL', () => {
  test('from 64-bit CPL 3', () => {
    enter('64', 3)
    m.run.setFlags(p, 0x8d5)
    m.set32('SYSFLAGS', 0x240302)
    expect(m.run.syscall(p, 0x5002n)).toBe(0)
    expect([m.get('RIP'), m.get('RCX'), m.get('R11'), m.get('RSP')]).toEqual([
      0xffff_8000_0000_1000n,
      0x5002n,
      0x240bd7n,
      BigInt(STACK3),
    ])
    expect(m.run.readEflags(p)).toBe(0x2008d7)
    expect([m.get32('CPL'), m.get32('MODE')]).toEqual([0, 13])
    expect(segments()).toEqual([
      [0x10, CODE | Attr.L, 0xffffffff, 0n],
      [0x1b, DATA, 0xffffffff, 0n],
    ])
  })

  test('#UD without EFER.SCE, and outside 64-bit mode', () => {
    enter('64', 3)
    m.set('EFER', 0x500n)
    expect([m.run.syscall(p, 0n), m.exception()]).toEqual([1, '6'])
    enter('compat', 3)
    expect([m.run.syscall(p, 0n), m.exception()]).toEqual([1, '6'])
    enter('32', 3)
    expect([m.run.syscall(p, 0n), m.exception()]).toEqual([1, '6'])
  })
})

describe('SYSRET', () => {
  test('to 64-bit mode', () => {
    enter('64', 0)
    m.set('RCX', 0x7fff_ffff_fffen)
    m.set('R11', 0xffff_ffff_feffn)
    m.set32('IRQ_PENDING', 1)
    m.set32('SYSFLAGS', 2)
    expect(m.run.sysret(p, 8)).toBe(0)
    expect([m.get('RIP'), m.get32('CPL'), m.get32('MODE'), m.run.readEflags(p)]).toEqual([
      0x7fff_ffff_fffen,
      3,
      13,
      0x247ed7,
    ])
    expect(segments()).toEqual([
      [0x33, CODE | Attr.L | DPL3, 0xffffffff, 0n],
      [0x2b, DATA | DPL3, 0xffffffff, 0n],
    ])
    expect(m.get32('LEAVE') & Leave.EVENT).toBe(Leave.EVENT)
  })

  test('to compatibility mode', () => {
    enter('64', 0)
    m.set('RCX', 0xf_1234_5678n)
    m.set('R11', 0)
    expect(m.run.sysret(p, 4)).toBe(0)
    expect([m.get('RIP'), m.get32('CPL'), m.get32('MODE'), m.run.readEflags(p)]).toEqual([
      0x1234_5678n,
      3,
      Mode.D | Mode.B | Mode.FLAT,
      2,
    ])
    expect(segments()).toEqual([
      [0x23, CODE | Attr.DB | DPL3, 0xffffffff, 0n],
      [0x2b, DATA | DPL3, 0xffffffff, 0n],
    ])
  })

  test('errors', () => {
    enter('64', 0)
    m.set('RCX', 0x8000_0000_0000n)
    const before = m.snapshot()
    expect([m.run.sysret(p, 8), m.exception()]).toEqual([1, '13(0)'])
    expect(m.snapshot()).toBe(before)
    m.set('EFER', 0x500n)
    expect([m.run.sysret(p, 8), m.exception()]).toEqual([1, '6'])
    enter('64', 3)
    expect([m.run.sysret(p, 8), m.exception()]).toEqual([1, '13(0)'])
    enter('compat', 0)
    expect([m.run.sysret(p, 4), m.exception()]).toEqual([1, '6'])
  })
})

describe('SYSENTER and SYSEXIT', () => {
  test('into long mode, from 64-bit and compatibility mode', () => {
    for (const mode of ['64', 'compat'] as const) {
      enter(mode, 3)
      expect(m.run.sysenter(p)).toBe(0)
      expect([m.get('RIP'), m.get('RSP'), m.get32('CPL'), m.get32('MODE'), m.run.readEflags(p)]).toEqual([
        0xffff_8000_0000_3000n,
        0xffff_8000_0000_2000n,
        0,
        13,
        2,
      ])
      expect(segments()).toEqual([
        [0x1018, CODE | Attr.L, 0xffffffff, 0n],
        [0x1020, DATA, 0xffffffff, 0n],
      ])
    }
  })

  test('in 32-bit mode', () => {
    enter('32', 3)
    expect(m.run.sysenter(p)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL')]).toEqual([0x3000n, 0x2000n, 0])
    expect(segments()).toEqual([
      [0x1018, CODE | Attr.DB, 0xffffffff, 0n],
      [0x1020, DATA, 0xffffffff, 0n],
    ])
    m.set('RCX', 0xf_0000_1000n)
    m.set('RDX', 0xf_0000_2000n)
    expect(m.run.sysexit(p, 4)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL')]).toEqual([0x2000n, 0x1000n, 3])
    expect(segments()).toEqual([
      [0x102b, CODE | Attr.DB | DPL3, 0xffffffff, 0n],
      [0x1033, DATA | DPL3, 0xffffffff, 0n],
    ])
  })

  test('SYSEXIT to 64-bit mode', () => {
    enter('64', 0)
    m.set('RCX', 0x7fff_0000_1000n)
    m.set('RDX', 0x7fff_0000_2000n)
    expect(m.run.sysexit(p, 8)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL'), m.get32('MODE')]).toEqual([
      0x7fff_0000_2000n,
      0x7fff_0000_1000n,
      3,
      13,
    ])
    expect(segments()).toEqual([
      [0x103b, CODE | Attr.L | DPL3, 0xffffffff, 0n],
      [0x1043, DATA | DPL3, 0xffffffff, 0n],
    ])
  })

  test('errors', () => {
    const fails = (name: 'sysenter' | 'sysexit', size: number): void => {
      const before = m.snapshot()
      expect([m.run[name](p, size), m.exception()]).toEqual([1, '13(0)'])
      expect(m.snapshot()).toBe(before)
    }
    enter('64', 0)
    m.set('RCX', 0x8000_0000_0000n)
    fails('sysexit', 8)
    m.set('RCX', 0)
    m.set('RDX', 0x8000_0000_0000n)
    fails('sysexit', 8)
    expect(m.run.sysexit(p, 4)).toBe(0)
    fails('sysexit', 4) // CPL 3
    enter('64', 0)
    m.set('SYSENTER_CS', 3)
    fails('sysenter', 0)
    fails('sysexit', 4)
    m.enter('real')
    m.set('SYSENTER_CS', 8)
    fails('sysenter', 0)
    fails('sysexit', 4)
  })
})

describe('AMD', () => {
  function enterAmd(mode: '64' | 'compat' | '32', cpl: number): void {
    enter(mode, cpl)
    m.set32('AMD', 1)
    m.set('EFER', mode === '32' ? 1n : 0xd01n)
    m.set('CSTAR', 0xffff_8000_0000_4000n)
    m.set('STAR', 0x0023_0013_8000_5000n)
  }

  test('SYSCALL from compatibility mode goes to CSTAR', () => {
    enterAmd('compat', 3)
    expect(m.run.syscall(p, 0x5002n)).toBe(0)
    expect([m.get('RIP'), m.get('RCX'), m.get('R11'), m.get32('MODE')]).toEqual([
      0xffff_8000_0000_4000n,
      0x5002n,
      0x202n,
      13,
    ])
  })

  test('SYSCALL and SYSRET outside long mode', () => {
    enterAmd('32', 3)
    m.set32('SYSFLAGS', 0x602)
    expect(m.run.syscall(p, 0x5002n)).toBe(0)
    expect([m.get('RIP'), m.get('RCX'), m.get32('CPL'), m.run.readEflags(p)]).toEqual([0x80005000n, 0x5002n, 0, 0x402])
    expect(segments()[0]).toEqual([0x10, CODE | Attr.DB, 0xffffffff, 0n])
    expect(m.run.sysret(p, 4)).toBe(0)
    expect([m.get('RIP'), m.get32('CPL'), m.run.readEflags(p), m.selector(1)]).toEqual([0x5002n, 3, 0x602, 0x23])
    m.enter('real')
    m.set('EFER', 1)
    expect([m.run.syscall(p, 0n), m.exception()]).toEqual([1, '6'])
  })

  test('SYSRET leaves the hidden part of SS, and a bad address to the fetch', () => {
    enterAmd('64', 0)
    m.set('RCX', 0x8000_0000_0000n)
    m.set('R11', 0x202)
    const before = segments()[1]
    expect(m.run.sysret(p, 8)).toBe(0)
    expect([m.get('RIP'), m.get32('CPL')]).toEqual([0x8000_0000_0000n, 3])
    expect(segments()).toEqual([
      [0x33, CODE | Attr.L | DPL3, 0xffffffff, 0n],
      [0x2b, ...before!.slice(1)],
    ])
  })

  test('no SYSENTER in long mode', () => {
    enterAmd('64', 0)
    expect([m.run.sysenter(p), m.exception()]).toEqual([1, '6'])
    expect([m.run.sysexit(p, 8), m.exception()]).toEqual([1, '6'])
    enterAmd('32', 3)
    expect(m.run.sysenter(p)).toBe(0)
  })
})

test('SWAPGS', () => {
  enter('64', 0)
  m.set('KERNEL_GS_BASE', 0xffff_8000_0000_0000n)
  expect(m.run.swapgs(p)).toBe(0)
  expect([m.base(5), m.get('KERNEL_GS_BASE')]).toEqual([0xffff_8000_0000_0000n, 0n])
  enter('64', 3)
  expect([m.run.swapgs(p), m.exception()]).toEqual([1, '13(0)'])
})

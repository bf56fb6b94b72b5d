/** Far JMP and CALL, direct and through call gates, and every error code (SDM Vol. 2; Vol. 3A 5.8). */
import { beforeAll, describe, expect, test } from 'vitest'
import { Attr, Mode } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { descriptor, gate, Machine, SEL, STACK0, STACK3, TSS } from '../testing/machine.ts'
import type { ModeName } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

/** A call gate in the GDT at SEL.gate; in long mode with its upper half. */
function callGate(dpl: number, selector: number, offset: number, parameters = 0, high = 0n, type = 0xc): void {
  m.setGdt(SEL.gate, gate(type, dpl, selector, offset, parameters))
  if (m.long) m.setGdt(SEL.gate + 8, high)
}

const where = () => [m.get('RIP'), m.selector(1), m.get32('CPL')]

describe('direct', () => {
  test('real mode: selector times 16, CS:IP pushed', () => {
    m.enter('real')
    expect(m.run.farCall(p, 0x1234, 0x10n, 2, 0x105n)).toBe(0)
    expect([...where(), m.base(1), m.get('RSP')]).toEqual([0x10n, 0x1234, 0, 0x12340n, 0x7ffcn])
    expect([m.read(0x37ffc, 2), m.read(0x37ffe, 2)]).toEqual([0x105n, 0x2000n])
    expect(m.run.farCall(p, 0x2000, 0x10n, 4, 0x15n)).toBe(0)
    expect([m.read(0x37ff4, 4), m.read(0x37ff8, 4), m.get('RSP')]).toEqual([0x15n, 0x1234n, 0x7ff4n])
    expect([m.run.farJump(p, 0x2000, 0x10000n, 4), m.exception()]).toEqual([1, '13(0)'])
  })

  test('from real mode to 32-bit protected mode', () => {
    m.enter('real')
    m.ram.write64(0x8018, descriptor(0x9b | Attr.DB | Attr.G))
    m.set('GDTR_BASE', 0x8000)
    m.run.movToCr(p, 0, 0x11n)
    expect(m.get32('MODE')).toBe(0)
    expect(m.run.farJump(p, 0x18, 0x12345n, 4)).toBe(0)
    expect([...where(), m.base(1), m.get32('MODE')]).toEqual([0x12345n, 0x18, 0, 0n, Mode.D])
  })

  test('to the same level; RPL becomes CPL; conforming code keeps CPL', () => {
    m.enter('32', 3)
    expect(m.run.farJump(p, SEL.user32 & ~3, 0x6000n, 4)).toBe(0)
    expect(where()).toEqual([0x6000n, SEL.user32, 3])
    expect(m.run.farCall(p, SEL.conforming, 0x7000n, 4, 0x6007n)).toBe(0)
    expect(where()).toEqual([0x7000n, SEL.conforming | 3, 3])
    expect(m.stack(4, 2)).toEqual([0x6007n, BigInt(SEL.user32)])
  })

  test('between 64-bit and compatibility mode', () => {
    m.enter('64')
    expect(m.run.farJump(p, SEL.code32, 0x6000n, 8)).toBe(0)
    expect(m.get32('MODE')).toBe(Mode.D | Mode.B | Mode.FLAT)
    expect(m.run.farCall(p, SEL.code64, 0x7000n, 4, 0x6007n)).toBe(0)
    expect(m.get32('MODE')).toBe(13)
    expect(m.stack(4, 2)).toEqual([0x6007n, BigInt(SEL.code32)])
    expect(m.run.farCall(p, SEL.code64, 0x8000n, 8, 0x7007n)).toBe(0)
    expect(m.stack(8, 2)).toEqual([0x7007n, BigInt(SEL.code64)])
  })
})

describe('call gates', () => {
  test('same level: CS:IP pushed by the size of the gate', () => {
    m.enter('32')
    callGate(0, SEL.code32, 0x12345678)
    expect(m.run.farCall(p, SEL.gate, 0n, 2, 0x5007n)).toBe(0)
    expect(where()).toEqual([0x12345678n, SEL.code32, 0])
    expect(m.stack(4, 2)).toEqual([0x5007n, BigInt(SEL.code32)])
    callGate(0, SEL.code32, 0x12345678, 0, 0n, 4)
    expect(m.run.farCall(p, SEL.gate, 0n, 4, 0x5007n)).toBe(0)
    expect(where()).toEqual([0x5678n, SEL.code32, 0])
    expect(m.stack(2, 2)).toEqual([0x5007n, BigInt(SEL.code32)])
    expect(m.run.farJump(p, SEL.gate, 0n, 4)).toBe(0)
  })

  test('to an inner level: new stack, parameters copied', () => {
    m.enter('32', 3)
    callGate(3, SEL.code32, 0x6000, 3)
    m.writeWords(STACK3 - 12, 4, 0x111, 0x222, 0x333)
    m.set('RSP', STACK3 - 12)
    expect(m.run.farCall(p, SEL.gate | 3, 0n, 4, 0x5007n)).toBe(0)
    expect(where()).toEqual([0x6000n, SEL.code32, 0])
    expect(m.get('RSP')).toBe(BigInt(STACK0 - 28))
    expect(m.stack(4, 7)).toEqual([
      0x5007n,
      BigInt(SEL.user32),
      0x111n,
      0x222n,
      0x333n,
      BigInt(STACK3 - 12),
      BigInt(SEL.userData),
    ])
    // And back: RET 12 drops the parameters from both stacks.
    expect(m.run.farReturn(p, 4, 12)).toBe(0)
    expect([...where(), m.get('RSP')]).toEqual([0x5007n, SEL.user32, 3, BigInt(STACK3)])
  })

  test('to level 1', () => {
    m.enter('32', 3)
    callGate(3, SEL.level1, 0x6000)
    expect(m.run.farCall(p, SEL.gate | 3, 0n, 4, 0x5007n)).toBe(0)
    expect([...where(), m.selector(2), m.get('RSP')]).toEqual([
      0x6000n,
      SEL.level1,
      1,
      SEL.level1Data,
      BigInt(STACK0 - 0x4000 - 16),
    ])
  })

  test('64-bit gates: from 64-bit and compatibility mode, null SS, 8-byte words', () => {
    for (const [mode, cs] of [
      ['64', SEL.user64],
      ['compat', SEL.user32],
    ] as const) {
      m.enter(mode, 3)
      callGate(3, SEL.code64, 0x6000, 5, 0x7fffn)
      expect(m.run.farCall(p, SEL.gate | 3, 0n, 4, 0x5007n)).toBe(0)
      expect([...where(), m.selector(2), m.get32('MODE')]).toEqual([0x7fff_0000_6000n, SEL.code64, 0, 0, 13])
      expect(m.stack(8, 4)).toEqual([0x5007n, BigInt(cs), BigInt(STACK3), BigInt(SEL.userData)])
    }
    m.enter('64')
    callGate(0, SEL.code64, 0x6000)
    expect(m.run.farCall(p, SEL.gate, 0n, 8, 0x5007n)).toBe(0)
    expect(m.stack(8, 2)).toEqual([0x5007n, BigInt(SEL.code64)])
    expect(m.get('RSP')).toBe(BigInt(STACK0 - 16))
  })
})

describe('error codes', () => {
  const both: ModeName[] = ['32', '64']
  const nothing = (): void => {}
  const gateTo =
    (selector: number, dpl = 3, high = 0n, offset = 0x6000) =>
    (): void =>
      callGate(dpl, selector, offset, 0, high)
  // name, modes, CPL, selector, setup, exception of CALL, of JMP if it differs
  const cases: [string, ModeName[], number, number, () => void, string, string?][] = [
    ['null', both, 0, 2, nothing, '13(0)'],
    ['beyond the GDT', both, 0, 0x102, nothing, '13(100)'],
    ['no LDT', both, 0, 0x0e, nothing, '13(c)'],
    ['data', both, 0, SEL.data0, nothing, '13(10)'],
    ['code of an outer level', both, 0, SEL.user64, nothing, '13(40)'],
    ['code of an inner level', both, 3, SEL.code64, nothing, '13(8)'],
    ['RPL above CPL', both, 0, SEL.code64 | 1, nothing, '13(8)'],
    ['conforming code of an outer level', both, 0, SEL.free, () => m.setGdt(SEL.free, descriptor(0xff)), '13(c8)'],
    ['absent', both, 0, SEL.absentCode, nothing, '11(60)'],
    ['L and D', ['64'], 0, SEL.code64d, nothing, '13(c0)'],
    ['LDT', both, 0, SEL.ldt, nothing, '13(78)'],
    ['TSS', both, 0, SEL.tss, nothing, '13(68)'],
    ['interrupt gate', both, 0, SEL.free, () => m.setGdt(SEL.free, gate(0xe, 3, 8, 0)), '13(c8)'],
    ['task gate', both, 0, SEL.free, () => m.setGdt(SEL.free, gate(5, 3, 0x68, 0)), '13(c8)'],
    ['16-bit call gate', ['64'], 0, SEL.free, () => m.setGdt(SEL.free, gate(4, 3, 8, 0)), '13(c8)'],
    ['gate of a level below CPL', both, 3, SEL.gate, gateTo(SEL.code64, 2), '13(a0)'],
    ['gate of a level below RPL', both, 0, SEL.gate | 3, gateTo(SEL.code64, 2), '13(a0)'],
    ['gate with a type in its upper half', ['64'], 0, SEL.gate, gateTo(SEL.code64, 3, 1n << 40n), '13(a0)'],
    [
      'gate that is half in the GDT',
      ['64'],
      0,
      SEL.gate,
      () => {
        callGate(3, SEL.code64, 0)
        m.set32('GDTR_LIMIT', SEL.gate + 7)
      },
      '13(a0)',
    ],
    [
      'absent gate',
      both,
      0,
      SEL.gate,
      () => {
        callGate(3, SEL.code64, 0)
        m.setGdt(SEL.gate, m.ram.read64(0x8000 + SEL.gate) & ~(0x80n << 40n))
      },
      '11(a0)',
    ],
    ['gate to null', both, 0, SEL.gate, gateTo(3), '13(0)'],
    ['gate beyond the GDT', both, 0, SEL.gate, gateTo(0x103), '13(100)'],
    ['gate to data', both, 0, SEL.gate, gateTo(SEL.data0), '13(10)'],
    ['gate to an outer level', both, 0, SEL.gate, gateTo(SEL.level1), '13(b0)'],
    ['gate to 32-bit code', ['64'], 0, SEL.gate, gateTo(SEL.code32), '13(18)'],
    ['gate to 64-bit code with D', ['64'], 0, SEL.gate, gateTo(SEL.code64d), '13(c0)'],
    ['gate to absent code', both, 0, SEL.gate, gateTo(SEL.absentCode), '11(60)'],
    ['gate to a non-canonical address', ['64'], 0, SEL.gate, gateTo(SEL.code64, 3, 0x8000n), '13(0)'],
    [
      'gate beyond the limit',
      ['32'],
      0,
      SEL.gate,
      () => {
        m.setGdt(SEL.free, descriptor(0x9b | Attr.DB, 0, 0xfff))
        callGate(3, SEL.free, 0x1000)
      },
      '13(0)',
    ],
    ['JMP to an inner level', both, 3, SEL.gate, gateTo(SEL.code64), '', '13(8)'],
    [
      'TSS too short',
      both,
      3,
      SEL.gate,
      () => {
        callGate(3, m.long ? SEL.code64 : SEL.code32, 0x6000)
        m.set32('SEG_LIMIT', 8, 7)
      },
      '10(68)',
      'skip',
    ],
    [
      'inner SS null',
      ['32'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code32, 0x6000)
        m.ram.write32(TSS + 8, 0)
      },
      '10(0)',
      'skip',
    ],
    [
      'inner SS of another level',
      ['32'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code32, 0x6000)
        m.ram.write32(TSS + 8, SEL.userData)
      },
      '10(38)',
      'skip',
    ],
    [
      'inner SS absent',
      ['32'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code32, 0x6000)
        m.ram.write32(TSS + 8, SEL.absentData)
      },
      '12(58)',
      'skip',
    ],
    [
      'inner stack too small',
      ['32'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code32, 0x6000, 31)
        m.setGdt(SEL.free, descriptor(0x97 | Attr.DB, 0, 0xffff))
        m.ram.write32(TSS + 4, 0x10000 + 34 * 4)
        m.ram.write32(TSS + 8, SEL.free)
      },
      '12(c8)',
      'skip',
    ],
    [
      'inner RSP not canonical',
      ['64'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code64, 0x6000)
        m.ram.write64(TSS + 4, 0x8000_0000_1000n)
      },
      '12(0)',
      'skip',
    ],
    [
      'unmapped inner stack',
      both,
      3,
      SEL.gate,
      () => {
        callGate(3, m.long ? SEL.code64 : SEL.code32, 0x6000)
        m.ram.write32(TSS + 4, 0x40001000)
      },
      '14(2)',
      'skip',
    ],
    [
      'unmapped parameters',
      ['32'],
      3,
      SEL.gate,
      () => {
        callGate(3, SEL.code32, 0x6000, 1)
        m.set('RSP', 0x40001000)
      },
      '14(4)',
      'skip',
    ],
  ]
  for (const [name, modes, cpl, selector, setup, call, jump = call] of cases)
    for (const mode of modes)
      test(`${name}, ${mode}`, () => {
        m.enter(mode, cpl)
        setup()
        const calls = m.attempt(() => (call === '' ? 0 : m.run.farCall(p, selector, 0x6000n, 4, 0x5007n)))
        const jumps = jump === 'skip' ? jump : m.attempt(() => m.run.farJump(p, selector, 0x6000n, 4))
        expect([calls, jumps]).toEqual([call, jump])
      })

  test('a direct target beyond the limit or not canonical; a full stack', () => {
    m.enter('32')
    m.setGdt(SEL.free, descriptor(0x9b | Attr.DB, 0, 0xfff))
    expect([m.run.farJump(p, SEL.free, 0x1000n, 4), m.exception()]).toEqual([1, '13(0)'])
    m.setGdt(SEL.expandDown, descriptor(0x97 | Attr.DB, 0, 0xfff))
    m.run.loadSegment(p, 2, SEL.expandDown)
    m.set('RSP', 0x1007)
    expect([m.run.farCall(p, SEL.code32, 0x1000n, 4, 0n), m.exception()]).toEqual([1, '12(0)'])
    m.set('RSP', 0x1008)
    expect(m.run.farCall(p, SEL.code32, 0x1000n, 4, 0n)).toBe(0)
    m.enter('64')
    expect([m.run.farJump(p, SEL.code64, 0x8000_0000_0000n, 8), m.exception()]).toEqual([1, '13(0)'])
  })
})

/** Exceptions and interrupts through the IDT: frames, stacks, privilege, and every error code (SDM Vol. 3A 6). */
import { beforeAll, describe, expect, test } from 'vitest'
import { Attr, Exit, Leave } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { descriptor, gate, GDT, HANDLER, IDT, IST1, Machine, SEL, STACK0, STACK3, TSS } from '../testing/machine.ts'
import type { ModeName } from '../testing/machine.ts'

const NMI_HANDLER = HANDLER + 2 * 16

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const at = (vector: number): bigint => BigInt(HANDLER + vector * 16)

function raise(vector: number, error?: number): void {
  m.set32('EXC', vector)
  m.set32('EXC_ERROR', error ?? 0)
  m.set32('EXC_HAS_ERROR', error === undefined ? 0 : 1)
}

function deliver(vector: number, error?: number): void {
  raise(vector, error)
  m.run.deliver(p)
}

describe('64-bit', () => {
  test('same level: aligned stack, five words, IF off in an interrupt gate', () => {
    m.enter('64')
    m.set('RSP', STACK0 - 0x17)
    m.set32('SYSFLAGS', 0x44702) // AC NT DF IF TF
    m.run.setFlags(p, 0x8d5)
    m.run.deliverInterrupt(p, 0x30)
    expect(m.get('RIP')).toBe(at(0x30))
    expect(m.get('RSP')).toBe(BigInt(STACK0 - 0x20 - 40))
    expect(m.stack(8, 5)).toEqual([0x5000n, 8n, 0x44fd7n, BigInt(STACK0 - 0x17), 0x10n])
    expect(m.run.readEflags(p)).toBe(0x40cd7)
    expect(m.selector(2)).toBe(0x10)
  })

  test('a trap gate keeps IF; its offset has 64 bits', () => {
    m.enter('64')
    m.setIdt(0x31, gate(0xf, 0, SEL.code64, 0x87654321), 0xffff_8000n)
    m.run.deliverInterrupt(p, 0x31)
    expect(m.get('RIP')).toBe(0xffff_8000_8765_4321n)
    expect(m.run.readEflags(p)).toBe(0x202)
  })

  test('from CPL 3: RSP0, null SS, the bank of the new level', () => {
    m.enter('64', 3)
    deliver(14, 7)
    expect(m.get('RIP')).toBe(at(14))
    expect(m.get32('CPL')).toBe(0)
    expect(m.stack(8, 6)).toEqual([7n, 0x5000n, 0x43n, 0x10202n, BigInt(STACK3), 0x3bn])
    expect(m.get('RSP')).toBe(BigInt(STACK0 - 48))
    expect(m.selector(2)).toBe(0)
    expect(m.attr(2) & Attr.NULL).toBe(Attr.NULL)
    expect(m.selector(1)).toBe(8)
  })

  test('from compatibility mode with 32-bit bases to a stack above 4 GiB', () => {
    m.enter('compat', 3)
    // The same physical page at the top of the address space.
    m.ram.write64(0x1000 + 511 * 8, m.ram.read64(0x1000))
    m.ram.write64(TSS + 4, 0xffff_ff80_0000_0000n + BigInt(STACK0))
    deliver(6)
    expect(m.get('RIP')).toBe(at(6))
    expect(m.get('RSP')).toBe(0xffff_ff80_0000_0000n + BigInt(STACK0 - 40))
    expect(m.stack(8, 5)).toEqual([0x5000n, 0x33n, 0x10202n, BigInt(STACK3), 0x3bn])
    expect(m.get32('MODE')).toBe(13)
  })

  test('an interrupt stack is taken from level 0 too, and aligned', () => {
    m.enter('64')
    m.setIdt(2, gate(0xe, 0, SEL.code64, NMI_HANDLER, 1))
    m.run.deliverNmi(p)
    expect(m.get('RSP')).toBe(BigInt(IST1 - 8 - 40))
    expect(m.stack(8, 5)).toEqual([0x5000n, 8n, 0x202n, BigInt(STACK0), 0x10n])
    expect(m.selector(2)).toBe(0x10)
    expect(m.get32('NMI_BLOCKED')).toBe(1)
    m.run.iret(p, 8)
    expect([m.get('RIP'), m.get('RSP'), m.get32('NMI_BLOCKED')]).toEqual([0x5000n, BigInt(STACK0), 0])
  })

  test('conforming handlers stay at CPL 3, on the user stack', () => {
    m.enter('64', 3)
    m.setIdt(0x20, gate(0xe, 0, SEL.conforming64, HANDLER))
    m.run.deliverInterrupt(p, 0x20)
    expect([m.get32('CPL'), m.selector(1), m.get('RSP')]).toEqual([3, SEL.conforming64 | 3, BigInt(STACK3 - 40)])
  })

  test('marks the code segment accessed', () => {
    m.enter('64')
    m.setGdt(SEL.free, descriptor(0xa | 0x90 | Attr.L))
    m.setIdt(0x20, gate(0xe, 0, SEL.free, HANDLER))
    m.run.deliverInterrupt(p, 0x20)
    expect(m.ram.read32(GDT + SEL.free + 4) & 0x100).toBe(0x100)
  })
})

describe('outside long mode', () => {
  test.each(['32', '16'] as const)('%s-bit code, 32-bit gate, same level', (mode) => {
    m.enter(mode)
    m.set('RSP', 0x18000)
    m.run.deliverInterrupt(p, 0x30)
    expect(m.get('RIP')).toBe(at(0x30))
    // With a 16-bit stack only SP counts and changes.
    expect(m.get('RSP')).toBe(mode === '32' ? 0x18000n - 12n : 0x17ff4n)
    const top = mode === '32' ? 0x18000 - 12 : 0x7ff4
    expect([0, 4, 8].map((i) => m.ram.read32(top + i))).toEqual([0x5000, mode === '32' ? 0x18 : 0x20, 0x202])
  })

  test('16-bit gates push words', () => {
    m.enter('32')
    m.setIdt(13, gate(6, 0, SEL.code32, 0x12345678))
    deliver(13, 0xabcd)
    expect(m.get('RIP')).toBe(0x5678n)
    expect(m.stack(2, 4)).toEqual([0xabcdn, 0x5000n, 0x18n, 0x202n])
  })

  test('to an inner level, with the stack of a 32-bit and of a 16-bit TSS', () => {
    m.enter('32', 3)
    deliver(13, 0x10)
    expect(m.stack(4, 6)).toEqual([0x10n, 0x5000n, 0x33n, 0x10202n, BigInt(STACK3), 0x3bn])
    expect([m.get32('CPL'), m.selector(1), m.selector(2)]).toEqual([0, 0x18, 0x10])

    m.enter('32', 3)
    m.set32('SEG_ATTR', 0x83, 7)
    m.ram.write32(TSS, (0x9000 << 16) | 0) // SP0, then SS0
    m.ram.write32(TSS + 4, SEL.data0)
    m.run.deliverInterrupt(p, 0x30)
    expect(m.get('RSP')).toBe(0x9000n - 20n)
  })

  test('a 16-bit inner stack keeps the upper half of the TSS value', () => {
    m.enter('32', 3)
    m.setGdt(SEL.free, descriptor(0x93))
    m.ram.write32(TSS + 4, 0x55550000 | 0x8000)
    m.ram.write32(TSS + 8, SEL.free)
    m.run.deliverInterrupt(p, 0x30)
    expect(m.get('RSP')).toBe(0x55557fecn)
    expect(m.ram.read32(0x7fec)).toBe(0x5000)
  })
})

describe('real mode', () => {
  test('three words, IF TF AC off, no error code', () => {
    m.enter('real')
    m.set32('SYSFLAGS', 0x40302)
    deliver(13, 5)
    expect([m.get('RIP'), m.selector(1), m.base(1)]).toEqual([13n * 16n, 0x1000, 0x10000n])
    expect(m.get('RSP')).toBe(0x7ffan)
    expect([0, 2, 4].map((i) => m.read(0x37ffa + i, 2))).toEqual([0x100n, 0x2000n, 0x302n])
    expect(m.run.readEflags(p)).toBe(2)
  })

  test('INT n pushes the next IP and IRET comes back', () => {
    m.enter('real')
    expect(m.run.softInterrupt(p, 0x10, 0x102n)).toBe(0)
    expect(m.get('RIP')).toBe(0x100n)
    m.run.iret(p, 2)
    expect([m.get('RIP'), m.selector(1), m.get('RSP')]).toEqual([0x102n, 0x2000, 0x8000n])
    expect(m.run.readEflags(p)).toBe(0x202)
  })

  test('a table that is too short ends in shutdown, as 32-bit systems reboot', () => {
    m.enter('real')
    m.set32('IDTR_LIMIT', 0)
    deliver(6)
    expect([m.get32('EXIT'), m.get32('LEAVE') & Leave.HOST]).toEqual([Exit.SHUTDOWN, Leave.HOST])
  })
})

describe('the image of RF', () => {
  test.each([
    [0, true],
    [1, true],
    [3, false],
    [4, false],
    [6, true],
    [8, false],
    [13, true],
    [14, true],
    [16, true],
    [18, false],
  ])('vector %i: %s', (vector, set) => {
    m.enter('64')
    m.setIdt(vector, gate(0xe, 0, SEL.code64, HANDLER))
    deliver(vector)
    expect(m.stack(8, 3)[2]).toBe(set ? 0x10202n : 0x202n)
  })

  test('single step is a trap with DR6.BS; delivery of #DB clears DR7.GD', () => {
    m.enter('64')
    m.set('DR7', 0x2400)
    m.set32('SYSFLAGS', 0x302)
    m.run.endStep(p, 0x302)
    expect(m.stack(8, 3)).toEqual([0x5000n, 8n, 0x302n])
    expect(m.run.readEflags(p)).toBe(2)
    expect([m.get('DR6'), m.get('DR7')]).toEqual([0xffff4ff0n, 0x400n])
  })
})

describe('which instructions are stepped', () => {
  const traps = (before: number): boolean => {
    const rip = m.get('RIP')
    m.run.endStep(p, before)
    return m.get('RIP') !== rip
  }
  test('TF before the instruction counts, not after it', () => {
    m.enter('64')
    expect(traps(0x202)).toBe(false)
    m.run.popf(p, 0x302n, 8)
    expect(traps(0x202)).toBe(false)
    m.run.popf(p, 0x202n, 8)
    expect(traps(0x302)).toBe(true)
  })

  test('after MOV SS the next instruction traps', () => {
    m.enter('64')
    m.run.loadSegment(p, 2, SEL.data0)
    expect(traps(0x302)).toBe(false)
    m.set32('SHADOW', 0)
    expect(traps(0x302)).toBe(true)
  })

  test('INT n and SYSCALL enter handlers unstepped, SYSRET traps at once', () => {
    m.enter('64')
    m.set32('SYSFLAGS', 0x302)
    m.run.softInterrupt(p, 0x30, 0x5002n)
    expect(traps(0x302)).toBe(false)
    m.enter('64')
    m.set('EFER', 0x501n)
    m.set32('SYSFLAGS', 0x302)
    m.set('FMASK', 0x100)
    m.run.syscall(p, 0x5002n)
    expect(traps(0x302)).toBe(false)
    expect(m.get('R11')).toBe(0x302n)
    m.set('RCX', 0x7000)
    expect(m.run.sysret(p, 8)).toBe(0)
    m.run.deliver(p)
    expect([m.get('DR6'), m.stack(8, 1)]).toEqual([0xffff4ff0n, [0x7000n]])
  })
})

describe('error codes', () => {
  type Setup = () => void
  const long: ModeName[] = ['64', 'compat']
  const legacy: ModeName[] = ['32', '16']
  const all = [...long, ...legacy]
  const setGate =
    (type: number, selector: number, dpl = 3, offset = HANDLER) =>
    () =>
      m.setIdt(0x40, gate(type, dpl, selector, offset))
  const absentGate: Setup = () =>
    m.setIdt(0x40, gate(0xe, 3, m.long ? SEL.code64 : SEL.code32, HANDLER) & ~(0x80n << 40n))
  const shortTable: Setup = () => m.set32('IDTR_LIMIT', 0x40 * (m.long ? 16 : 8) + (m.long ? 14 : 6))
  const shortGdt =
    (selector: number): Setup =>
    () => {
      setGate(0xe, selector)()
      m.set32('GDTR_LIMIT', (selector & ~7) + 6)
    }
  // name, modes, CPL, what is wrong, exception of INT 0x40, exception on the way to a handler
  const cases: [string, ModeName[], number, Setup, string, string][] = [
    ['beyond the IDT', all, 0, shortTable, '13(202)', '13(203)'],
    ['beyond the IDT at CPL 3', all, 3, shortTable, '13(202)', '13(203)'],
    ['not a gate', all, 0, () => m.setIdt(0x40, descriptor(0x8b | 0x60)), '13(202)', '13(203)'],
    ['a code segment instead', all, 0, () => m.setIdt(0x40, descriptor(0xfe)), '13(202)', '13(203)'],
    ['call gate', all, 0, setGate(0xc, SEL.code64), '13(202)', '13(203)'],
    ['absent gate', all, 0, absentGate, '11(202)', '11(203)'],
    ['null code selector', all, 0, setGate(0xe, 3), '13(0)', '13(1)'],
    ['code selector beyond the GDT', all, 0, shortGdt(SEL.gate), '13(a0)', '13(a1)'],
    ['code selector in no LDT', all, 0, setGate(0xe, 0x0c), '13(c)', '13(d)'],
    ['data segment', all, 0, setGate(0xe, SEL.data0), '13(10)', '13(11)'],
    ['code of an outer level', all, 0, setGate(0xe, SEL.level1), '13(b0)', '13(b1)'],
    ['absent code', all, 0, setGate(0xe, SEL.absentCode), '11(60)', '11(61)'],
    ['16-bit gate', long, 0, setGate(6, SEL.code64), '13(202)', '13(203)'],
    ['task gate', long, 0, setGate(5, SEL.tss), '13(202)', '13(203)'],
    ['task gate', legacy, 0, setGate(5, SEL.tss), '13(68)', '13(69)'],
    ['32-bit code', long, 0, setGate(0xe, SEL.code32), '13(18)', '13(19)'],
    ['64-bit code with D', long, 0, setGate(0xe, SEL.code64d), '13(c0)', '13(c1)'],
    ['offset not canonical', long, 0, () => m.setIdt(0x40, gate(0xe, 3, SEL.code64, 0), 0x8000n), '13(0)', '13(1)'],
    [
      'offset beyond the limit',
      legacy,
      0,
      () => {
        m.setGdt(SEL.free, descriptor(0x9b | Attr.DB, 0, 0xfff))
        m.setIdt(0x40, gate(0xe, 3, SEL.free, 0x1000))
      },
      '13(0)',
      '13(1)',
    ],
    [
      'no room on the stack',
      ['32'],
      0,
      () => {
        m.setGdt(SEL.expandDown, descriptor(0x97 | Attr.DB, 0, 0x7fff))
        m.run.loadSegment(p, 2, SEL.expandDown)
        m.set('RSP', 0x8000)
      },
      '12(0)',
      '12(1)',
    ],
    ['stack not canonical', ['64'], 0, () => m.set('RSP', 0x8000_0000_1000n), '12(0)', '12(1)'],
    ['TSS too short for RSP0', long, 3, () => m.set32('SEG_LIMIT', 10, 7), '10(68)', '10(69)'],
    ['TSS too short for SS0', legacy, 3, () => m.set32('SEG_LIMIT', 8, 7), '10(68)', '10(69)'],
    [
      'TSS too short for IST',
      ['64'],
      0,
      () => {
        setGate(0xe, SEL.code64)()
        m.ram.write32(IDT + 0x40 * 16 + 4, m.ram.read32(IDT + 0x40 * 16 + 4) | 7)
        m.set32('SEG_LIMIT', 90, 7)
      },
      '10(68)',
      '10(69)',
    ],
    ['RSP0 not canonical', long, 3, () => m.ram.write64(TSS + 4, 0x8000_0000_1000n), '12(0)', '12(1)'],
    ['SS0 null', legacy, 3, () => m.ram.write32(TSS + 8, 0), '10(0)', '10(1)'],
    ['SS0 beyond the GDT', legacy, 3, () => m.ram.write32(TSS + 8, 0x100), '10(100)', '10(101)'],
    ['SS0 of another RPL', legacy, 3, () => m.ram.write32(TSS + 8, SEL.data0 | 1), '10(10)', '10(11)'],
    ['SS0 of another DPL', legacy, 3, () => m.ram.write32(TSS + 8, SEL.userData & ~3), '10(38)', '10(39)'],
    ['SS0 read-only', legacy, 3, () => m.ram.write32(TSS + 8, SEL.readOnly), '10(50)', '10(51)'],
    ['SS0 code', legacy, 3, () => m.ram.write32(TSS + 8, SEL.code32), '10(18)', '10(19)'],
    ['SS0 absent', legacy, 3, () => m.ram.write32(TSS + 8, SEL.absentData), '12(58)', '12(59)'],
    [
      'no room on the inner stack',
      legacy,
      3,
      () => {
        m.setGdt(SEL.expandDown, descriptor(0x97 | Attr.DB, 0, 0xffff))
        m.ram.write32(TSS + 4, 0x10000)
        m.ram.write32(TSS + 8, SEL.expandDown)
      },
      '12(98)',
      '12(99)',
    ],
  ]
  for (const [name, modes, cpl, setup, soft, hard] of cases)
    for (const mode of modes.filter((each) => cpl === 0 || each !== '16'))
      test(`${name}, ${mode} at CPL ${cpl}`, () => {
        m.enter(mode, cpl)
        m.setIdt(0x40, gate(0xe, 3, m.long ? SEL.code64 : SEL.code32, HANDLER + 0x400))
        setup()
        expect(m.attempt(() => m.run.softInterrupt(p, 0x40, 0x5002n))).toBe(soft)
        if (name.startsWith('beyond the IDT')) return
        // INT1 has EXT set as events from outside have: the same gate at vector 1.
        const [low, high] = [m.ram.read64(IDT + 0x40 * (m.long ? 16 : 8)), m.ram.read64(IDT + 0x40 * 16 + 8)]
        m.setIdt(1, low, high)
        expect(m.attempt(() => m.run.int1(p, 0x5001n))).toBe(hard.replace('203', 'b'))
      })

  test.each(['64', 'compat', '32'] as const)('INT n through a gate above CPL, %s: n * 8 + 2', (mode) => {
    m.enter(mode, 3)
    expect(m.run.softInterrupt(p, 0x41, 0x5002n)).toBe(1)
    expect(m.exception()).toBe('13(20a)')
    expect(m.run.softInterrupt(p, 0x80, 0x5002n)).toBe(0)
    expect(m.stack(m.long ? 8 : 4, 1)).toEqual([0x5002n])
  })

  test('INT1 does not ask for the gate DPL', () => {
    m.enter('64', 3)
    expect(m.run.int1(p, 0x5001n)).toBe(0)
    expect(m.stack(8, 3)).toEqual([0x5001n, 0x43n, 0x202n])
  })
})

describe('faults during delivery', () => {
  const absent = (vector: number): void => m.setIdt(vector, 0n)
  // The first exception; what is delivered at last, with its error code.
  test.each([
    [6, 13, 0x33], // benign, then contributory: the second
    [0, 8, 0],
    [10, 8, 0],
    [13, 8, 0],
    [14, 8, 0],
    [0x30, 13, 0x183],
  ])('vector %i, then #GP: %i', (first, then, error) => {
    m.enter('64')
    absent(first)
    if (first === 0x30) m.run.deliverInterrupt(p, first)
    else deliver(first, first >= 10 ? 0 : undefined)
    expect(m.get('RIP')).toBe(at(then))
    expect(m.stack(8, 2)).toEqual([BigInt(error), 0x5000n])
    expect(m.get32('EXC')).toBe(0xffffffff)
  })

  test('contributory, then page fault: the page fault; page fault twice: double fault', () => {
    // The handler's code descriptor of vector 13 and 14 lies in an LDT that is not mapped.
    const setup = (vectors: number[]): void => {
      m.enter('64')
      m.set('LDTR_BASE', 0x40000000)
      m.set32('SEG_ATTR', 0x82, 6)
      m.set32('SEG_LIMIT', 0xff, 6)
      for (const vector of vectors) m.setIdt(vector, gate(0xe, 0, 0x0c, HANDLER))
    }
    setup([13])
    deliver(13, 0)
    expect([m.get('RIP'), m.get('CR2')]).toEqual([at(14), 0x40000008n])
    expect(m.stack(8, 2)).toEqual([0n, 0x5000n])
    setup([13, 14])
    deliver(14, 0)
    expect(m.get('RIP')).toBe(at(8))
    expect(m.stack(8, 3)).toEqual([0n, 0x5000n, 8n])
    // benign: first the page fault, then the double fault
    setup([6, 14])
    deliver(6)
    expect(m.get('RIP')).toBe(at(8))
  })

  test('a stack that cannot be pushed to: double fault on its own stack', () => {
    m.enter('64')
    m.set('RSP', 0x40001000)
    m.setIdt(8, gate(0xe, 0, SEL.code64, HANDLER + 0x80, 1))
    deliver(14, 2)
    expect([m.get('RIP'), m.get('RSP'), m.get('CR2')]).toEqual([at(8), BigInt(IST1 - 8 - 48), 0x40000ff8n])
    expect(m.stack(8, 6)).toEqual([0n, 0x5000n, 8n, 0x202n, 0x40001000n, 0x10n])
  })

  test('a fault while a double fault is delivered shuts down', () => {
    m.enter('64')
    absent(13)
    absent(8)
    deliver(13, 0)
    expect([m.get32('EXIT'), m.get32('LEAVE') & Leave.HOST, m.get32('EXC')]).toEqual([
      Exit.SHUTDOWN,
      Leave.HOST,
      0xffffffff,
    ])
    expect(m.get('RIP')).toBe(0x5000n)
  })

  test('a failed push leaves the privilege level and the TLB bank', () => {
    m.enter('64', 3)
    m.ram.write64(TSS + 4, 0x40001000n)
    const before = m.snapshot()
    expect(m.run.softInterrupt(p, 0x80, 0x5002n)).toBe(1)
    expect(m.exception()).toBe('14(2)')
    expect(m.snapshot()).toBe(before)
  })
})

describe('who pushes', () => {
  test('with SMAP a supervisor stack in a user page faults, unless AC is set', () => {
    for (const ac of [false, true]) {
      m.enter('64', 3)
      m.run.movToCr(p, 4, 0n) // at CPL 3: refused
      expect(m.exception()).toBe('13(0)')
      m.set('CR4', 0x200020n)
      m.run.refreshState(p)
      // Descriptor tables lie in a supervisor page.
      m.ram.write64(0x3000, 0xe3n)
      m.ram.write64(TSS + 4, 0x210000n)
      m.set32('SYSFLAGS', ac ? 0x40202 : 0x202)
      m.run.flushAll(p)
      expect(m.run.softInterrupt(p, 0x80, 0x5002n)).toBe(ac ? 0 : 1)
      expect(m.exception()).toBe(ac ? '' : '14(3)')
    }
  })
})

test('interrupt shadows end with a delivery', () => {
  m.enter('64')
  m.set32('SHADOW', 2)
  deliver(6)
  expect(m.get32('SHADOW')).toBe(0)
})

/** IRET and far RET in every mode: frames, levels, flags, null segments and every error code (SDM Vol. 2). */
import { beforeAll, describe, expect, test } from 'vitest'
import { Attr, Leave, Mode } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { descriptor, Machine, SEL, STACK0, STACK3, TSS } from '../testing/machine.ts'
import type { ModeName } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const FRAME = STACK0 - 0x100

/** A frame of words of `size` bytes on the stack. */
function frame(size: number, ...words: (number | bigint)[]): void {
  const sp = Number(m.get('RSP') & 0xffffffffn) - 0x100
  m.writeWords(sp, size, ...words)
  m.set('RSP', sp)
}

describe('IRET', () => {
  test('real mode, 16 and 32 bits', () => {
    m.enter('real')
    m.writeWords(0x37000, 2, 0x1234, 0x4000, 0xffff)
    m.set('RSP', 0x55557000)
    expect(m.run.iret(p, 2)).toBe(0)
    expect([m.get('RIP'), m.selector(1), m.base(1), m.get('RSP')]).toEqual([0x1234n, 0x4000, 0x40000n, 0x55557006n])
    expect(m.run.readEflags(p)).toBe(0x7fd7)
    m.writeWords(0x37000, 4, 0x1234, 0x14000, 0xffffffff)
    m.set('RSP', 0x7000)
    m.run.iret(p, 4)
    expect([m.selector(1), m.get('RSP'), m.run.readEflags(p)]).toEqual([0x4000, 0x700cn, 0x247fd7])
    m.writeWords(0x37000, 4, 0x10000, 0x4000, 2)
    m.set('RSP', 0x7000)
    const before = m.snapshot()
    expect([m.run.iret(p, 4), m.exception()]).toEqual([1, '13(0)'])
    expect(m.snapshot()).toBe(before)
  })

  test.each([2, 4] as const)('32-bit, same level, %i bytes', (size) => {
    m.enter('32')
    frame(size, 0x6000, SEL.code32, 0x47d7)
    expect(m.run.iret(p, size)).toBe(0)
    expect([m.get('RIP'), m.selector(1), m.get('RSP')]).toEqual([0x6000n, SEL.code32, BigInt(FRAME + size * 3)])
    expect(m.run.readEflags(p)).toBe(0x47d7)
  })

  test('32-bit, to CPL 3', () => {
    m.enter('32')
    m.run.loadSegment(p, 4, SEL.conforming)
    m.run.loadSegment(p, 5, SEL.userData)
    frame(4, 0x6000, SEL.user32, 0x202, STACK3, SEL.userData)
    expect(m.run.iret(p, 4)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL')]).toEqual([0x6000n, BigInt(STACK3), 3])
    expect([0, 1, 2, 3, 4, 5].map((i) => m.selector(i))).toEqual([
      0,
      SEL.user32,
      SEL.userData,
      0,
      SEL.conforming,
      SEL.userData,
    ])
    expect(m.attr(3) & Attr.NULL).toBe(Attr.NULL)
    expect(m.get32('MODE')).toBe(Mode.D | Mode.B)
    expect(m.get32('LEAVE') & Leave.CODE).toBe(Leave.CODE)
  })

  test('to a 16-bit stack only SP changes', () => {
    m.enter('32')
    m.setGdt(SEL.free, descriptor(0xf3, 0, 0xffff))
    frame(4, 0x6000, SEL.user32, 0x202, 0x12345678, SEL.free | 3)
    m.run.iret(p, 4)
    expect(m.get('RSP')).toBe((BigInt(FRAME) & 0xffff0000n) | 0x5678n)
  })

  test('64-bit: SS:RSP also at the same level, 4-byte words with IRETD', () => {
    m.enter('64')
    frame(8, 0x6000, SEL.code64, 0x202, 0x12345, 0)
    expect(m.run.iret(p, 8)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.selector(2)]).toEqual([0x6000n, 0x12345n, 0])
    m.enter('64')
    frame(4, 0x6000, SEL.code64, 0x202, 0xfffffff0, SEL.data0)
    expect(m.run.iret(p, 4)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.selector(2)]).toEqual([0x6000n, 0xfffffff0n, SEL.data0])
  })

  test('64-bit to CPL 3, 64-bit and compatibility mode; hidden bases come back', () => {
    m.enter('64')
    m.setGdt(SEL.free, descriptor(0xf3 | Attr.DB | Attr.G, 0x120000))
    m.run.loadSegment(p, 3, SEL.free | 3)
    expect(m.base(3)).toBe(0n)
    frame(8, 0x7fff_ffff_fff0n, SEL.user64, 0x246, 0x7fff_ffff_0000n, SEL.userData)
    expect(m.run.iret(p, 8)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL'), m.get32('MODE')]).toEqual([
      0x7fff_ffff_fff0n,
      0x7fff_ffff_0000n,
      3,
      13,
    ])
    expect(m.run.readEflags(p)).toBe(0x246)

    m.enter('64')
    m.setGdt(SEL.free, descriptor(0xf3 | Attr.DB | Attr.G, 0x120000))
    m.run.loadSegment(p, 3, SEL.free | 3)
    frame(8, 0x6000, SEL.user32, 0x202, STACK3, SEL.userData)
    m.run.iret(p, 8)
    expect([m.get32('MODE'), m.base(3)]).toEqual([Mode.D | Mode.B, 0x120000n])
  })

  test('NT: #GP(0) in long mode, #GP(link) elsewhere', () => {
    m.enter('64')
    m.set32('SYSFLAGS', 0x4002)
    expect([m.run.iret(p, 8), m.exception()]).toEqual([1, '13(0)'])
    m.enter('32')
    m.set32('SYSFLAGS', 0x4002)
    m.ram.write32(TSS, 0x71)
    expect([m.run.iret(p, 4), m.exception()]).toEqual([1, '13(70)'])
  })

  test('VM: #GP(0) at CPL 0, no meaning in long mode and at other levels', () => {
    m.enter('32')
    frame(4, 0x6000, SEL.code32, 0x20202)
    expect([m.run.iret(p, 4), m.exception()]).toEqual([1, '13(0)'])
    m.enter('32', 3)
    frame(4, 0x6000, SEL.user32, 0x20202)
    expect(m.run.iret(p, 4)).toBe(0)
    expect(m.run.readEflags(p)).toBe(0x202)
    m.enter('64')
    frame(8, 0x6000, SEL.code64, 0x20202, STACK0, 0)
    expect(m.run.iret(p, 8)).toBe(0)
    expect(m.run.readEflags(p)).toBe(0x202)
  })

  test.each([
    [0, 0, 0x243fd7],
    [0, 3, 0x243fd7],
    [3, 0, 0x240dd7],
    [3, 1, 0x241dd7],
    [3, 3, 0x243fd7],
  ])('flags at CPL %i, IOPL %i', (cpl, iopl, expected) => {
    m.enter('64', cpl)
    m.set32('SYSFLAGS', 2 | (iopl << 12))
    frame(8, 0x6000, cpl === 3 ? SEL.user64 : SEL.code64, 0x1ffbfffn | 0x200000n, STACK3, cpl === 3 ? SEL.userData : 0)
    expect(m.run.iret(p, 8)).toBe(0)
    // NT was in the image only where it may be seen.
    expect(m.run.readEflags(p)).toBe(expected)
  })

  test('NMIs are unblocked even by an IRET that faults', () => {
    m.enter('64')
    m.set32('NMI_BLOCKED', 1)
    m.set32('NMI_PENDING', 1)
    frame(8, 0x6000, 0, 0x202, STACK0, 0)
    expect(m.run.iret(p, 8)).toBe(1)
    m.exception()
    expect([m.get32('NMI_BLOCKED'), m.get32('LEAVE') & Leave.EVENT]).toEqual([0, Leave.EVENT])
  })

  test('the stack is read with the level of the code: at CPL 3 in a user page with SMAP on', () => {
    m.enter('64', 3)
    m.set('CR4', 0x200020n)
    m.ram.write64(0x3008, 0x2000e7n)
    m.ram.write64(0x3000, 0xe7n)
    m.run.refreshState(p)
    frame(8, 0x6000, SEL.user64, 0x202, STACK3, SEL.userData)
    m.ram.write64(0x3000, 0xe7n)
    // Descriptor tables would have to be in a supervisor page: only the read of the stack is of interest.
    expect(m.run.iret(p, 8)).toBe(1)
    expect([m.exception(), m.get('CR2')]).toEqual(['14(1)', BigInt(0x8000 + (SEL.user64 & ~7))])
  })
})

describe('far RET', () => {
  test('real mode with parameters', () => {
    m.enter('real')
    m.writeWords(0x37000, 2, 0x1234, 0x4000)
    m.set('RSP', 0x7000)
    expect(m.run.farReturn(p, 2, 6)).toBe(0)
    expect([m.get('RIP'), m.selector(1), m.get('RSP')]).toEqual([0x1234n, 0x4000, 0x700an])
  })

  test('same level', () => {
    for (const [mode, size, selector] of [
      ['32', 2, SEL.code32],
      ['32', 4, SEL.code32],
      ['64', 8, SEL.code32],
      ['64', 4, SEL.code64],
    ] as const) {
      m.enter(mode)
      frame(size, 0x6000, selector)
      expect(m.run.farReturn(p, size, 16)).toBe(0)
      expect([m.get('RIP'), m.selector(1), m.get('RSP')]).toEqual([0x6000n, selector, BigInt(FRAME + size * 2 + 16)])
    }
  })

  test('to an outer level: parameters go from both stacks', () => {
    m.enter('32')
    frame(4, 0x6000, SEL.user32, 1, 2, STACK3, SEL.userData)
    expect(m.run.farReturn(p, 4, 8)).toBe(0)
    expect([m.get('RIP'), m.get('RSP'), m.get32('CPL'), m.selector(2), m.selector(3)]).toEqual([
      0x6000n,
      BigInt(STACK3 + 8),
      3,
      SEL.userData,
      0,
    ])
    m.enter('64')
    frame(8, 0x6000, SEL.user64, STACK3, SEL.userData)
    expect(m.run.farReturn(p, 8, 0)).toBe(0)
    expect([m.get('RSP'), m.get32('CPL'), m.get32('MODE')]).toEqual([BigInt(STACK3), 3, 13])
  })
})

describe('error codes', () => {
  const both: ModeName[] = ['32', '64']
  // name, modes, CPL, CS, SS, exception of IRET, of far RET if it differs
  const cases: [string, ModeName[], number, number, number, string, string?][] = [
    ['null CS', both, 0, 3, SEL.userData, '13(0)'],
    ['CS beyond the GDT', both, 0, 0x103, SEL.userData, '13(100)'],
    ['CS in no LDT', both, 0, 0x0f, SEL.userData, '13(c)'],
    ['data in CS', both, 0, SEL.data0, SEL.data0, '13(10)'],
    ['TSS in CS', both, 0, SEL.tss, SEL.data0, '13(68)'],
    ['an inner level', both, 3, SEL.code32, SEL.userData, '13(18)'],
    ['DPL is not RPL', both, 0, SEL.code32 | 3, SEL.userData, '13(18)'],
    ['conforming code of a level above RPL', both, 0, SEL.free | 1, SEL.level1Data, '13(c8)'],
    ['absent CS', both, 0, SEL.absentCode, SEL.data0, '11(60)'],
    ['L and D', ['64'], 0, SEL.code64d, SEL.data0, '13(c0)'],
    ['null SS to 32-bit code', both, 0, SEL.user32, 0, '13(0)'],
    ['null SS to 64-bit code of CPL 3', ['64'], 0, SEL.user64, 3, '13(0)'],
    ['null SS of another RPL', ['64'], 0, SEL.level1, 2, '13(0)'],
    ['SS beyond the GDT', both, 0, SEL.level1, 0x101, '13(100)'],
    ['SS of another RPL', both, 0, SEL.user32, SEL.userData & ~1, '13(38)'],
    ['SS of another DPL', both, 0, SEL.user32, SEL.data0 | 3, '13(10)'],
    ['read-only SS', both, 0, SEL.user32, SEL.readOnly | 3, '13(50)'],
    ['code in SS', both, 0, SEL.user32, SEL.user32, '13(30)'],
    ['absent SS', both, 0, SEL.user32, (SEL.free + 8) | 3, '12(d0)'],
  ]
  for (const [name, modes, cpl, cs, ss, exception] of cases)
    for (const mode of modes)
      test(`${name}, ${mode}`, () => {
        for (const withFlags of [true, false]) {
          m.enter(mode, cpl)
          m.setGdt(SEL.free, descriptor(0x9f | 0x60 | (mode === '64' ? Attr.L : Attr.DB)))
          m.setGdt(SEL.free + 8, descriptor(0x73 | Attr.DB))
          const size = mode === '64' ? 8 : 4
          frame(size, ...(withFlags ? [0x6000, cs, 0x202, STACK3, ss] : [0x6000, cs, STACK3, ss]))
          const before = m.snapshot()
          expect(withFlags ? m.run.iret(p, size) : m.run.farReturn(p, size, 0)).toBe(1)
          expect(m.exception()).toBe(exception)
          expect(m.snapshot()).toBe(before)
        }
      })

  test('RIP beyond the limit or not canonical', () => {
    m.enter('32')
    m.setGdt(SEL.free, descriptor(0x9b | Attr.DB, 0, 0xfff))
    frame(4, 0x1000, SEL.free, 0x202)
    expect([m.run.iret(p, 4), m.exception()]).toEqual([1, '13(0)'])
    expect([m.run.farReturn(p, 4, 0), m.exception()]).toEqual([1, '13(0)'])
    m.enter('64')
    frame(8, 0x8000_0000_0000n, SEL.user64, 0x202, STACK3, SEL.userData)
    expect([m.run.iret(p, 8), m.exception()]).toEqual([1, '13(0)'])
  })

  test('to compatibility mode only the lower half of RIP counts', () => {
    m.enter('64')
    frame(8, 0x1_0000_6000n, SEL.user32, 0x202, STACK3, SEL.userData)
    expect([m.run.iret(p, 8), m.get('RIP')]).toEqual([0, 0x6000n])
  })

  test('a stack that ends: #SS(0)', () => {
    m.enter('32')
    m.setGdt(SEL.free, descriptor(0x93 | Attr.DB, 0, 0x10007))
    m.run.loadSegment(p, 2, SEL.free)
    m.set('RSP', 0x10000)
    m.writeWords(0x10000, 4, 0x6000, SEL.code32, 0x202)
    expect([m.run.iret(p, 4), m.exception()]).toEqual([1, '12(0)'])
    expect(m.run.farReturn(p, 4, 0)).toBe(0)
    m.enter('64')
    m.set('RSP', 0x7fff_ffff_fff8n)
    expect([m.run.iret(p, 8), m.exception()]).toEqual([1, '14(0)'])
    m.set('RSP', 0x8000_0000_0000n)
    expect([m.run.iret(p, 8), m.exception()]).toEqual([1, '12(0)'])
  })
})

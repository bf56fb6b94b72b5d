/** Segment registers, LDTR and TR, and the instructions that ask about descriptors (SDM Vol. 2; Vol. 3A 5). */
import { beforeAll, describe, expect, test } from 'vitest'
import { Attr, Mode, S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { descriptor, gate, GDT, LDT, Machine, SEL, TSS } from '../testing/machine.ts'
import type { ModeName } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const [ES, SS, DS, FS, GS] = [0, 2, 3, 4, 5]
const both: ModeName[] = ['32', '64']

describe('loads', () => {
  test('real mode: base only; limits from protected mode stay', () => {
    m.enter('real')
    expect(m.run.loadSegment(p, DS, 0x1234)).toBe(0)
    expect([m.selector(DS), m.base(DS), m.get32('SEG_LIMIT', DS)]).toEqual([0x1234, 0x12340n, 0xffff])
    m.set32('SEG_LIMIT', 0xffffffff, DS)
    m.run.loadSegment(p, DS, 0)
    expect([m.base(DS), m.get32('SEG_LIMIT', DS)]).toEqual([0n, 0xffffffff])
    m.set32('SEG_ATTR', Attr.NULL, DS)
    m.run.loadSegment(p, DS, 0x10)
    expect([m.attr(DS), m.get32('SEG_LIMIT', DS)]).toEqual([0x93, 0xffff])
  })

  test('base, limit, attributes and the accessed bit', () => {
    m.enter('32')
    m.setGdt(SEL.free, descriptor(0x92 | Attr.DB | Attr.AVL, 0x12345678, 0xabcde))
    expect(m.run.loadSegment(p, DS, SEL.free | 3)).toBe(1) // RPL 3 for DPL 0
    expect(m.exception()).toBe('13(c8)')
    expect(m.run.loadSegment(p, DS, SEL.free)).toBe(0)
    expect([m.selector(DS), m.base(DS), m.get32('SEG_LIMIT', DS), m.attr(DS)]).toEqual([
      SEL.free,
      0x12345678n,
      0xabcde,
      0x93 | Attr.DB | Attr.AVL,
    ])
    expect(m.ram.read32(GDT + SEL.free + 4) & 0xff00).toBe(0x9300)
    expect(m.get32('MODE')).toBe(Mode.D | Mode.B)
    m.setGdt(SEL.free, descriptor(0x93 | Attr.G, 0, 0x12345))
    m.run.loadSegment(p, GS, SEL.free)
    expect(m.get32('SEG_LIMIT', GS)).toBe(0x12345fff)
  })

  test('from the LDT', () => {
    m.enter('32')
    m.ram.write64(LDT + 8, descriptor(0xf3 | Attr.DB, 0x1000, 0xff))
    expect([m.run.loadSegment(p, FS, 0x0f), m.exception()]).toEqual([1, '13(c)'])
    expect(m.run.lldt(p, SEL.ldt)).toBe(0)
    expect(m.run.loadSegment(p, FS, 0x0f)).toBe(0)
    expect([m.base(FS), m.get32('SEG_LIMIT', FS)]).toEqual([0x1000n, 0xff])
    expect([m.run.loadSegment(p, FS, 0x107), m.exception()]).toEqual([1, '13(104)'])
  })

  test('64-bit mode: ES, SS, DS have base 0, FS and GS 32 bits; null clears', () => {
    m.enter('64')
    m.setGdt(SEL.free, descriptor(0x93 | Attr.DB, 0xf2345678, 0xff))
    for (const seg of [ES, SS, DS, FS, GS]) expect(m.run.loadSegment(p, seg, SEL.free)).toBe(0)
    expect([ES, SS, DS, FS, GS].map((seg) => m.base(seg))).toEqual([0n, 0n, 0n, 0xf2345678n, 0xf2345678n])
    expect(m.get32('MODE')).toBe(13)
    expect(m.run.loadSegment(p, GS, 3)).toBe(0)
    expect([m.selector(GS), m.base(GS), m.attr(GS) & Attr.NULL]).toEqual([3, 0n, Attr.NULL])
  })

  test('a load of SS shadows the next instruction, LSS does not', () => {
    m.enter('32')
    m.run.loadSegmentFar(p, SS, SEL.data0)
    m.run.loadSegment(p, DS, SEL.data0)
    expect(m.get32('SHADOW')).toBe(0)
    m.run.loadSegment(p, SS, SEL.data0)
    expect(m.get32('SHADOW')).toBe(2)
  })

  test('FLAT: base 0, 4 GiB, expand-up, writable, in all four', () => {
    m.enter('32')
    const flat = (attr: number, base = 0, limit = 0xfffff): boolean => {
      m.setGdt(SEL.free, descriptor(attr, base, limit))
      expect(m.run.loadSegment(p, DS, SEL.free)).toBe(0)
      return (m.get32('MODE') & Mode.FLAT) !== 0
    }
    const good = 0x93 | Attr.DB | Attr.G
    expect(flat(good)).toBe(true)
    expect(flat(good, 1)).toBe(false)
    expect(flat(good, 0, 0xffffe)).toBe(false)
    expect(flat(0x91 | Attr.DB | Attr.G)).toBe(false)
    expect(flat(0x97 | Attr.DB | Attr.G)).toBe(false)
    expect(flat(0x9b | Attr.DB | Attr.G)).toBe(false)
    m.run.loadSegment(p, DS, SEL.data0)
    expect(m.get32('MODE')).toBe(Mode.D | Mode.B | Mode.FLAT)
    m.run.loadSegment(p, DS, 0)
    expect(m.get32('MODE')).toBe(Mode.D | Mode.B)
  })
})

describe('error codes of loads', () => {
  // name, modes, CPL, register, selector, exception
  const cases: [string, ModeName[], number, number, number, string][] = [
    ['null SS', ['32', 'compat'], 0, SS, 0, '13(0)'],
    ['null SS at CPL 3', both, 3, SS, 3, '13(0)'],
    ['null SS of another RPL', ['64'], 0, SS, 3, '13(0)'],
    ['beyond the GDT', both, 0, DS, 0x103, '13(100)'],
    ['SS beyond the GDT', both, 0, SS, 0x100, '13(100)'],
    ['no LDT', both, 0, DS, 4, '13(4)'],
    ['SS of another RPL', both, 0, SS, SEL.data0 | 1, '13(10)'],
    ['SS of another DPL', both, 3, SS, SEL.data0 | 3, '13(10)'],
    ['read-only SS', both, 0, SS, SEL.readOnly, '13(50)'],
    ['code in SS', both, 0, SS, SEL.code32, '13(18)'],
    ['TSS in SS', both, 0, SS, SEL.tss, '13(68)'],
    ['absent SS', both, 0, SS, SEL.absentData, '12(58)'],
    ['execute-only code', both, 0, ES, SEL.executeOnly, '13(90)'],
    ['LDT', both, 0, ES, SEL.ldt, '13(78)'],
    ['data of an inner level', both, 3, FS, SEL.data0, '13(10)'],
    ['data with an RPL above its DPL', both, 0, FS, SEL.level1Data | 3, '13(b8)'],
    ['code of an inner level', both, 3, GS, SEL.code32, '13(18)'],
    ['absent data', both, 0, GS, SEL.absentData, '11(58)'],
  ]
  for (const [name, modes, cpl, register, selector, exception] of cases)
    for (const mode of modes)
      test(`${name}, ${mode}`, () => {
        m.enter(mode, cpl)
        const before = m.snapshot()
        expect(m.run.loadSegment(p, register, selector)).toBe(1)
        expect(m.exception()).toBe(exception)
        expect(m.snapshot()).toBe(before)
      })

  test.each([
    ['64', 0, SS, 0],
    ['64', 0, DS, SEL.conforming],
    ['64', 3, DS, SEL.conforming | 3],
    ['32', 3, FS, SEL.conforming],
    ['32', 0, ES, SEL.code32],
    ['32', 3, FS, 3],
    ['32', 3, GS, SEL.userData & ~3],
    ['64', 0, ES, SEL.readOnly],
  ] as [ModeName, number, number, number][])(
    'allowed: %s CPL %i register %i selector %i',
    (mode, cpl, register, selector) => {
      m.enter(mode, cpl)
      expect(m.run.loadSegment(p, register, selector)).toBe(0)
      expect(m.selector(register)).toBe(selector)
    },
  )
})

describe('LLDT and LTR', () => {
  test('what they load', () => {
    m.enter('64')
    m.setGdt(SEL.ldt + 8, 0xffff_8000n)
    expect(m.run.lldt(p, SEL.ldt | 3)).toBe(0)
    expect([m.get('LDTR_BASE'), m.selector(6), m.get32('SEG_LIMIT', 6), m.attr(6)]).toEqual([
      0xffff_8000_0000_0000n + BigInt(LDT),
      SEL.ldt | 3,
      0xff,
      0x82,
    ])
    expect(m.run.lldt(p, 3)).toBe(0)
    expect([m.selector(6), m.attr(6)]).toEqual([3, Attr.NULL])
    m.setGdt(SEL.gate, descriptor(0x89, TSS, 0x67))
    m.setGdt(SEL.gate + 8, 0n)
    expect(m.run.ltr(p, SEL.gate)).toBe(0)
    expect([m.get('TR_BASE'), m.selector(7), m.attr(7)]).toEqual([BigInt(TSS), SEL.gate, 0x8b])
    expect(m.ram.read32(GDT + SEL.gate + 4) & 0xff00).toBe(0x8b00)
    expect([m.run.ltr(p, SEL.gate), m.exception()]).toEqual([1, '13(a0)']) // busy
  })

  test('errors', () => {
    for (const mode of both) {
      m.enter(mode)
      const fails = (name: 'lldt' | 'ltr', selector: number): string => m.attempt(() => m.run[name](p, selector))
      expect(fails('ltr', 0)).toBe('13(0)')
      expect(fails('ltr', 3)).toBe('13(0)')
      expect(fails('ltr', 0x0c)).toBe('13(c)')
      expect(fails('lldt', 0x0c)).toBe('13(c)')
      expect(fails('lldt', 0x100)).toBe('13(100)')
      expect(fails('lldt', SEL.tss)).toBe('13(68)')
      expect(fails('ltr', SEL.ldt)).toBe('13(78)')
      expect(fails('lldt', SEL.data0)).toBe('13(10)')
      m.setGdt(SEL.ldt, descriptor(2, LDT, 0xff))
      expect(fails('lldt', SEL.ldt)).toBe('11(78)')
      m.setGdt(SEL.gate, descriptor(9, TSS, 0x67))
      m.setGdt(SEL.gate + 8, 0n)
      expect(fails('ltr', SEL.gate)).toBe('11(a0)')
      m.setGdt(SEL.gate, descriptor(0x81, TSS, 0x67))
      expect(fails('ltr', SEL.gate)).toBe(mode === '64' ? '13(a0)' : '') // a 16-bit TSS
    }
    m.enter('64')
    m.setGdt(SEL.ldt + 8, 0x8000n)
    expect([m.run.lldt(p, SEL.ldt), m.exception()]).toEqual([1, '13(78)'])
    m.setGdt(SEL.ldt + 8, 1n << 40n)
    expect([m.run.lldt(p, SEL.ldt), m.exception()]).toEqual([1, '13(78)'])
    m.enter('64', 3)
    expect([m.run.lldt(p, SEL.ldt), m.exception()]).toEqual([1, '13(0)'])
    expect([m.run.ltr(p, SEL.tss), m.exception()]).toEqual([1, '13(0)'])
    m.enter('real')
    expect([m.run.lldt(p, 0), m.exception()]).toEqual([1, '6'])
    expect([m.run.ltr(p, 0), m.exception()]).toEqual([1, '6'])
  })
})

describe('LAR LSL VERR VERW', () => {
  const ask = (selector: number): (number | bigint | string)[] => {
    const result: (number | bigint | string)[] = []
    for (const name of ['lar', 'lsl'] as const) {
      m.run.setFlags(p, 0x895)
      m.set('RAX', 0x1122334455667788n)
      expect(m.run[name](p, selector, S.RAX, 4)).toBe(0)
      expect(m.run.getFlags(p) & ~0x40).toBe(0x895)
      result.push(m.run.getFlags(p) & 0x40 ? m.get('RAX') : '-')
    }
    for (const name of ['verr', 'verw'] as const) {
      expect(m.run[name](p, selector)).toBe(0)
      result.push(m.run.getFlags(p) & 0x40 ? 'yes' : 'no')
    }
    return result
  }
  const no = ['-', '-', 'no', 'no']

  test('what each kind of descriptor answers', () => {
    m.enter('32')
    expect(ask(SEL.data0)).toEqual([0xcf9300n, 0xffffffffn, 'yes', 'yes'])
    expect(ask(SEL.readOnly)).toEqual([0x4f9100n, 0xfffffn, 'yes', 'no'])
    expect(ask(SEL.code32)).toEqual([0xcf9b00n, 0xffffffffn, 'yes', 'no'])
    expect(ask(SEL.executeOnly)).toEqual([0x4f9900n, 0xfffffn, 'no', 'no'])
    expect(ask(SEL.absentData)).toEqual([0xcf1300n, 0xffffffffn, 'yes', 'yes'])
    expect(ask(SEL.tss)).toEqual([0x8b00n, 0x67n, 'no', 'no'])
    expect(ask(SEL.ldt)).toEqual([0x8200n, 0xffn, 'no', 'no'])
    expect(ask(0)).toEqual(no)
    expect(ask(0x100)).toEqual(no)
    expect(ask(0x0c)).toEqual(no)
    expect(ask(SEL.data0 | 3)).toEqual(no)
    m.enter('32', 3)
    expect(ask(SEL.data0)).toEqual(no)
    expect(ask(SEL.conforming)).toEqual([0xcf9f00n, 0xffffffffn, 'yes', 'no'])
    expect(ask(SEL.userData)).toEqual([0xcff300n, 0xffffffffn, 'yes', 'yes'])
  })

  test.each([
    ['32', [1, 2, 3, 4, 5, 9, 11, 12], [1, 2, 3, 9, 11]],
    ['64', [2, 9, 11, 12], [2, 9, 11]],
  ] as [ModeName, number[], number[]][])('system types, %s', (mode, larTypes, lslTypes) => {
    m.enter(mode)
    const seen: [number[], number[]] = [[], []]
    for (let type = 0; type < 16; type++) {
      m.setGdt(SEL.free, gate(type, 0, 0, 0))
      const [lar, lsl] = ask(SEL.free)
      if (lar !== '-') seen[0].push(type)
      if (lsl !== '-') seen[1].push(type)
    }
    expect(seen).toEqual([larTypes, lslTypes])
  })

  test('16-bit results leave the rest of the register; real mode has none of them', () => {
    m.enter('32')
    m.set('RAX', 0x1122334455667788n)
    m.run.lar(p, SEL.data0, S.RAX, 2)
    expect(m.get('RAX')).toBe(0x1122334455669300n)
    m.enter('real')
    for (const name of ['lar', 'lsl'] as const) expect([m.run[name](p, 8, S.RAX, 4), m.exception()]).toEqual([1, '6'])
    for (const name of ['verr', 'verw'] as const) expect([m.run[name](p, 8), m.exception()]).toEqual([1, '6'])
  })
})

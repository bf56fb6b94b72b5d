/** Control and debug registers, descriptor table registers, XCR0: what may be written and what follows from it. */
import { beforeAll, describe, expect, test } from 'vitest'
import { Mode, S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine, SEL } from '../testing/machine.ts'
import type { ModeName } from '../testing/machine.ts'

const PE = 1n
const MP = 2n
const EM = 4n
const TS = 8n
const NE = 0x20n
const WP = 1n << 16n
const AM = 1n << 18n
const NW = 1n << 29n
const CD = 1n << 30n
const PG = 1n << 31n
const PAE = 0x20n
const OSFXSR = 0x200n
const UMIP = 0x800n
const PCIDE = 1n << 17n
const OSXSAVE = 1n << 18n
const LMA = 0x400n
const ON = PG | WP | NE | 0x10n | PE

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

describe('MOV to CR0', () => {
  test('reserved bits: low ones are ignored, ET is 1, high ones fault', () => {
    m.enter('32')
    expect(m.run.movToCr(p, 0, 0xffffffffn & ~(EM | TS))).toBe(0)
    expect(m.get('CR0')).toBe(PG | CD | NW | AM | WP | NE | 0x10n | MP | PE)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON | (1n << 32n)))).toBe('13(0)')
  })

  test('combinations that do not exist', () => {
    m.enter('32')
    expect(m.attempt(() => m.run.movToCr(p, 0, ON & ~PE))).toBe('13(0)')
    expect(m.attempt(() => m.run.movToCr(p, 0, ON | NW))).toBe('13(0)')
    m.enter('64')
    expect(m.attempt(() => m.run.movToCr(p, 0, ON & ~PG))).toBe('13(0)') // from 64-bit code
    m.enter('compat')
    m.run.movToCr(p, 3, 0x1000n)
    expect(m.run.movToCr(p, 4, PAE | PCIDE)).toBe(0)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON & ~PG))).toBe('13(0)') // with PCIDE
    m.run.movToCr(p, 4, PAE)
    expect(m.run.movToCr(p, 0, ON & ~PG)).toBe(0)
    expect(m.get('EFER') & LMA).toBe(0n)
  })

  test('long mode starts with LME, PAE and PG, in compatibility mode', () => {
    m.enter('compat')
    m.run.movToCr(p, 0, ON & ~PG)
    expect(m.run.movToCr(p, 0, ON)).toBe(0)
    expect(m.get('EFER') & LMA).toBe(LMA)
    expect(m.run.farJump(p, SEL.code64, 0x6000n, 4)).toBe(0)
    expect(m.get32('MODE')).toBe(13)

    m.enter('compat')
    m.run.movToCr(p, 0, ON & ~PG)
    m.run.movToCr(p, 4, 0n)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON))).toBe('13(0)') // no PAE
    m.run.movToCr(p, 4, PAE)
    m.set32('SEG_ATTR', 0x83, 7)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON))).toBe('13(0)') // a 16-bit TSS
    m.set32('SEG_ATTR', 0x8b, 7)
    m.run.farJump(p, SEL.code64, 0x6000n, 4) // L means nothing yet
    expect(m.get32('MODE') & Mode.LONG).toBe(0)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON))).toBe('13(0)') // CS.L
  })

  test('PAE paging loads the page-directory pointers and refuses reserved bits in them', () => {
    m.enter('32')
    m.run.movToCr(p, 0, ON & ~PG)
    m.run.movToCr(p, 4, PAE)
    m.ram.write64(0x1000, 0x2001n)
    m.run.movToCr(p, 3, 0x1000n)
    expect(m.run.movToCr(p, 0, ON)).toBe(0)
    m.ram.write64(0x1008, 0x2003n)
    expect(m.attempt(() => m.run.movToCr(p, 3, 0x1000n))).toBe('13(0)')
    m.run.movToCr(p, 0, ON & ~PG)
    expect(m.attempt(() => m.run.movToCr(p, 0, ON))).toBe('13(0)')
  })

  test.each([
    [0n, 0, 0],
    [MP, 0, 0],
    [EM, 1, 1],
    [TS, 2, 2],
    [TS | MP, 6, 2],
    [EM | TS | MP, 7, 3],
  ])('traps of x87 and SSE with CR0 bits %i', (bits, fpu, simd) => {
    m.enter('64')
    m.run.movToCr(p, 4, PAE | OSFXSR)
    m.run.movToCr(p, 0, ON | bits)
    expect([m.get32('FPU_TRAP'), m.get32('SIMD_TRAP')]).toEqual([fpu, simd])
    m.run.movToCr(p, 4, PAE)
    expect(m.get32('SIMD_TRAP')).toBe(simd | 1)
  })

  test('CLTS, LMSW', () => {
    m.enter('32')
    m.run.movToCr(p, 0, ON | TS)
    expect(m.run.clts(p)).toBe(0)
    expect([m.get('CR0'), m.get32('FPU_TRAP')]).toEqual([ON, 0])
    expect(m.run.lmsw(p, 0xfffe)).toBe(0)
    expect(m.get('CR0')).toBe(ON | TS | EM | MP)
    m.run.lmsw(p, 0)
    expect(m.get('CR0')).toBe(ON) // PE stays
    m.enter('real')
    m.run.lmsw(p, 1)
    expect(m.get('CR0') & PE).toBe(PE)
  })
})

describe('MOV to CR3, CR4, CR8', () => {
  test('CR3: reserved high bits in long mode; bit 63 with PCIDE only', () => {
    m.enter('64')
    expect(m.run.movToCr(p, 3, 0x1018n)).toBe(0)
    expect(m.get('CR3')).toBe(0x1018n)
    expect(m.attempt(() => m.run.movToCr(p, 3, 1n << 39n))).toBe('13(0)')
    expect(m.attempt(() => m.run.movToCr(p, 3, 0x1000n | (1n << 63n)))).toBe('13(0)')
    m.run.movToCr(p, 3, 0x1000n)
    m.run.movToCr(p, 4, PAE | PCIDE)
    expect(m.run.movToCr(p, 3, 0x1005n | (1n << 63n))).toBe(0)
    expect(m.get('CR3')).toBe(0x1005n)
    expect(m.attempt(() => m.run.movToCr(p, 3, 0x1000n | (1n << 62n)))).toBe('13(0)')
  })

  test('CR4: bits that exist', () => {
    const allowed = new Set([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 20, 21])
    for (let bit = 0; bit < 64; bit++) {
      m.enter('64')
      const value = PAE | (1n << BigInt(bit))
      const exception = m.attempt(() => m.run.movToCr(p, 4, value))
      expect([bit, exception, m.get('CR4')]).toEqual([bit, ...(allowed.has(bit) ? ['', value] : ['13(0)', PAE])])
    }
  })

  test('CR4: PAE in long mode, PCIDE', () => {
    m.enter('64')
    expect(m.attempt(() => m.run.movToCr(p, 4, 0n))).toBe('13(0)')
    m.run.movToCr(p, 3, 0x1001n)
    expect(m.attempt(() => m.run.movToCr(p, 4, PAE | PCIDE))).toBe('13(0)')
    m.enter('32')
    expect(m.attempt(() => m.run.movToCr(p, 4, PCIDE))).toBe('13(0)')
  })

  test('CR8 is the host', () => {
    m.enter('64')
    m.core.host['readCr8'] = () => 9
    expect(m.run.movToCr(p, 8, 15n)).toBe(0)
    expect(m.core.calls).toEqual([['writeCr8', 15]])
    expect(m.run.movFromCr(p, 8, S.RBX)).toBe(0)
    expect(m.get('RBX')).toBe(9n)
    expect(m.attempt(() => m.run.movToCr(p, 8, 16n))).toBe('13(0)')
  })

  test('reading; registers that do not exist', () => {
    m.enter('64')
    m.run.movToCr(p, 2, 0xffff_8000_0000_0000n)
    for (const [n, value] of [
      [0, ON],
      [2, 0xffff_8000_0000_0000n],
      [3, 0x1000n],
      [4, PAE],
    ] as const) {
      expect(m.run.movFromCr(p, n, S.RCX)).toBe(0)
      expect(m.get('RCX')).toBe(value)
    }
    for (const n of [1, 5, 6, 7, 9, 15]) {
      expect(m.attempt(() => m.run.movFromCr(p, n, S.RCX))).toBe('6')
      expect(m.attempt(() => m.run.movToCr(p, n, 0n))).toBe('6')
    }
  })
})

describe('debug registers', () => {
  test('fixed bits, aliases', () => {
    m.enter('64')
    for (const n of [0, 1, 2, 3]) {
      expect(m.run.movToDr(p, n, 0xffff_8000_0000_0000n + BigInt(n))).toBe(0)
      m.run.movFromDr(p, n, S.RAX)
      expect(m.get('RAX')).toBe(0xffff_8000_0000_0000n + BigInt(n))
    }
    for (const [n, alias] of [
      [6, 4],
      [7, 5],
    ] as const) {
      m.run.movToDr(p, n, 0n)
      m.run.movFromDr(p, alias, S.RAX)
      expect(m.get('RAX')).toBe(n === 6 ? 0xffff0ff0n : 0x400n)
      m.run.movToDr(p, alias, 0xffffdfffn)
      m.run.movFromDr(p, n, S.RAX)
      expect(m.get('RAX')).toBe(n === 6 ? 0xffffcfffn : 0xffff07ffn)
      expect(m.attempt(() => m.run.movToDr(p, n, 1n << 32n))).toBe('13(0)')
    }
    m.run.movToCr(p, 4, PAE | 8n) // DE
    expect(m.attempt(() => m.run.movToDr(p, 4, 0n))).toBe('6')
    expect(m.attempt(() => m.run.movFromDr(p, 5, S.RAX))).toBe('6')
    expect(m.attempt(() => m.run.movFromDr(p, 8, S.RAX))).toBe('6')
  })

  test('general detect: #DB with DR6.BD, a fault that clears GD', () => {
    m.enter('64')
    m.run.movToDr(p, 7, 0x2000n)
    expect(m.run.movFromDr(p, 0, S.RAX)).toBe(1)
    m.run.deliver(p)
    expect([m.get('DR6') & 0xe000n, m.get('DR7'), m.stack(8, 3)[2]]).toEqual([0x2000n, 0x400n, 0x10202n])
  })
})

describe('descriptor table registers', () => {
  test.each([
    [2, 0xf23456n],
    [4, 0x9ff23456n],
    [8, 0xffff_8000_9ff2_3456n],
  ])('operand size %i', (size, base) => {
    m.enter('64')
    m.writeWords(0x60000, 2, 0xabcd)
    m.writeWords(0x60002, 8, 0xffff_8000_9ff2_3456n)
    expect(m.run.lgdt(p, 0x60000n, size)).toBe(0)
    expect([m.get('GDTR_BASE'), m.get32('GDTR_LIMIT')]).toEqual([base, 0xabcd])
    expect(m.run.lidt(p, 0x60000n, size)).toBe(0)
    expect([m.get('IDTR_BASE'), m.get32('IDTR_LIMIT')]).toEqual([base, 0xabcd])
  })

  test('faults: memory, and a base that is not canonical', () => {
    m.enter('64')
    expect(m.attempt(() => m.run.lgdt(p, 0x40000000n, 8))).toBe('14(0)')
    m.ram.write64(0x60002, 0x8000_0000_0000n)
    expect(m.attempt(() => m.run.lidt(p, 0x60000n, 8))).toBe('13(0)')
    expect(m.run.lidt(p, 0x60000n, 4)).toBe(0)
  })
})

describe('TLB', () => {
  test('INVLPG and INVPCID forget', () => {
    m.enter('64')
    const map = (page: bigint): void => m.ram.write64(0x3008, (page << 21n) | 0xe7n)
    const value = (): bigint => m.run.slowLoad(p, 0x200000n, 8)
    m.ram.write64(0x200000, 1n)
    m.ram.write64(0x3f0000, 0n)
    expect(value()).toBe(1n)
    map(0n)
    expect(value()).toBe(1n) // from the TLB
    m.run.invlpg(p, 0x201000n)
    expect(value()).toBe(m.ram.read64(0))
    m.run.invlpg(p, 0x8000_0000_0000n) // no operation
    map(1n)
    m.writeWords(0x60000, 8, 0, 0x200000n)
    expect(m.run.invpcid(p, 0n, 0x60000n)).toBe(0)
    expect(value()).toBe(1n)
    for (const type of [1n, 2n, 3n]) {
      map(0n)
      expect(m.run.invpcid(p, type, 0x60000n)).toBe(0)
      expect(value()).toBe(m.ram.read64(0))
      map(1n)
      m.run.flushAll(p)
      expect(value()).toBe(1n)
    }
  })

  test('INVPCID refuses', () => {
    m.enter('64')
    m.writeWords(0x60000, 8, 1, 0x200000n)
    expect(m.attempt(() => m.run.invpcid(p, 0n, 0x60000n))).toBe('13(0)') // a PCID without PCIDE
    expect(m.attempt(() => m.run.invpcid(p, 1n, 0x60000n))).toBe('13(0)')
    expect(m.run.invpcid(p, 2n, 0x60000n)).toBe(0)
    m.run.movToCr(p, 4, PAE | PCIDE)
    expect(m.run.invpcid(p, 1n, 0x60000n)).toBe(0)
    expect(m.attempt(() => m.run.invpcid(p, 4n, 0x60000n))).toBe('13(0)')
    m.writeWords(0x60000, 8, 0x1000, 0)
    expect(m.attempt(() => m.run.invpcid(p, 2n, 0x60000n))).toBe('13(0)')
    m.writeWords(0x60000, 8, 1, 0x8000_0000_0000n)
    expect(m.attempt(() => m.run.invpcid(p, 0n, 0x60000n))).toBe('13(0)')
    expect(m.attempt(() => m.run.invpcid(p, 0n, 0x40000000n))).toBe('14(0)')
  })
})

describe('XCR0', () => {
  test('needs OSXSAVE, CPL 0 to write, x87 always on, SSE at most', () => {
    m.enter('64')
    expect(m.attempt(() => m.run.xgetbv(p))).toBe('6')
    expect(m.attempt(() => m.run.xsetbv(p))).toBe('6')
    m.run.movToCr(p, 4, PAE | OSXSAVE)
    m.set('RCX', 0xffff_0000_0000_0000n)
    m.set('RAX', 3)
    m.set('RDX', 0)
    expect(m.run.xsetbv(p)).toBe(0)
    m.set('RAX', -1)
    m.set('RDX', -1)
    expect(m.run.xgetbv(p)).toBe(0)
    expect([m.get('RAX'), m.get('RDX')]).toEqual([3n, 0n])
    for (const [low, high] of [
      [2, 0],
      [0, 0],
      [7, 0],
      [3, 1],
    ] as const) {
      m.set('RAX', low)
      m.set('RDX', high)
      expect(m.attempt(() => m.run.xsetbv(p))).toBe('13(0)')
    }
    m.set('RCX', 1)
    expect(m.attempt(() => m.run.xgetbv(p))).toBe('13(0)')
    expect(m.attempt(() => m.run.xsetbv(p))).toBe('13(0)')
  })
})

describe('privilege', () => {
  const modes: ModeName[] = ['32', '64']
  const calls: [string, () => number][] = [
    ['MOV from CR', () => m.run.movFromCr(p, 0, S.RAX)],
    ['MOV to CR', () => m.run.movToCr(p, 0, ON)],
    ['MOV from DR', () => m.run.movFromDr(p, 0, S.RAX)],
    ['MOV to DR', () => m.run.movToDr(p, 0, 0n)],
    ['CLTS', () => m.run.clts(p)],
    ['LMSW', () => m.run.lmsw(p, 1)],
    ['LGDT', () => m.run.lgdt(p, 0n, 4)],
    ['LIDT', () => m.run.lidt(p, 0n, 4)],
    ['INVLPG', () => m.run.invlpg(p, 0n)],
    ['INVPCID', () => m.run.invpcid(p, 2n, 0n)],
    ['RDMSR', () => m.run.rdmsr(p)],
    ['WRMSR', () => m.run.wrmsr(p)],
    ['HLT', () => m.run.hlt(p)],
    ['others', () => m.run.needCpl0(p)],
  ]
  for (const [name, call] of calls)
    test(`${name}: #GP(0) at CPL 3`, () => {
      for (const mode of modes) {
        m.enter(mode, 3)
        expect(m.attempt(call)).toBe('13(0)')
      }
    })

  test('XSETBV', () => {
    m.enter('64', 3)
    m.set('CR4', PAE | OSXSAVE)
    m.set('RAX', 3)
    m.set('RCX', 0)
    expect(m.attempt(() => m.run.xsetbv(p))).toBe('13(0)')
    expect(m.run.xgetbv(p)).toBe(0)
  })

  test('UMIP', () => {
    for (const [cpl, umip] of [
      [0, UMIP],
      [3, 0n],
    ] as const) {
      m.enter('64', cpl)
      m.set('CR4', PAE | umip)
      expect([m.run.checkUmip(p), m.run.checkUmipProtected(p)]).toEqual([0, 0])
    }
    m.enter('64', 3)
    m.set('CR4', PAE | UMIP)
    expect(m.attempt(() => m.run.checkUmip(p))).toBe('13(0)')
    expect(m.attempt(() => m.run.checkUmipProtected(p))).toBe('13(0)')
    m.enter('real')
    expect(m.run.checkUmip(p)).toBe(0)
    expect(m.attempt(() => m.run.checkUmipProtected(p))).toBe('6')
  })
})

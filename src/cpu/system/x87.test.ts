/** x87 instructions against the host's CPU: registers, tags, status, pointers and memory, all roundings and masks. */
import { beforeAll, describe, expect, test } from 'vitest'
import { Core, Fx } from '../../../test/oracle/fp/oracle.ts'
import { differences, fill } from '../../../test/oracle/fp/x87.ts'
import type { X87Op } from '../../../test/oracle/fp/x87.ts'
import { S } from '../layout.ts'

let core: Core
beforeAll(async () => {
  core = await Core.create()
}, 120_000)

type Argument = number | bigint

/** An instruction that waits: the check, then the procedure. */
function call(name: string, ...args: Argument[]): void {
  if (core.call['x87Fault']!(core.p) === 0) core.call[name]!(core.p, ...args)
}

/** FCOMI and kin return the flags that the row sets. */
function compareFlags(...args: Argument[]): void {
  if (core.call['x87Fault']!(core.p) !== 0) return
  core.call['setFlags']!(core.p, Number(core.call['x87CompareFlags']!(core.p, ...args)))
}

function store(ea: bigint, pops: number, ...steps: [string, number, Argument[]][]): void {
  if (core.call['x87Fault']!(core.p) !== 0) return
  let at = core.p + S.SCRATCH
  const values = steps.map(([name, bytes, args]) => [core.call[name]!(core.p, ...args), bytes] as const)
  if (core.call['x87StoreGoes']!(core.p) === 1)
    for (const [value, bytes] of values) {
      const bits = BigInt(value)
      for (let i = 0; i < bytes; i++) core.bytes[at++] = Number((bits >> BigInt(8 * i)) & 0xffn)
    }
  core.call['x87Stored']!(core.p, pops, ea)
}

const u32 = (): number => core.u32(S.SCRATCH)
const u64 = (): bigint => core.u64(S.SCRATCH)
const int = (bits: number): bigint => BigInt.asIntN(bits, u64())
const full: X87Op['prepare'] = (_, view, at) => fill(view, at, 1)

/** ST(0) small or denormal, ST(1) small in magnitude or in exponent; underflow and denormals often unmasked. */
const tiny: X87Op['prepare'] = (random, view, at) => {
  fill(view, at, 1)
  view.setUint16(at + Fx.FCW, view.getUint16(at + Fx.FCW, true) & ~(random.u32() & 0x12), true)
  view.setUint16(at + Fx.FSW, view.getUint16(at + Fx.FSW, true) & 0x7f00, true)
  view.setUint16(at + Fx.ST + 8, (random.u32() & 0x8000) | random.below(3), true)
  view.setUint16(
    at + Fx.ST + 24,
    (random.u32() & 0x8000) | random.pick([0, 1, 2, 40, 0x3ffe, 0x3fff, 0x4000, 0x4005]),
    true,
  )
  if (random.chance(3)) view.setBigUint64(at + Fx.ST + 16, random.chance(2) ? 0n : 1n << 63n, true)
}

/** Normal numbers of similar size under FNINIT's control word: what x87-ordinary.ts is for. */
const usual: X87Op['prepare'] = (random, view, at) => {
  fill(view, at, 1)
  view.setUint16(at + Fx.FCW, 0x37f, true)
  view.setUint16(at + Fx.FSW, view.getUint16(at + Fx.FSW, true) & 0x7f7f, true)
  const exponent = random.pick([random.below(0x7fff), random.below(150), 0x7fff - random.below(150), 0x3fff])
  for (const [i, e] of [exponent, exponent + random.below(140) - 70].entries()) {
    const one = 1n << 63n
    const near = random.pick([0n, 1n, 2n, BigInt(random.u32()), (1n << BigInt(random.below(64))) - 1n])
    const some = (BigInt(random.u32()) << 32n) | BigInt(random.u32())
    const significand = one | random.pick([some, some, near, one - 1n - (near & (one - 1n))])
    view.setBigUint64(at + Fx.ST + i * 16, significand, true)
    view.setUint16(at + Fx.ST + i * 16 + 8, (random.u32() & 0x8000) | Math.max(0, Math.min(e, 0x7ffe)), true)
  }
}

/** The same, ST(0) near the ends of narrower formats, to nearest or chopped. */
const stored: X87Op['prepare'] = (random, view, at) => {
  usual(random, view, at)
  view.setUint16(at + Fx.FCW, random.pick([0x37f, 0xf7f]), true)
  const near = 0x3fff + random.pick([1023, -1022, 127, -126, 63, 31, 15, 0]) + random.below(7) - 3
  view.setUint16(at + Fx.ST + 8, (random.u32() & 0x8000) | random.pick([near, 0x3fff + random.below(70)]), true)
}

describe.each([
  ['add', 0],
  ['mul', 1],
  ['sub', 4],
  ['subr', 5],
  ['div', 6],
  ['divr', 7],
] as const)('f%s', (_, op) => {
  const reg = op << 3
  const memory = reg | 7
  const reversed = op >= 4 ? op ^ 1 : op
  test('ST(0), ST(i)', () => {
    const run: X87Op = { code: [0xd8, 0xc1 | reg], run: () => call('x87Arith', op, 0, 1, 0) }
    expect(differences(core, { ...run, prepare: full }, 6000)).toBe('')
    expect(differences(core, { ...run, prepare: usual }, 20_000)).toBe('')
    expect(differences(core, run, 500)).toBe('')
    expect(differences(core, { code: [0xd8, 0xc0 | reg], run: () => call('x87Arith', op, 0, 0, 0) }, 500)).toBe('')
  })
  test('ST(i), ST(0)', () => {
    expect(differences(core, { code: [0xdc, 0xc3 | reg], run: () => call('x87Arith', reversed, 3, 0, 0) })).toBe('')
    expect(differences(core, { code: [0xde, 0xc1 | reg], run: () => call('x87Arith', reversed, 1, 0, 1) })).toBe('')
  })
  test('memory', () => {
    expect(
      differences(core, { code: [0xd8, memory], memory: 'f32', run: (ea) => call('x87ArithF32', op, u32(), ea) }),
    ).toBe('')
    expect(
      differences(core, { code: [0xdc, memory], memory: 'f64', run: (ea) => call('x87ArithF64', op, u64(), ea) }),
    ).toBe('')
    expect(
      differences(core, { code: [0xda, memory], memory: 'i32', run: (ea) => call('x87ArithInt', op, int(32), ea) }),
    ).toBe('')
    expect(
      differences(core, { code: [0xde, memory], memory: 'i16', run: (ea) => call('x87ArithInt', op, int(16), ea) }),
    ).toBe('')
  })
})

describe('one operand', () => {
  test.each([
    ['fsqrt', 0xfa, 'x87Sqrt', []],
    ['frndint', 0xfc, 'x87RoundInt', []],
    ['fchs', 0xe0, 'x87Sign', [0]],
    ['fabs', 0xe1, 'x87Sign', [1]],
    ['ftst', 0xe4, 'x87Test', []],
    ['fxam', 0xe5, 'x87Examine', []],
    ['fxtract', 0xf4, 'x87Extract', []],
    ['fscale', 0xfd, 'x87Scale', []],
    ['fprem', 0xf8, 'x87Remainder', [0]],
    ['fprem1', 0xf5, 'x87Remainder', [1]],
    ['fnop', 0xd0, 'x87Nop', []],
    ['fincstp', 0xf7, 'x87Turn', [1]],
    ['fdecstp', 0xf6, 'x87Turn', [7]],
    ['fxch', 0xc9, 'x87Exchange', [1]],
    ['fxch st4', 0xcc, 'x87Exchange', [4]],
    ['fxch st0', 0xc8, 'x87Exchange', [0]],
  ] as [string, number, string, number[]][])('%s', (_, second, name, args) => {
    const run: X87Op = { code: [0xd9, second], run: () => call(name, ...args) }
    expect(differences(core, { ...run, prepare: full }, 3000)).toBe('')
    expect(differences(core, { ...run, prepare: tiny }, 1500)).toBe('')
    expect(differences(core, { ...run, prepare: usual }, 3000)).toBe('')
    expect(differences(core, run, 1000)).toBe('')
  })
})

describe('comparisons', () => {
  test.each([
    ['fcom', [0xd8, 0xd1], [1, 0, 0]],
    ['fcomp', [0xd8, 0xd9], [1, 0, 1]],
    ['fcompp', [0xde, 0xd9], [1, 0, 2]],
    ['fucom', [0xdd, 0xe1], [1, 1, 0]],
    ['fucomp', [0xdd, 0xe9], [1, 1, 1]],
    ['fucompp', [0xda, 0xe9], [1, 1, 2]],
  ])('%s', (_, code, args) => {
    const run: X87Op = { code, run: () => call('x87Compare', ...args) }
    expect(differences(core, { ...run, prepare: full })).toBe('')
    expect(differences(core, run)).toBe('')
  })
  test.each([
    ['fcomi', [0xdb, 0xf1], [1, 0, 0]],
    ['fcomip', [0xdf, 0xf1], [1, 0, 1]],
    ['fucomi', [0xdb, 0xe9], [1, 1, 0]],
    ['fucomip', [0xdf, 0xe9], [1, 1, 1]],
  ])('%s', (_, code, args) => {
    const run: X87Op = { code, run: () => compareFlags(...args) }
    expect(differences(core, { ...run, prepare: full })).toBe('')
    expect(differences(core, run)).toBe('')
  })
  test('memory', () => {
    for (const pops of [0, 1]) {
      const modrm = pops ? 0x1f : 0x17
      expect(
        differences(core, { code: [0xd8, modrm], memory: 'f32', run: (ea) => call('x87CompareF32', u32(), pops, ea) }),
      ).toBe('')
      expect(
        differences(core, { code: [0xdc, modrm], memory: 'f64', run: (ea) => call('x87CompareF64', u64(), pops, ea) }),
      ).toBe('')
      expect(
        differences(core, {
          code: [0xda, modrm],
          memory: 'i32',
          run: (ea) => call('x87CompareInt', int(32), pops, ea),
        }),
      ).toBe('')
      expect(
        differences(core, {
          code: [0xde, modrm],
          memory: 'i16',
          run: (ea) => call('x87CompareInt', int(16), pops, ea),
        }),
      ).toBe('')
    }
  })
})

describe('loads', () => {
  const loads: [string, number[], X87Op['memory'], (ea: bigint) => void][] = [
    ['m32fp', [0xd9, 0x07], 'f32', (ea) => call('x87LoadF32', u32(), ea)],
    ['m64fp', [0xdd, 0x07], 'f64', (ea) => call('x87LoadF64', u64(), ea)],
    ['m80fp', [0xdb, 0x2f], 'f80', (ea) => call('x87LoadExtended', u64(), core.u32(S.SCRATCH + 8), ea)],
    ['m16int', [0xdf, 0x07], 'i16', (ea) => call('x87LoadInt', int(16), ea)],
    ['m32int', [0xdb, 0x07], 'i32', (ea) => call('x87LoadInt', int(32), ea)],
    ['m64int', [0xdf, 0x2f], 'i64', (ea) => call('x87LoadInt', int(64), ea)],
    ['m80bcd', [0xdf, 0x27], 'bcd', (ea) => call('x87LoadBcd', u64(), core.u32(S.SCRATCH + 8), ea)],
  ]
  test.each(loads)('%s', (_, code, memory, run) => {
    expect(differences(core, { code, memory: memory!, run }, 2500)).toBe('')
  })
  test.each([0, 1, 7])('ST(%i)', (i) => {
    expect(differences(core, { code: [0xd9, 0xc0 | i], run: () => call('x87LoadRegister', i) })).toBe('')
  })
  test.each([0, 1, 2, 3, 4, 5, 6])('constant %i', (n) => {
    expect(differences(core, { code: [0xd9, 0xe8 | n], run: () => call('x87LoadConstant', n) }, 500)).toBe('')
  })
})

describe('stores', () => {
  const stores: [string, number[], number, number, [string, number, Argument[]][]][] = [
    ['fst m32fp', [0xd9, 0x17], 0, 4, [['x87ToF32', 4, []]]],
    ['fstp m32fp', [0xd9, 0x1f], 1, 4, [['x87ToF32', 4, []]]],
    ['fst m64fp', [0xdd, 0x17], 0, 8, [['x87ToF64', 8, []]]],
    ['fstp m64fp', [0xdd, 0x1f], 1, 8, [['x87ToF64', 8, []]]],
    [
      'fstp m80fp',
      [0xdb, 0x3f],
      1,
      10,
      [
        ['x87ToExtended', 8, []],
        ['x87ToExtendedHigh', 2, []],
      ],
    ],
    ['fist m16int', [0xdf, 0x17], 0, 2, [['x87ToInt', 2, [16, 0]]]],
    ['fistp m16int', [0xdf, 0x1f], 1, 2, [['x87ToInt', 2, [16, 0]]]],
    ['fist m32int', [0xdb, 0x17], 0, 4, [['x87ToInt', 4, [32, 0]]]],
    ['fistp m64int', [0xdf, 0x3f], 1, 8, [['x87ToInt', 8, [64, 0]]]],
    ['fisttp m16int', [0xdf, 0x0f], 1, 2, [['x87ToInt', 2, [16, 1]]]],
    ['fisttp m32int', [0xdb, 0x0f], 1, 4, [['x87ToInt', 4, [32, 1]]]],
    ['fisttp m64int', [0xdd, 0x0f], 1, 8, [['x87ToInt', 8, [64, 1]]]],
    [
      'fbstp',
      [0xdf, 0x37],
      1,
      10,
      [
        ['x87ToBcd', 8, []],
        ['x87ToBcdHigh', 2, []],
      ],
    ],
  ]
  test.each(stores)('%s', (_, code, pops, bytes, steps) => {
    const run: X87Op = { code, memory: 'none', stores: bytes, run: (ea) => store(ea, pops, ...steps) }
    expect(differences(core, { ...run, prepare: full }, 3000)).toBe('')
    expect(differences(core, { ...run, prepare: stored }, 6000)).toBe('')
    expect(differences(core, run, 700)).toBe('')
  })
  test.each([0, 1])('ST(i), %i pops', (pops) => {
    for (const i of [0, 1, 5])
      expect(
        differences(core, { code: [0xdd, (pops ? 0xd8 : 0xd0) | i], run: () => call('x87StoreRegister', i, pops) }),
      ).toBe('')
  })
})

describe('stack and control', () => {
  test('fstpnce', () => {
    for (const i of [0, 1, 5])
      expect(differences(core, { code: [0xd9, 0xd8 | i], run: () => call('x87StoreUnchecked', i) })).toBe('')
  })
  test('ffree', () => {
    expect(differences(core, { code: [0xdd, 0xc2], run: () => call('x87Free', 2, 0) }, 500)).toBe('')
    expect(differences(core, { code: [0xdf, 0xc2], run: () => call('x87Free', 2, 1) }, 500)).toBe('')
  })
  test.each([0, 1, 2, 3, 4, 5, 6, 7])('fcmov %i', (n) => {
    const condition = [1, 0x40, 0x41, 4][n & 3]!
    const holds = (): number => Number(((Number(core.u64(S.FLAGS_RES)) & condition) !== 0) !== n > 3)
    expect(
      differences(
        core,
        {
          code: [n > 3 ? 0xdb : 0xda, 0xc2 | ((n & 3) << 3)],
          run: () => call('x87Move', 2, holds()),
        },
        800,
      ),
    ).toBe('')
  })
  test('fninit, fnclex', () => {
    expect(differences(core, { code: [0xdb, 0xe3], run: () => core.call['x87Init']!(core.p) }, 300)).toBe('')
    expect(differences(core, { code: [0xdb, 0xe2], run: () => core.call['x87ClearExceptions']!(core.p) }, 300)).toBe('')
  })
  test('fldcw', () => {
    expect(
      differences(
        core,
        { code: [0xd9, 0x2f], memory: 'i16', run: () => call('x87LoadControl', core.u32(S.SCRATCH) & 0xffff) },
        1000,
      ),
    ).toBe('')
  })
  test('emms and MMX', () => {
    expect(
      differences(
        core,
        {
          code: [0x0f, 0x77],
          run: () => {
            if (core.call['mmxFault']!(core.p) === 0) core.call['mmxLeave']!(core.p)
          },
        },
        500,
      ),
    ).toBe('')
    // MOVQ MM2, MM1
    expect(
      differences(
        core,
        {
          code: [0x0f, 0x6f, 0xd1],
          run: () => {
            if (core.call['mmxFault']!(core.p) !== 0) return
            core.call['mmxEnter']!(core.p)
            core.view.setBigUint64(core.p + S.FPR + 32, core.u64(S.FPR + 16), true)
            core.view.setUint16(core.p + S.FPR + 40, 0xffff, true)
          },
        },
        500,
      ),
    ).toBe('')
  })
})

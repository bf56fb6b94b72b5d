/** SSE floating point against the host's CPU: results, MXCSR and #XM for every operation, rounding, DAZ and FTZ. */
import { beforeAll, describe, expect, test } from 'vitest'
import { isIntel } from '../../../test/oracle/host.ts'
import { Case, Cases, Core, Fx, hex } from '../../../test/oracle/fp/oracle.ts'
import { Random, f32, f64, integer } from '../../../test/oracle/fp/values.ts'
import { S } from '../layout.ts'

let core: Core
beforeAll(async () => {
  core = await Core.create()
}, 120_000)

const X0 = S.VEC0,
  X1 = S.VEC0 + 16
type Kind = 'f32' | 'f64' | 'i32' | 'i64'

/** Any rounding, DAZ and FTZ; mostly all exceptions masked, else a random choice; some flags already set. */
function mxcsr(random: Random): number {
  const masks = random.chance(3) ? random.u32() & 0x1f80 : 0x1f80
  return (
    ((random.u32() & 3) << 13) |
    (random.chance(3) ? 0x8000 : 0) |
    (random.chance(3) ? 0x40 : 0) |
    masks |
    (random.chance(4) ? random.u32() & 0x3f : 0)
  )
}

function fill(random: Random, view: DataView, at: number, kind: Kind, lanes: number): void {
  for (let i = 0; i < lanes; i++)
    if (kind === 'f32') view.setUint32(at + i * 4, f32(random), true)
    else if (kind === 'f64') view.setBigUint64(at + i * 8, f64(random), true)
    else if (kind === 'i32') view.setInt32(at + i * 4, Number(integer(random, 32)), true)
    else view.setBigInt64(at + i * 8, integer(random, 64), true)
}

interface Op {
  code: number[]
  a: Kind
  b?: Kind
  /** Our side, from XMM0 and XMM1 (and RAX); true if it leaves RAX and flags to compare. */
  run: () => void
  compare?: 'rax' | 'flags'
}

let seed = 1
/** What differs from the host's CPU in `count` random cases. */
function differences(op: Op, count = 2000): string {
  const random = new Random(0x5eed + seed++)
  const cases = new Cases(count)
  for (let i = 0; i < count; i++) {
    cases.init(i, op.code)
    const at = i * Case.SIZE
    cases.view.setUint32(at + Fx.MXCSR, mxcsr(random), true)
    const few = random.chance(4)
    for (const [offset, kind] of [
      [0, op.a],
      [16, op.b ?? op.a],
    ] as const) {
      fill(random, cases.view, at + Fx.XMM + offset, kind, kind.endsWith('32') ? 4 : 2)
      // Often the same value in all lanes, so that single exceptions are seen.
      if (few)
        for (let j = 8; j < 16; j++) cases.bytes[at + Fx.XMM + offset + j] = cases.bytes[at + Fx.XMM + offset + j - 8]!
    }
    cases.view.setBigInt64(at + Case.RAX, integer(random, 64), true)
  }
  const native = cases.run()
  const bad: string[] = []
  for (let i = 0; i < count && bad.length < 8; i++) {
    const at = i * Case.SIZE
    core.load(cases, i)
    core.view.setBigUint64(core.p + S.RAX, cases.view.getBigUint64(at + Case.RAX, true), true)
    op.run()
    const show = (x0: Uint8Array, m: number, trap: number, extra: bigint): string =>
      `${hex(x0)} mxcsr ${m.toString(16)} trap ${trap} ${extra.toString(16)}`
    const extra =
      op.compare === 'rax'
        ? native.view.getBigUint64(at + Case.RAX, true)
        : op.compare === 'flags'
          ? BigInt(native.view.getUint32(at + Case.FLAGS, true) & 0x8d5)
          : 0n
    const want = show(
      native.bytes.subarray(at + Fx.XMM, at + Fx.XMM + 16),
      native.view.getUint32(at + Fx.MXCSR, true),
      native.view.getUint32(at + Case.TRAP, true),
      extra,
    )
    const got = show(
      core.bytes.subarray(core.p + X0, core.p + X0 + 16),
      core.u32(S.MXCSR),
      core.trap(),
      op.compare ? core.u64(S.RAX) : 0n,
    )
    if (got !== want)
      bad.push(
        `${op.code.map((c) => c.toString(16)).join(' ')} mxcsr ${cases.view.getUint32(at + Fx.MXCSR, true).toString(16)} ` +
          `${hex(cases.bytes.subarray(at + Fx.XMM, at + Fx.XMM + 16))} ${hex(cases.bytes.subarray(at + Fx.XMM + 16, at + Fx.XMM + 32))}\n` +
          `  want ${want}\n  got  ${got}`,
      )
  }
  return bad.join('\n')
}

/** A scalar operation: `f` gives the result's bits, committed to XMM0 if nothing traps. */
function scalar32(f: (a: number, b: number) => number | bigint): () => void {
  return () => {
    const result = f(core.u32(X0), core.u32(X1))
    if (core.call['sseCheck']!(core.p) === 0) core.view.setUint32(core.p + X0, Number(result) >>> 0, true)
  }
}

function scalar64(f: (a: bigint, b: bigint) => number | bigint): () => void {
  return () => {
    const result = f(core.u64(X0), core.u64(X1))
    if (core.call['sseCheck']!(core.p) === 0)
      core.view.setBigUint64(core.p + X0, BigInt.asUintN(64, result as bigint), true)
  }
}

/** The same into RAX. */
function toRax(f: () => bigint): () => void {
  return () => {
    const result = f()
    if (core.call['sseCheck']!(core.p) === 0) core.view.setBigUint64(core.p + S.RAX, result, true)
  }
}

const arithmetic: [string, number][] = [
  ['sqrt', 0x51],
  ['add', 0x58],
  ['mul', 0x59],
  ['sub', 0x5c],
  ['min', 0x5d],
  ['div', 0x5e],
  ['max', 0x5f],
]

describe.each(arithmetic)('%s', (_, op) => {
  test('ss', () =>
    expect(
      differences({
        code: [0xf3, 0x0f, op, 0xc1],
        a: 'f32',
        run: scalar32((a, b) => core.call['sseArith32']!(core.p, op, a, b)),
      }),
    ).toBe(''))
  test('sd', () =>
    expect(
      differences({
        code: [0xf2, 0x0f, op, 0xc1],
        a: 'f64',
        run: scalar64((a, b) => core.call['sseArith64']!(core.p, op, a, b)),
      }),
    ).toBe(''))
  test('ps', () =>
    expect(
      differences({
        code: [0x0f, op, 0xc1],
        a: 'f32',
        run: () => core.call['ssePacked32']!(core.p, op, core.p + X0, core.p + X0, core.p + X1),
      }),
    ).toBe(''))
  test('pd', () =>
    expect(
      differences({
        code: [0x66, 0x0f, op, 0xc1],
        a: 'f64',
        run: () => core.call['ssePacked64']!(core.p, op, core.p + X0, core.p + X0, core.p + X1),
      }),
    ).toBe(''))
})

describe.each([
  ['hadd', 0x7c],
  ['hsub', 0x7d],
  ['addsub', 0xd0],
] as const)('%s', (_, op) => {
  test('ps', () =>
    expect(
      differences({
        code: [0xf2, 0x0f, op, 0xc1],
        a: 'f32',
        run: () => core.call['ssePacked32']!(core.p, op, core.p + X0, core.p + X0, core.p + X1),
      }),
    ).toBe(''))
  test('pd', () =>
    expect(
      differences({
        code: [0x66, 0x0f, op, 0xc1],
        a: 'f64',
        run: () => core.call['ssePacked64']!(core.p, op, core.p + X0, core.p + X0, core.p + X1),
      }),
    ).toBe(''))
})

describe('cmp', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7])('predicate %i', (n) => {
    expect(
      differences(
        {
          code: [0xf3, 0x0f, 0xc2, 0xc1, n],
          a: 'f32',
          run: scalar32((a, b) => core.call['sseCmp32']!(core.p, n, a, b)),
        },
        700,
      ),
    ).toBe('')
    expect(
      differences(
        {
          code: [0xf2, 0x0f, 0xc2, 0xc1, n],
          a: 'f64',
          run: scalar64((a, b) => core.call['sseCmp64']!(core.p, n, a, b)),
        },
        700,
      ),
    ).toBe('')
    expect(
      differences(
        {
          code: [0x0f, 0xc2, 0xc1, n],
          a: 'f32',
          run: () => core.call['sseCmpPacked32']!(core.p, n, core.p + X0, core.p + X0, core.p + X1),
        },
        700,
      ),
    ).toBe('')
    expect(
      differences(
        {
          code: [0x66, 0x0f, 0xc2, 0xc1, n],
          a: 'f64',
          run: () => core.call['sseCmpPacked64']!(core.p, n, core.p + X0, core.p + X0, core.p + X1),
        },
        700,
      ),
    ).toBe('')
  })
})

test.each([
  [0x2e, 1],
  [0x2f, 0],
] as const)('comi %#', (op, quiet) => {
  const flags = (f: () => number | bigint) => () => {
    const result = f()
    core.view.setBigUint64(core.p + S.RAX, core.call['sseCheck']!(core.p) === 0 ? BigInt(result) : 0n, true)
  }
  expect(
    differences({
      code: [0x0f, op, 0xc1],
      a: 'f32',
      compare: 'flags',
      run: flags(() => core.call['sseComi32']!(core.p, core.u32(X0), core.u32(X1), quiet)),
    }),
  ).toBe('')
  expect(
    differences({
      code: [0x66, 0x0f, op, 0xc1],
      a: 'f64',
      compare: 'flags',
      run: flags(() => core.call['sseComi64']!(core.p, core.u64(X0), core.u64(X1), quiet)),
    }),
  ).toBe('')
})

test.each([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12])('round, immediate %i', (n) => {
  expect(
    differences(
      {
        code: [0x66, 0x0f, 0x3a, 0x0a, 0xc1, n],
        a: 'f32',
        run: scalar32((_, b) => core.call['sseRound32']!(core.p, n, b)),
      },
      500,
    ),
  ).toBe('')
  expect(
    differences(
      {
        code: [0x66, 0x0f, 0x3a, 0x0b, 0xc1, n],
        a: 'f64',
        run: scalar64((_, b) => core.call['sseRound64']!(core.p, n, b)),
      },
      500,
    ),
  ).toBe('')
  expect(
    differences(
      {
        code: [0x66, 0x0f, 0x3a, 0x08, 0xc1, n],
        a: 'f32',
        run: () => core.call['sseRoundPacked32']!(core.p, n, core.p + X0, core.p + X1),
      },
      500,
    ),
  ).toBe('')
  expect(
    differences(
      {
        code: [0x66, 0x0f, 0x3a, 0x09, 0xc1, n],
        a: 'f64',
        run: () => core.call['sseRoundPacked64']!(core.p, n, core.p + X0, core.p + X1),
      },
      500,
    ),
  ).toBe('')
})

describe('scalar conversions', () => {
  const rax = (): bigint => core.view.getBigInt64(core.p + S.RAX, true)
  test('from integers', () => {
    expect(
      differences({
        code: [0xf3, 0x48, 0x0f, 0x2a, 0xc0],
        a: 'f32',
        run: scalar32(() => core.call['sseFromInt32']!(core.p, rax())),
      }),
    ).toBe('')
    expect(
      differences({
        code: [0xf2, 0x48, 0x0f, 0x2a, 0xc0],
        a: 'f64',
        run: scalar64(() => core.call['sseFromInt64']!(core.p, rax())),
      }),
    ).toBe('')
    expect(
      differences({
        code: [0xf3, 0x0f, 0x2a, 0xc0],
        a: 'f32',
        run: scalar32(() => core.call['sseFromInt32']!(core.p, BigInt.asIntN(32, rax()))),
      }),
    ).toBe('')
    expect(
      differences({
        code: [0xf2, 0x0f, 0x2a, 0xc0],
        a: 'f64',
        run: scalar64(() => core.call['sseFromInt64']!(core.p, BigInt.asIntN(32, rax()))),
      }),
    ).toBe('')
  })
  test.each([
    [0x2d, 0],
    [0x2c, 1],
  ] as const)('to integers %#', (op, chop) => {
    for (const bits of [32, 64]) {
      const rex = bits === 64 ? [0x48] : []
      expect(
        differences({
          code: [0xf3, ...rex, 0x0f, op, 0xc1],
          a: 'f32',
          compare: 'rax',
          run: toRax(() => BigInt.asUintN(bits, core.call['sseToInt32']!(core.p, core.u32(X1), bits, chop) as bigint)),
        }),
      ).toBe('')
      expect(
        differences({
          code: [0xf2, ...rex, 0x0f, op, 0xc1],
          a: 'f64',
          compare: 'rax',
          run: toRax(() => BigInt.asUintN(bits, core.call['sseToInt64']!(core.p, core.u64(X1), bits, chop) as bigint)),
        }),
      ).toBe('')
    }
  })
  test('between formats', () => {
    expect(
      differences({
        code: [0xf2, 0x0f, 0x5a, 0xc1],
        a: 'f64',
        run: scalar32(() => core.call['sseNarrow']!(core.p, core.u64(X1))),
      }),
    ).toBe('')
    expect(
      differences({
        code: [0xf3, 0x0f, 0x5a, 0xc1],
        a: 'f32',
        run: scalar64(() => core.call['sseWiden']!(core.p, core.u32(X1))),
      }),
    ).toBe('')
  })
})

describe('packed conversions', () => {
  const table: [string, number, Kind, number[]][] = [
    ['cvtdq2ps', 0x5b, 'i32', []],
    ['cvtps2dq', 0x665b, 'f32', [0x66]],
    ['cvttps2dq', 0xf35b, 'f32', [0xf3]],
    ['cvtps2pd', 0x5a, 'f32', []],
    ['cvtpd2ps', 0x665a, 'f64', [0x66]],
    ['cvtdq2pd', 0xf3e6, 'i32', [0xf3]],
    ['cvtpd2dq', 0xf2e6, 'f64', [0xf2]],
    ['cvttpd2dq', 0x66e6, 'f64', [0x66]],
  ]
  test.each(table)('%s', (_, op, a, prefix) => {
    expect(
      differences({
        code: [...prefix, 0x0f, op & 0xff, 0xc1],
        a,
        run: () => core.call['sseConvert']!(core.p, op, core.p + X0, core.p + X1),
      }),
    ).toBe('')
  })
})

describe('packed conversions with MMX', () => {
  // The oracle's MMX operand is in memory for CVTPI2xx; results in an MMX register are read from its image.
  const fromMmx: [string, number, number[]][] = [
    ['cvtpi2ps', 0x2a, []],
    ['cvtpi2pd', 0x662a, [0x66]],
  ]
  test.each(fromMmx)('%s', (_, op, prefix) => {
    const random = new Random(op),
      count = 1000,
      cases = new Cases(count)
    for (let i = 0; i < count; i++) {
      cases.init(i, [...prefix, 0x0f, 0x2a, 0x07])
      cases.view.setUint32(i * Case.SIZE + Fx.MXCSR, mxcsr(random), true)
      fill(random, cases.view, i * Case.SIZE + Case.MEM, 'i32', 2)
    }
    const native = cases.run()
    for (let i = 0; i < count; i++) {
      const at = i * Case.SIZE
      core.load(cases, i)
      core.call['sseConvert']!(core.p, op, core.p + X0, core.p + S.SCRATCH)
      expect([hex(core.bytes.subarray(core.p + X0, core.p + X0 + 16)), core.u32(S.MXCSR), core.trap()]).toEqual([
        hex(native.bytes.subarray(at + Fx.XMM, at + Fx.XMM + 16)),
        native.view.getUint32(at + Fx.MXCSR, true),
        native.view.getUint32(at + Case.TRAP, true),
      ])
    }
  })
  const toMmx: [string, number, Kind, number[]][] = [
    ['cvttps2pi', 0x2c, 'f32', []],
    ['cvtps2pi', 0x2d, 'f32', []],
    ['cvttpd2pi', 0x662c, 'f64', [0x66]],
    ['cvtpd2pi', 0x662d, 'f64', [0x66]],
  ]
  test.each(toMmx)('%s', (_, op, kind, prefix) => {
    const random = new Random(op),
      count = 1000,
      cases = new Cases(count)
    for (let i = 0; i < count; i++) {
      cases.init(i, [...prefix, 0x0f, op & 0xff, 0xc1])
      cases.view.setUint32(i * Case.SIZE + Fx.MXCSR, mxcsr(random), true)
      fill(random, cases.view, i * Case.SIZE + Fx.XMM + 16, kind, kind === 'f32' ? 4 : 2)
    }
    const native = cases.run()
    for (let i = 0; i < count; i++) {
      const at = i * Case.SIZE
      core.load(cases, i)
      core.view.setBigUint64(core.p + S.FPR, 0n, true)
      core.call['sseConvert']!(core.p, op, core.p + S.FPR, core.p + X1)
      expect([hex(core.bytes.subarray(core.p + S.FPR, core.p + S.FPR + 8)), core.u32(S.MXCSR), core.trap()]).toEqual([
        hex(native.bytes.subarray(at + Fx.ST, at + Fx.ST + 8)),
        native.view.getUint32(at + Fx.MXCSR, true),
        native.view.getUint32(at + Case.TRAP, true),
      ])
    }
  })
})

test.runIf(isIntel).each([0x53, 0x52])('approximation %i gives the digits of the host, an Intel processor', (op) => {
  const run = (): void => void core.call['sseApproximate']!(core.p, op, core.p + X0, core.p + X1)
  expect(differences({ code: [0x0f, op, 0xc1], a: 'f32', run })).toBe('')
  expect(core.u32(S.FP_FLAGS)).toBe(0)
})

test('without CR4.OSXMMEXCPT an unmasked exception is #UD', () => {
  const cases = new Cases(1)
  cases.init(0, [])
  core.load(cases, 0)
  core.view.setBigUint64(core.p + S.CR4, 0x200n, true)
  core.view.setUint32(core.p + S.MXCSR, 0x1d80, true)
  core.call['sseArith32']!(core.p, 0x5e, 0x3f800000, 0)
  expect(core.call['sseCheck']!(core.p)).toBe(1)
  expect([core.trap(), core.u32(S.MXCSR)]).toEqual([6, 0x1d84])
})

test.runIf(isIntel).each([0xff, 0xf1, 0x31, 0x7f, 0x00, 0x9c])('dot products, immediate %i', (n) => {
  expect(
    differences({
      code: [0x66, 0x0f, 0x3a, 0x40, 0xc1, n],
      a: 'f32',
      run: () => core.call['sseDot32']!(core.p, n, core.p + X0, core.p + X0, core.p + X1),
    }),
  ).toBe('')
  expect(
    differences({
      code: [0x66, 0x0f, 0x3a, 0x41, 0xc1, n],
      a: 'f64',
      run: () => core.call['sseDot64']!(core.p, n, core.p + X0, core.p + X0, core.p + X1),
    }),
  ).toBe('')
})

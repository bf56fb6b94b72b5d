/**
 * Transcendental x87 instructions: against the host's CPU to one unit of the last place, with the same exceptions, and
 * against high-precision arithmetic to 0.501.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { isIntel } from '../../../test/oracle/host.ts'
import { Core, Fx } from '../../../test/oracle/fp/oracle.ts'
import * as reference from '../../../test/oracle/fp/reference.ts'
import { Random } from '../../../test/oracle/fp/values.ts'
import { differences, fill } from '../../../test/oracle/fp/x87.ts'
import type { X87Op } from '../../../test/oracle/fp/x87.ts'
import { S } from '../layout.ts'

let core: Core
beforeAll(async () => {
  core = await Core.create()
}, 120_000)

const C1 = 0x200

function call(name: string, ...args: number[]): void {
  if (core.call['x87Fault']!(core.p) === 0) core.call[name]!(core.p, ...args)
}

/** ST(0) and ST(1) in use, ST(7) empty. */
function ready(view: DataView, at: number): void {
  fill(view, at, 1)
  const top = (view.getUint16(at + Fx.FSW, true) >> 11) & 7
  view.setUint8(at + Fx.FTW, view.getUint8(at + Fx.FTW) & ~(1 << ((top + 7) & 7)))
}

/** Exponents of ST(0) and ST(1) from `low` to `high`. */
const between =
  (low: number, high: number): X87Op['prepare'] =>
  (random: Random, view, at) => {
    ready(view, at)
    for (const i of [0, 16]) {
      const sign = random.u32() & 0x8000
      view.setUint16(at + Fx.ST + i + 8, sign | (0x3fff + low + random.below(high - low + 1)), true)
      view.setUint8(at + Fx.ST + i + 7, view.getUint8(at + Fx.ST + i + 7) | 0x80)
    }
  }

describe.each([
  ['f2xm1', 0xf0, 'x87Power', [], -70, 1],
  ['fyl2x', 0xf1, 'x87Logarithm', [0], -70, 70],
  ['fyl2xp1', 0xf9, 'x87Logarithm', [1], -70, 3],
  ['fsin', 0xfe, 'x87Sine', [0], -70, 64],
  ['fcos', 0xff, 'x87Sine', [1], -70, 64],
  ['fsincos', 0xfb, 'x87Tangent', [0], -70, 64],
  ['fptan', 0xf2, 'x87Tangent', [2], -70, 64],
  ['fpatan', 0xf3, 'x87Arctangent', [], -20, 20],
] as [string, number, string, number[], number, number][])('%s', (name, second, procedure, args, low, high) => {
  const op: X87Op = { code: [0xd9, second], ulps: 1n, ignoreStatus: C1, run: () => call(procedure, ...args) }
  test('ordinary operands', () => {
    expect(differences(core, { ...op, prepare: between(low, high) }, 2000)).toBe('')
  })
  test('near 1', () => {
    expect(differences(core, { ...op, prepare: between(-3, 2) }, 2000)).toBe('')
  })
  // AMD's processors find the sine of the smallest normal numbers too small.
  const same = isIntel || !['fsin', 'fsincos'].includes(name)
  test.runIf(same)('any operands', () => {
    expect(differences(core, { ...op, prepare: (_random, view, at) => ready(view, at) }, 1500)).toBe('')
  })
  test.runIf(same)('any state', () => {
    expect(differences(core, op, 700)).toBe('')
  })
})

/** An f80 significand and exponent as a fixed-point number of the reference. */
function exact(sign: number, e: number, m: bigint): bigint {
  const shift = reference.BITS + BigInt(e - 63)
  const value = shift < 0n ? m >> -shift : m << shift
  return sign ? -value : value
}

/** Distance of register `at` from `want` in units of its last place, times 10^6. */
function error(at: number, want: bigint): bigint {
  const s = core.view.getUint16(at + 8, true)
  const e = (s & 0x7fff) - 0x3fff
  const got = exact(s >> 15, e, core.view.getBigUint64(at, true))
  const difference = got > want ? got - want : want - got
  return (difference * 1_000_000n) >> (reference.BITS + BigInt(e - 63))
}

type Function2 = (x: bigint, y: bigint) => bigint

describe('against high precision, rounding to nearest', () => {
  const { ONE, PI } = reference
  const product = (a: bigint, b: bigint): bigint => (a * b) >> reference.BITS
  const fullAngle: Function2 = (x, y) => {
    const size = reference.angle(y < 0n ? -y : y, x < 0n ? -x : x)
    const whole = x < 0n ? PI - size : size
    return y < 0n ? -whole : whole
  }
  /** Name, arguments, function of ST(0) and ST(1), exponents of ST(0), whether ST(0) is positive. */
  const functions: [string, string, number[], Function2, number, number, boolean][] = [
    ['f2xm1', 'x87Power', [], reference.powerOf2Minus1, -80, -1, false],
    ['fyl2x', 'x87Logarithm', [0], (x, y) => product(y, reference.log2(x)), -80, 80, true],
    ['fyl2x near 1', 'x87Logarithm', [0], (x, y) => product(y, reference.log2(x)), -1, 0, true],
    ['fyl2xp1', 'x87Logarithm', [1], (x, y) => product(y, reference.log2(ONE + x)), -80, -1, false],
    ['fsin', 'x87Sine', [0], reference.sine, -80, 62, false],
    ['fcos', 'x87Sine', [1], reference.cosine, -80, 62, false],
    ['fptan', 'x87Tangent', [2], reference.tangent, -80, 62, false],
    ['fsin near 1', 'x87Sine', [0], reference.sine, -4, 4, false],
    ['fptan near 1', 'x87Tangent', [2], reference.tangent, -4, 4, false],
    ['fpatan', 'x87Arctangent', [], fullAngle, -5, 5, false],
    ['fpatan, any exponent', 'x87Arctangent', [], fullAngle, -80, 80, false],
  ]
  test.each(functions)('%s', (_, name, args, f, low, high, positive) => {
    const random = new Random(low * 1000 + high + name.length)
    const { p, view } = core
    const record = p + S.SCRATCH_RECORDS
    view.setUint32(p + S.RECORD, record, true)
    let worst = 0n
    for (let i = 0; i < 400; i++) {
      const operands = [0, 1].map((n) => ({
        sign: n === 0 && positive ? 0 : random.below(2),
        e: n === 0 ? low + random.below(high - low + 1) : random.below(12) - 6,
        m: (1n << 63n) | (random.chance(4) ? (random.u64() << 40n) & 0x7fffffffffffffffn : random.u64()),
      }))
      core.call['x87Init']!(p)
      view.setUint32(p + S.FTW, 3, true)
      operands.forEach(({ sign, e, m }, n) => {
        view.setBigUint64(p + S.FPR + n * 16, m, true)
        view.setUint16(p + S.FPR + n * 16 + 8, (sign << 15) | (e + 0x3fff), true)
      })
      core.call[name]!(p, ...args)
      const [x, y] = operands.map(({ sign, e, m }) => exact(sign, e, m)) as [bigint, bigint]
      const pops = name === 'x87Logarithm' || name === 'x87Arctangent'
      const off = error(p + S.FPR + (pops ? 16 : 0), f(x, y))
      if (off > worst) worst = off
    }
    expect(worst).toBeLessThan(501_000n)
  })
})

/** SSE conversions between floating-point formats and integers, and rounding to integral values (SDM Vol. 2). */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { addressOf, bitsOf, inexactNearest, inexactUnseen, Lanes, scalarResult, type Bits } from './sse-lanes.ts'
import { aligned, simd, wide } from './vector.ts'

const scalars = [
  ['ss', 'F3', 32, 'd'],
  ['sd', 'F2', 64, 'q'],
] as const

// ---- scalars ----------------------------------------------------------------------------------------------------

for (const [suffix, prefix, bits, size] of scalars) {
  row(`cvtsi2${suffix}`, `${prefix} 0F 2A /r`, `V${size},Ey`, (s) => {
    simd(s)
    const value = s.signed64(s.read(1), s.size)
    const fast = s.op(`f${bits}.convert_i64_s`, [value])
    if (s.size === 32 && bits === 64) {
      s.write(0, fast)
      s.tameAll(0, 64, false)
      return
    }
    // What fits the significand is exact.
    const limit = bits === 32 ? 1n << 24n : 1n << 53n
    const exact = s.leU(s.add(value, limit), 2n * limit)
    s.write(
      0,
      scalarResult(s, s.or(exact, inexactNearest(s)), fast, () => s.compute(`sseFromInt${bits}`, value)),
    )
    s.tameAll(0, bits, false)
  })
  for (const [name, opcode, chop] of [
    ['cvtt', '2C', 1],
    ['cvt', '2D', 0],
  ] as const)
    row(`${name}${suffix}2si`, `${prefix} 0F ${opcode} /r`, `Gy,W${size}`, (s) => {
      simd(s)
      const l = new Lanes(s, bits, false)
      const a = l.read(1)
      const whole = l.op(chop ? 'trunc' : 'nearest', a)
      const inRange = l.op('lt', l.op('abs', whole), l.k(2 ** (s.size - 1)))
      const unseen = s.or(l.op('eq', whole, a), chop ? inexactUnseen(s) : inexactNearest(s))
      const fast = s.op(`i64.trunc_sat_f${bits}_s`, [whole])
      s.write(
        0,
        scalarResult(s, s.and(inRange, unseen), fast, () =>
          s.compute(`sseToInt${bits}`, bitsOf(s, a), s.k32(s.size), s.k32(chop)),
        ),
      )
    })
}

row('cvtss2sd', 'F3 0F 5A /r', 'Vq,Wd', (s) => {
  simd(s)
  const l = new Lanes(s, 32, false)
  const a = l.read(1)
  s.write(
    0,
    scalarResult(s, s.floats(32, false, [[a, 1]]), s.op('f64.promote_f32', [a]), () =>
      s.compute('sseWiden', bitsOf(s, a)),
    ),
  )
  s.tameAll(1, 32, false)
  s.tameAll(0, 64, false)
})

/** Mask of the f64 lanes that become a normal f32 or a zero. */
function narrows(l: Lanes, a: Value): Value {
  const m = l.op('abs', a)
  return l.or(l.isZero(a), l.and(l.op('ge', m, l.k(2 ** -126)), l.op('lt', m, l.k(2 ** 128 - 2 ** 103))))
}
row('cvtsd2ss', 'F2 0F 5A /r', 'Vd,Wq', (s) => {
  simd(s)
  const l = new Lanes(s, 64, false)
  const a = l.read(1)
  const ok = s.and(narrows(l, a), inexactNearest(s))
  s.write(
    0,
    scalarResult(s, ok, s.op('f32.demote_f64', [a]), () => s.compute('sseNarrow', bitsOf(s, a))),
  )
  s.tameAll(0, 32, false)
})

// ---- vectors ----------------------------------------------------------------------------------------------------

/** A packed conversion's operand: its first 64 bits twice if that is all it has in memory. */
const source = (s: Semantics) => (s.operand(1).bits === 64 ? wide(s, s.read(1, 64)) : aligned(s, 1))

/** `fast` gives the result and whether it may be used. `code` is the conversion's number in `sseConvert`. */
function conversion(
  name: string,
  encoding: string,
  operand: 'Wx' | 'Wq',
  code: number,
  fast: (s: Semantics, v: Value) => [Value, Value],
): void {
  row(name, `${encoding} /r`, `Vx,${operand}`, (s) => {
    simd(s)
    const v = source(s)
    const [result, ok] = fast(s, v)
    s.if(
      ok,
      () => s.write(0, result),
      () => {
        s.attempt('sseConvert', s.k32(code), s.slotAddress(0), addressOf(s, 1, v))
      },
    )
  })
}

conversion('cvtdq2ps', 'NP 0F 5B', 'Wx', 0x5b, (s, v) => {
  const limit = (n: number) => s.op('i32x4.splat', [s.k32(n)])
  const exact = s.op('i32x4.all_true', [s.op('i32x4.le_u', [s.op('i32x4.add', [v, limit(1 << 24)]), limit(1 << 25)])])
  return [s.op('f32x4.convert_i32x4_s', [v]), s.or(exact, inexactNearest(s))]
})
row('cvtdq2pd', 'F3 0F E6 /r', 'Vx,Wq', (s) => {
  simd(s)
  s.write(0, s.op('f64x2.convert_low_i32x4_s', [source(s)]))
  s.tameAll(0, 64, true)
})
const toIntegers: [string, string, number, Bits, boolean][] = [
  ['cvtps2dq', '66 0F 5B', 0x665b, 32, false],
  ['cvttps2dq', 'F3 0F 5B', 0xf35b, 32, true],
  ['cvtpd2dq', 'F2 0F E6', 0xf2e6, 64, false],
  ['cvttpd2dq', '66 0F E6', 0x66e6, 64, true],
]
for (const [name, encoding, code, bits, chop] of toIntegers)
  conversion(name, encoding, 'Wx', code, (s, v) => {
    const l = new Lanes(s, bits, true)
    const whole = l.op(chop ? 'trunc' : 'nearest', v)
    const inRange = l.all(l.op('lt', l.op('abs', whole), l.k(2 ** 31)))
    const unseen = s.or(l.all(l.op('eq', whole, v)), chop ? inexactUnseen(s) : inexactNearest(s))
    return [
      s.op(bits === 32 ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero', [whole]),
      s.and(inRange, unseen),
    ]
  })
conversion('cvtps2pd', 'NP 0F 5A', 'Wq', 0x5a, (s, v) => {
  const l = new Lanes(s, 32, true)
  // The upper half of a register is no operand.
  const low = s.isMem(1) ? v : wide(s, s.op('i64x2.extract_lane', [v], [0]))
  return [s.op('f64x2.promote_low_f32x4', [low]), l.all(l.plain(low))]
})
conversion('cvtpd2ps', '66 0F 5A', 'Wx', 0x665a, (s, v) => {
  const l = new Lanes(s, 64, true)
  return [s.op('f32x4.demote_f64x2_zero', [v]), s.and(l.all(narrows(l, v)), inexactNearest(s))]
})

// ---- MMX --------------------------------------------------------------------------------------------------------

/** An operand in memory has nothing to do with the x87 (SDM Vol. 2A, CVTPI2PD; hardware does the same for CVTPI2PS). */
function enterUnlessMemory(s: Semantics): void {
  if (s.isMem(1)) return
  s.attempt('mmxFault')
  s.call('mmxEnter', [])
}
row('cvtpi2ps', 'NP 0F 2A /r', 'Vx,Qq', (s) => {
  simd(s)
  enterUnlessMemory(s)
  const v = s.read(1)
  s.attempt('sseConvert', s.k32(0x2a), s.slotAddress(0), addressOf(s, 1, v))
})
row('cvtpi2pd', '66 0F 2A /r', 'Vx,Qq', (s) => {
  simd(s)
  enterUnlessMemory(s)
  s.write(0, s.op('f64x2.convert_low_i32x4_s', [wide(s, s.read(1))]))
})
const RESULT = S.SCRATCH + 16
for (const [name, encoding, operand, code] of [
  ['cvttps2pi', 'NP 0F 2C', 'Wq', 0x2c],
  ['cvtps2pi', 'NP 0F 2D', 'Wq', 0x2d],
  ['cvttpd2pi', '66 0F 2C', 'Wx', 0x662c],
  ['cvtpd2pi', '66 0F 2D', 'Wx', 0x662d],
] as const)
  row(name, `${encoding} /r`, `Pq,${operand}`, (s) => {
    simd(s)
    s.attempt('mmxFault')
    const v = source(s)
    s.call('mmxEnter', [])
    s.attempt('sseConvert', s.k32(code), s.add(s.p(), RESULT), addressOf(s, 1, v))
    s.setMmx(0, s.state(RESULT, 64))
  })

// ---- rounding to integral values --------------------------------------------------------------------------------

const roundings = ['nearest', 'floor', 'ceil', 'trunc'] as const
/** The four roundings of a value, one chosen by `rc` as in MXCSR.RC. */
const rounded = (l: Lanes, a: Value, rc: Value) =>
  l.s.select(
    l.s.and(rc, 2),
    l.s.select(l.s.and(rc, 1), l.op('trunc', a), l.op('ceil', a)),
    l.s.select(l.s.and(rc, 1), l.op('floor', a), l.op('nearest', a)),
  )

const MXCSR_ROUNDING = 4
const QUIET = 8
for (const [suffix, opcode, bits, packed] of [
  ['ps', '08', 32, true],
  ['pd', '09', 64, true],
  ['ss', '0A', 32, false],
  ['sd', '0B', 64, false],
] as const)
  row(`round${suffix}`, `66 0F 3A ${opcode} /r`, packed ? 'Vx,Wx,Ib' : bits === 32 ? 'Vd,Wd,Ib' : 'Vq,Wq,Ib', (s) => {
    simd(s)
    const l = new Lanes(s, bits, packed)
    const a = l.read(1)
    const imm = s.read(2)
    const n = s.knownImmediate()
    const known = n === undefined || n & MXCSR_ROUNDING ? undefined : roundings[n & 3]
    const r = known
      ? l.op(known, a)
      : rounded(l, a, s.select(s.and(imm, MXCSR_ROUNDING), s.shr(s.state(S.MXCSR), 13), imm))
    const silent = s.or(s.or(l.all(l.op('eq', r, a)), s.ne(s.and(imm, QUIET), 0)), inexactUnseen(s))
    const ok = s.and(l.all(l.plain(a)), silent)
    if (packed)
      s.if(
        ok,
        () => s.write(0, r),
        () => {
          s.attempt(`sseRoundPacked${bits}`, imm, s.slotAddress(0), addressOf(s, 1, a))
        },
      )
    else
      s.write(
        0,
        scalarResult(s, ok, r, () => s.compute(`sseRound${bits}`, imm, bitsOf(s, a))),
      )
  })

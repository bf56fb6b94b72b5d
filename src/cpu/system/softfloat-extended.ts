/**
 * 80-bit arithmetic by the x87's rules (SDM Vol. 1 4.8.3, 8.2.2, 8.5). An operand is its significand `m` and its sign
 * and exponent `s`, a result a v128 as it lies in FPR. Exceptions gather in FP_FLAGS.
 */
import { bias, exponent, fractionBits, infinity, isDenormal, magnitude, significand, signOf } from './softfloat'
import { EQUAL, GREATER, LESS, UNORDERED } from './softfloat-compare'
import { integerFrom, invalidInteger, payload } from './softfloat-convert'
import { addFinite, cancelled, divideFinite, multiplyFinite, squareRootFinite } from './softfloat-finite'
import { DE, flag, IE, pair, PE, round, ROUNDED_UP, roundsUp, ZE } from './softfloat-round'
import { shiftRightJam } from './softfloat-wide'

export const BIAS: i32 = 16383
export const INTEGER_BIT: u64 = 1 << 63
const QUIET_BIT: u64 = 1 << 62

@inline
export function significandOf(x: v128): u64 {
  return i64x2.extract_lane(x, 0)
}

@inline
export function signExponentOf(x: v128): u32 {
  return i32x4.extract_lane(x, 2)
}

@inline
function isNormal(m: u64, s: u32): bool {
  return m >> 63 != 0 && (s + 1 & 0x7fff) > 1
}

/** Encodings that the x87 no longer supports: unnormals, pseudo-infinities, pseudo-NaNs (SDM Vol. 1 table 8-3). */
@inline
export function isUnsupported(m: u64, s: u32): bool {
  return (s & 0x7fff) != 0 && m >> 63 == 0
}

@inline
export function isNanExtended(m: u64, s: u32): bool {
  return (s & 0x7fff) == 0x7fff && m << 1 != 0
}

@inline
export function isInfinite(m: u64, s: u32): bool {
  return (s & 0x7fff) == 0x7fff && m == INTEGER_BIT
}

@inline
function isSignallingExtended(m: u64, s: u32): bool {
  return isNanExtended(m, s) && (m & QUIET_BIT) == 0
}

@inline
export function isDenormalExtended(m: u64, s: u32): bool {
  return (s & 0x7fff) == 0 && m != 0
}

@inline
export function indefiniteExtended(): v128 {
  return pair(INTEGER_BIT | QUIET_BIT, 0xffff)
}

export function invalidExtended(p: u32): v128 {
  flag(p, IE)
  return indefiniteExtended()
}

@inline
function infinityExtended(sign: u32): v128 {
  return pair(INTEGER_BIT, sign << 15 | 0x7fff)
}

@inline
function zeroExtended(sign: u32): v128 {
  return pair(0, sign << 15)
}

/** Exponent of a finite non-zero number whose significand is normalised. */
@inline
export function exponentExtended(m: u64, s: u32): i32 {
  const field = <i32>(s & 0x7fff)
  return (field == 0 ? 1 : field) - BIAS - <i32>clz(m)
}

@inline
export function normalised(m: u64): u64 {
  return m << clz(m)
}

/** Whether the result is that of `nanResult`: an operand is unsupported or a NaN. */
@inline
export function needsNan(am: u64, as: u32, bm: u64, bs: u32): bool {
  return isUnsupported(am, as) || isUnsupported(bm, bs) || isNanExtended(am, as) || isNanExtended(bm, bs)
}

/** The NaN that such operands give: the only one, else the quiet one, the larger significand, the positive one. */
export function nanResult(p: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  if (isUnsupported(am, as) || isUnsupported(bm, bs)) return invalidExtended(p)
  const aSignals = isSignallingExtended(am, as), bSignals = isSignallingExtended(bm, bs)
  if (aSignals || bSignals) flag(p, IE)
  let first: bool
  if (!isNanExtended(bm, bs)) first = true
  else if (!isNanExtended(am, as)) first = false
  else if (aSignals != bSignals) first = bSignals
  else first = am != bm ? am > bm : as < bs
  return first ? pair(am | QUIET_BIT, as) : pair(bm | QUIET_BIT, bs)
}

@inline
export function denormals(p: u32, am: u64, as: u32, bm: u64, bs: u32): void {
  if (isDenormalExtended(am, as) || isDenormalExtended(bm, bs)) flag(p, DE)
}

/** Rounds an operand to the precision of `env`. */
@inline
function rounded(p: u32, env: u32, m: u64, s: u32): v128 {
  return round<v128>(p, env, s >> 15, exponentExtended(m, s), normalised(m), 0)
}

function addSpecial(p: u32, env: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  const aInfinite = isInfinite(am, as), bInfinite = isInfinite(bm, bs)
  if (aInfinite && bInfinite && as != bs) return invalidExtended(p)
  denormals(p, am, as, bm, bs)
  if (aInfinite) return pair(am, as)
  if (bInfinite) return pair(bm, bs)
  if (bm == 0) {
    if (am == 0) return as == bs ? pair(am, as) : cancelled<v128>(env)
    return rounded(p, env, am, as)
  }
  if (am == 0) return rounded(p, env, bm, bs)
  return addFinite<v128>(
    p, env, as >> 15, exponentExtended(am, as), normalised(am), bs >> 15, exponentExtended(bm, bs), normalised(bm))
}

export function addExtended(p: u32, env: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  if (isNormal(am, as) && isNormal(bm, bs))
    return addFinite<v128>(p, env, as >> 15, (as & 0x7fff) - BIAS, am, bs >> 15, (bs & 0x7fff) - BIAS, bm)
  if (needsNan(am, as, bm, bs)) return nanResult(p, am, as, bm, bs)
  return addSpecial(p, env, am, as, bm, bs)
}

export function subtractExtended(p: u32, env: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  if (isNormal(am, as) && isNormal(bm, bs))
    return addFinite<v128>(p, env, as >> 15, (as & 0x7fff) - BIAS, am, bs >> 15 ^ 1, (bs & 0x7fff) - BIAS, bm)
  if (needsNan(am, as, bm, bs)) return nanResult(p, am, as, bm, bs)
  return addSpecial(p, env, am, as, bm, bs ^ 0x8000)
}

export function multiplyExtended(p: u32, env: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  const sign = (as ^ bs) >> 15
  if (isNormal(am, as) && isNormal(bm, bs))
    return multiplyFinite<v128>(p, env, sign, (as & 0x7fff) + (bs & 0x7fff) - 2 * BIAS, am, bm)
  if (needsNan(am, as, bm, bs)) return nanResult(p, am, as, bm, bs)
  const aInfinite = isInfinite(am, as), bInfinite = isInfinite(bm, bs)
  if ((aInfinite && bm == 0) || (bInfinite && am == 0)) return invalidExtended(p)
  denormals(p, am, as, bm, bs)
  if (aInfinite || bInfinite) return infinityExtended(sign)
  if (am == 0 || bm == 0) return zeroExtended(sign)
  return multiplyFinite<v128>(
    p, env, sign, exponentExtended(am, as) + exponentExtended(bm, bs), normalised(am), normalised(bm))
}

export function divideExtended(p: u32, env: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  const sign = (as ^ bs) >> 15
  if (isNormal(am, as) && isNormal(bm, bs))
    return divideFinite<v128>(p, env, sign, (as & 0x7fff) - (bs & 0x7fff), am, bm)
  if (needsNan(am, as, bm, bs)) return nanResult(p, am, as, bm, bs)
  const aInfinite = isInfinite(am, as), bInfinite = isInfinite(bm, bs)
  if ((aInfinite && bInfinite) || (am == 0 && bm == 0)) return invalidExtended(p)
  if (bm == 0 && !aInfinite) {
    flag(p, ZE)
    return infinityExtended(sign)
  }
  denormals(p, am, as, bm, bs)
  if (aInfinite) return infinityExtended(sign)
  if (bInfinite || am == 0) return zeroExtended(sign)
  return divideFinite<v128>(
    p, env, sign, exponentExtended(am, as) - exponentExtended(bm, bs), normalised(am), normalised(bm))
}

export function squareRootExtended(p: u32, env: u32, m: u64, s: u32): v128 {
  if (needsNan(m, s, m, s)) return nanResult(p, m, s, m, s)
  if (m == 0) return pair(m, s)
  if (s >> 15 != 0) return invalidExtended(p)
  if (isInfinite(m, s)) return pair(m, s)
  denormals(p, m, s, m, s)
  return squareRootFinite<v128>(p, env, exponentExtended(m, s), normalised(m))
}

export function compareExtended(p: u32, am: u64, as: u32, bm: u64, bs: u32, quiet: bool): i32 {
  if (isNormal(am, as) && isNormal(bm, bs)) {
    if (as == bs && am == bm) return EQUAL
    if ((as ^ bs) >> 15 != 0) return as >> 15 ? LESS : GREATER
    return (as != bs ? as < bs : am < bm) != (as >> 15 != 0) ? LESS : GREATER
  }
  if (needsNan(am, as, bm, bs)) {
    if (!quiet || isUnsupported(am, as) || isUnsupported(bm, bs) ||
      isSignallingExtended(am, as) || isSignallingExtended(bm, bs)) flag(p, IE)
    return UNORDERED
  }
  denormals(p, am, as, bm, bs)
  if ((am | bm) == 0) return EQUAL
  if (am == 0) return bs >> 15 ? GREATER : LESS
  if (bm == 0 || (as ^ bs) >> 15 != 0) return as >> 15 ? LESS : GREATER
  // Pseudo-denormals make exponent field 0 and 1 the same.
  const ae = max<u32>(as & 0x7fff, 1), be = max<u32>(bs & 0x7fff, 1)
  if (ae == be && am == bm) return EQUAL
  return (ae != be ? ae < be : am < bm) != (as >> 15 != 0) ? LESS : GREATER
}

/** FRNDINT. */
export function roundToIntegralExtended(p: u32, env: u32, m: u64, s: u32): v128 {
  if (needsNan(m, s, m, s)) return nanResult(p, m, s, m, s)
  denormals(p, m, s, m, s)
  const e = <i32>(s & 0x7fff) - BIAS
  if (m == 0 || e >= 63) return pair(m, s)
  const q = e < 0 ? 0 : m >> (63 - e)
  const rest = e < 0 ? shiftRightJam(m, -1 - e) : m << (e + 1)
  if (rest == 0) return pair(m, s)
  const up = roundsUp(env, s >> 15, (q & 1) != 0, rest)
  flag(p, up ? PE | ROUNDED_UP : PE)
  const whole = q + u64(up)
  if (whole == 0) return pair(0, s & 0x8000)
  const n = clz(whole)
  return pair(whole << n, s & 0x8000 | BIAS + 63 - <u32>n)
}

/** f32 or f64 as it is, with no exception. */
export function extend<T>(a: T): v128 {
  const field = <i32>(magnitude<T>(a) >> fractionBits<T>())
  const sign = signOf<T>(a) << 15
  if (field != 0 && field != 2 * bias<T>() + 1)
    return pair(<u64>a << (63 - fractionBits<T>()) | INTEGER_BIT, sign | field - bias<T>() + BIAS)
  if (magnitude<T>(a) == 0) return pair(0, sign)
  if (isDenormal<T>(a)) return pair(significand<T>(a), sign | exponent<T>(a) + BIAS)
  return pair(INTEGER_BIT | payload<T>(a), sign | 0x7fff)
}

export function extendInteger(value: i64): v128 {
  if (value == 0) return pair(0, 0)
  const sign: u32 = value < 0 ? 0x8000 : 0
  const m: u64 = sign ? -value : value
  const n = clz(m)
  return pair(m << n, sign | BIAS + 63 - <u32>n)
}

/** To f32 or f64 for FST. */
export function narrow<T>(p: u32, env: u32, m: u64, s: u32): T {
  const sign = <T>(s >> 15) << (sizeof<T>() * 8 - 1)
  if (isNormal(m, s)) return round<T>(p, env, s >> 15, (s & 0x7fff) - BIAS, m, 0)
  if (isUnsupported(m, s)) {
    flag(p, IE)
    return <T>1 << (sizeof<T>() * 8 - 1) | infinity<T>() | <T>1 << (fractionBits<T>() - 1)
  }
  if (isNanExtended(m, s)) {
    if (isSignallingExtended(m, s)) flag(p, IE)
    return sign | infinity<T>() | <T>((m | QUIET_BIT) << 1 >> (64 - fractionBits<T>()))
  }
  if ((s & 0x7fff) == 0x7fff) return sign | infinity<T>()
  if (m == 0) return sign
  return round<T>(p, env, s >> 15, exponentExtended(m, s), normalised(m), 0)
}

/** To a signed integer of `bits` bits for FIST. */
export function integerOf(p: u32, env: u32, m: u64, s: u32, bits: u32): i64 {
  if (isUnsupported(m, s) || (s & 0x7fff) == 0x7fff) return invalidInteger(p, bits)
  if (m == 0) return 0
  return integerFrom(p, env, s >> 15, exponentExtended(m, s), normalised(m), bits)
}

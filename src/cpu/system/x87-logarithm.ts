/**
 * F2XM1, FYL2X and FYL2XP1 (SDM Vol. 1 8.3.8 to 8.3.11): computed to more than 110 bits and rounded once, so within
 * 0.51 units of the last place.
 */
import {
  BIAS, denormals, exponentExtended, extendInteger, INTEGER_BIT, invalidExtended, isInfinite, multiplyExtended,
  nanResult, needsNan, normalised, signExponentOf, significandOf,
} from './softfloat-extended'
import { flag, pair, PE, ZE } from './softfloat-round'
import {
  addWide, high, isZeroWide, leadingZeros, lessWide, low, markInexact, multiplyWide, quotientWide, roundWide,
  shiftLeftWide, shiftRightWide, subtractWide,
} from './x87-fixed'
import { fullEnv } from './x87-remainder'
import { exponentialSeries, logarithmSeries } from './x87-series'
import { begin, finish, isEmpty, NO_OPERAND, pop, registerAt, stackFault, writeIndefinite } from './x87-stack'

/** F2XM1: ST(0) = 2^ST(0) - 1. Beyond -1 to 1, where the result is undefined, it is the operand. */
export function x87Power(p: u32): void {
  begin(p)
  if (isEmpty(p, 0)) {
    if (stackFault(p, 0, NO_OPERAND)) writeIndefinite(p, 0)
    return
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8), sign = s >> 15
  const e = exponentExtended(m, s)
  let result = pair(m, s)
  if (needsNan(m, s, m, s)) result = nanResult(p, m, s, m, s)
  else if (isInfinite(m, s)) {
    if (sign) result = pair(INTEGER_BIT, 0x8000 | BIAS)
  } else if (m != 0) {
    denormals(p, m, s, m, s)
    flag(p, PE)
    if (e < 0) {
      const x = pair(0, normalised(m))
      result = roundWide(p, sign, e, multiplyWide(x, exponentialSeries(shiftRightWide(x, -1 - e), sign != 0)))
    } else if (sign && e == 0 && m == INTEGER_BIT) result = pair(INTEGER_BIT, 0x8000 | BIAS - 1)
  }
  finish(p, a, result, 0, NO_OPERAND)
}

/** y * (whole + (-1)^sign * 4 s L(s^2)), where s = q * 2^(e - 127) and y = ym * 2^(ye - 63). */
function scaledLogarithm(p: u32, ySign: u32, ye: i32, ym: u64, whole: i32, sign: u32, e: i32, q: v128): v128 {
  const fixed = shiftRightWide(q, -1 - e)
  let value = multiplyWide(q, logarithmSeries(multiplyWide(fixed, fixed)))
  e += 2
  if (whole != 0) {
    // In units of 2^-112.
    const integer = pair(0, <u64>abs(whole) << 48)
    value = shiftRightWide(value, 15 - e)
    const negative = u32(whole < 0)
    value = negative == sign ? addWide(integer, value) : subtractWide(integer, value)
    sign = negative
    e = 15
  }
  const n = leadingZeros(value)
  return roundWide(p, sign ^ ySign, e - n + ye + 1, multiplyWide(shiftLeftWide(value, n), pair(0, ym)))
}

/** y * log2(w * 2^(e - 127)), where `w` has bit 127. */
function logarithm(p: u32, ym: u64, ys: u32, w: v128, e: i32): v128 {
  const sign = ys >> 15, ye = exponentExtended(ym, ys)
  let whole = e, negative: u32 = 0, n: v128
  if (high(w) > 0xb504f333f9de6484) {
    // Above sqrt(2): less than 1, after halving.
    whole++
    negative = 1
    n = subtractWide(pair(0, 0), w)
  } else n = pair(low(w), high(w) & ~INTEGER_BIT)
  if (isZeroWide(n)) {
    // A power of two: the product may be exact.
    const k = extendInteger(whole)
    return markInexact(p, multiplyExtended(p, fullEnv(p), ym, ys, significandOf(k), signExponentOf(k)))
  }
  const d = addWide(shiftRightWide(w, 1), pair(0, negative ? INTEGER_BIT : INTEGER_BIT >> 1))
  const zeros = leadingZeros(n)
  n = shiftLeftWide(n, zeros)
  let se = -2 - <i32>zeros
  if (!lessWide(n, d)) {
    n = shiftRightWide(n, 1)
    se++
  }
  return scaledLogarithm(p, sign, ye, normalised(ym), whole, negative, se, quotientWide(n, d))
}

/** FYL2X for x and y neither NaN nor unsupported. */
function productWithLogarithm(p: u32, ym: u64, ys: u32, xm: u64, xs: u32): v128 {
  const sign = ys >> 15
  if (xm == 0) {
    if (ym == 0) return invalidExtended(p)
    if (!isInfinite(ym, ys)) flag(p, ZE)
    return pair(INTEGER_BIT, (sign ^ 1) << 15 | 0x7fff)
  }
  if (xs >> 15) return invalidExtended(p)
  const e = exponentExtended(xm, xs), m = normalised(xm)
  const one = e == 0 && m == INTEGER_BIT
  const infinite = isInfinite(xm, xs)
  if (isInfinite(ym, ys) ? one : infinite && ym == 0) return invalidExtended(p)
  denormals(p, ym, ys, xm, xs)
  const below = u32(e < 0)
  if (infinite || isInfinite(ym, ys)) return pair(INTEGER_BIT, (sign ^ below) << 15 | 0x7fff)
  if (ym == 0 || one) return pair(0, (sign ^ below) << 15)
  return logarithm(p, ym, ys, pair(0, m), e)
}

/** FYL2XP1 likewise. It also works beyond the range that the SDM gives; from -1 down the result is x. */
function productWithLogarithm1(p: u32, ym: u64, ys: u32, xm: u64, xs: u32): v128 {
  const xSign = xs >> 15, sign = ys >> 15
  if (isInfinite(xm, xs) && (xSign || ym == 0)) return invalidExtended(p)
  if (xm == 0 && isInfinite(ym, ys)) return invalidExtended(p)
  denormals(p, ym, ys, xm, xs)
  if (isInfinite(xm, xs) || isInfinite(ym, ys)) return pair(INTEGER_BIT, (xSign ^ sign) << 15 | 0x7fff)
  if (xm == 0 || ym == 0) return pair(0, (xSign ^ sign) << 15)
  const e = exponentExtended(xm, xs), m = normalised(xm)
  if (xSign && e >= 0) {
    flag(p, PE)
    return pair(xm, xs)
  }
  if (e > -3) {
    // 1 + x as it is, but for bits that do not count.
    let w: v128, we = max(e, 0)
    const x = shiftRightWide(pair(0, m), we - e), unit = shiftRightWide(pair(0, INTEGER_BIT), we)
    if (xSign) w = subtractWide(unit, x)
    else {
      w = addWide(x, unit)
      if (lessWide(w, x)) {
        w = addWide(shiftRightWide(w, 1), pair(0, INTEGER_BIT))
        we++
      }
    }
    const n = leadingZeros(w)
    return logarithm(p, ym, ys, shiftLeftWide(w, n), we - n)
  }
  // s = x / (2 + x); the divisor in units of 2^-126, or of 2^-127 below 2.
  let n = pair(0, m), d = shiftRightWide(n, 1 - e), se = e - 2
  if (xSign) {
    d = subtractWide(pair(0, INTEGER_BIT), d)
    if (high(d) >> 63 == 0) {
      d = shiftLeftWide(d, 1)
      se++
    }
  } else d = addWide(pair(0, INTEGER_BIT), d)
  if (!lessWide(n, d)) {
    n = shiftRightWide(n, 1)
    se++
  }
  return scaledLogarithm(p, sign, exponentExtended(ym, ys), normalised(ym), 0, xSign, se, quotientWide(n, d))
}

/** FYL2X: ST(1) = ST(1) * log2(ST(0)), or FYL2XP1 (`plus` 1): log2(ST(0) + 1); then pop. */
export function x87Logarithm(p: u32, plus: i32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, 1)) {
    if (!stackFault(p, 0, NO_OPERAND)) return
    writeIndefinite(p, 1)
    pop(p)
    return
  }
  const a = registerAt(p, 0), b = registerAt(p, 1)
  const xm = load<u64>(a), xs = <u32>load<u16>(a + 8), ym = load<u64>(b), ys = <u32>load<u16>(b + 8)
  let result: v128
  if (needsNan(xm, xs, ym, ys)) result = nanResult(p, xm, xs, ym, ys)
  else if (plus) result = productWithLogarithm1(p, ym, ys, xm, xs)
  else result = productWithLogarithm(p, ym, ys, xm, xs)
  finish(p, b, result, 1, NO_OPERAND)
}

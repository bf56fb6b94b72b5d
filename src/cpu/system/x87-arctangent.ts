/** FPATAN (SDM Vol. 2): computed to more than 110 bits and rounded once. */
import { denormals, exponentExtended, isInfinite, nanResult, needsNan, normalised } from './softfloat-extended'
import { pair } from './softfloat-round'
import {
  addWide, high, isZeroWide, leadingZeros, lessWide, low, multiplyWide, quotientWide, roundWide, shiftLeftWide,
  shiftRightWide, subtractWide,
} from './x87-fixed'
import { arctangentOfEighths, arctangentSeries } from './x87-series'
import { multiplyHigh } from './softfloat-wide'
import { begin, finish, isEmpty, NO_OPERAND, pop, registerAt, stackFault, writeIndefinite } from './x87-stack'

/** pi, here and below in units of 2^-126. */
@inline
function pi(): v128 {
  return pair(0xc4c6628b80dc1cd1, 0xc90fdaa22168c234)
}

/** (-1)^sign * v. */
@inline
function angle(p: u32, sign: u32, v: v128): v128 {
  return roundWide(p, sign, 1, v)
}

@inline
function times(a: v128, k: u64): v128 {
  return pair(low(a) * k, high(a) * k + multiplyHigh(low(a), k))
}

/** The angle, less than pi, of a point whose coordinates are finite and not 0. */
function angleOf(p: u32, ym: u64, ys: u32, xm: u64, xs: u32): v128 {
  const sign = ys >> 15, left = xs >> 15 != 0
  let big = normalised(xm), small = normalised(ym)
  let distance = exponentExtended(xm, xs) - exponentExtended(ym, ys)
  const steep = distance < 0 || (distance == 0 && small > big)
  if (steep) {
    distance = -distance
    const other = big
    big = small
    small = other
  }

  // atan(t) = atan(k / 8) + atan(u), where u = (t - k / 8) / (1 + t * k / 8) is at most 1 / 16.
  const k: u32 = distance > 5 ? 0 : <u32>(<f64>small / <f64>big * 8.0 / <f64>(1 << distance) + 0.5)
  let n = pair(0, small), d = pair(0, big), e = -1 - distance, below = false
  if (k != 0) {
    const b = shiftRightWide(d, 12), s = shiftRightWide(n, 12 + distance)
    const kb = times(b, k)
    n = shiftLeftWide(s, 3)
    below = lessWide(n, kb)
    n = below ? subtractWide(kb, n) : subtractWide(n, kb)
    d = addWide(shiftLeftWide(b, 3), times(s, k))
    const zeros = leadingZeros(d)
    d = shiftLeftWide(d, zeros)
    e = <i32>zeros - 1
    if (!isZeroWide(n)) {
      e -= leadingZeros(n)
      n = shiftLeftWide(n, leadingZeros(n))
    }
  }
  if (!lessWide(n, d)) {
    n = shiftRightWide(n, 1)
    e++
  }
  const u = quotientWide(n, d)
  const fixed = shiftRightWide(u, -1 - e)
  const rest = multiplyWide(u, arctangentSeries(multiplyWide(fixed, fixed)))
  if (k == 0 && !steep && !left) return roundWide(p, sign, e, rest)

  let a = shiftRightWide(rest, 1 - e)
  const eighths = arctangentOfEighths(k)
  a = below ? subtractWide(eighths, a) : addWide(eighths, a)
  if (steep) {
    const quarter = shiftRightWide(pi(), 1)
    a = left ? addWide(quarter, a) : subtractWide(quarter, a)
  } else if (left) a = subtractWide(pi(), a)
  return angle(p, sign, a)
}

/** FPATAN: ST(1) = the angle of the point (ST(0), ST(1)), then pop. */
export function x87Arctangent(p: u32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, 1)) {
    if (!stackFault(p, 0, NO_OPERAND)) return
    writeIndefinite(p, 1)
    pop(p)
    return
  }
  const a = registerAt(p, 0), b = registerAt(p, 1)
  const xm = load<u64>(a), xs = <u32>load<u16>(a + 8), ym = load<u64>(b), ys = <u32>load<u16>(b + 8)
  const sign = ys >> 15, left = xs >> 15 != 0
  const xInfinite = isInfinite(xm, xs), yInfinite = isInfinite(ym, ys)
  let result: v128
  if (needsNan(xm, xs, ym, ys)) result = nanResult(p, xm, xs, ym, ys)
  else {
    denormals(p, xm, xs, ym, ys)
    const half = shiftRightWide(pi(), 1)
    if (xInfinite && yInfinite) {
      const quarter = shiftRightWide(pi(), 2)
      result = angle(p, sign, left ? addWide(half, quarter) : quarter)
    } else if (xInfinite || ym == 0) result = left ? angle(p, sign, pi()) : pair(0, sign << 15)
    else if (yInfinite || xm == 0) result = angle(p, sign, half)
    else result = angleOf(p, ym, ys, xm, xs)
  }
  finish(p, b, result, 1, NO_OPERAND)
}

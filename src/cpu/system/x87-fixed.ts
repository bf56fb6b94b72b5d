/** 128-bit arithmetic for the transcendental instructions: a v128 holds an unsigned number, low word first. */
import { ENV_EXTENDED, flag, pair, PE, round, UE, x87Env } from './softfloat-round'
import { divideWide, multiplyHigh } from './softfloat-wide'

@inline
export function high(a: v128): u64 {
  return i64x2.extract_lane(a, 1)
}

@inline
export function low(a: v128): u64 {
  return i64x2.extract_lane(a, 0)
}

export function addWide(a: v128, b: v128): v128 {
  const sum = low(a) + low(b)
  return pair(sum, high(a) + high(b) + u64(sum < low(a)))
}

export function subtractWide(a: v128, b: v128): v128 {
  const difference = low(a) - low(b)
  return pair(difference, high(a) - high(b) - u64(low(a) < low(b)))
}

@inline
export function lessWide(a: v128, b: v128): bool {
  return high(a) < high(b) || (high(a) == high(b) && low(a) < low(b))
}

@inline
export function isZeroWide(a: v128): bool {
  return (high(a) | low(a)) == 0
}

@inline
export function leadingZeros(a: v128): u32 {
  return <u32>(high(a) != 0 ? clz(high(a)) : 64 + clz(low(a)))
}

export function shiftLeftWide(a: v128, n: u32): v128 {
  if (n == 0) return a
  if (n < 64) return pair(low(a) << n, high(a) << n | low(a) >> (64 - n))
  return pair(0, n < 128 ? low(a) << (n - 64) : 0)
}

export function shiftRightWide(a: v128, n: u32): v128 {
  if (n == 0) return a
  if (n < 64) return pair(low(a) >> n | high(a) << (64 - n), high(a) >> n)
  return pair(n < 128 ? high(a) >> (n - 64) : 0, 0)
}

/** a * b / 2^128, up to two units too small. */
export function multiplyWide(a: v128, b: v128): v128 {
  const first = multiplyHigh(high(a), low(b)), second = multiplyHigh(low(a), high(b))
  let l = high(a) * high(b) + first
  let h = multiplyHigh(high(a), high(b)) + u64(l < first)
  l += second
  h += u64(l < second)
  return pair(l, h)
}

/** One 64-bit digit of a quotient: `(rest << 64) / d`, where `rest` < `d` and `d` has bit 127. */
function digitWide(rest: v128, d: v128): u64 {
  // An estimate from the upper digit of the divisor; it is at most two too large (Knuth, Vol. 2 4.3.1).
  let q: u64 = high(rest) >= high(d) ? -1 : divideWide(high(rest), low(rest), high(d))
  for (;;) {
    // q * d as three digits against rest << 64
    const l = q * low(d)
    const carry = multiplyHigh(q, low(d))
    const m = q * high(d) + carry
    const h = multiplyHigh(q, high(d)) + u64(m < carry)
    if (h < high(rest) || (h == high(rest) && (m < low(rest) || (m == low(rest) && l == 0)))) return q
    q--
  }
  return q
}

/** a * 2^128 / d, where `a` < `d` and `d` has bit 127. */
export function quotientWide(a: v128, d: v128): v128 {
  const first = digitWide(a, d)
  const l = first * low(d)
  const m = first * high(d) + multiplyHigh(first, low(d))
  return pair(digitWide(subtractWide(pair(0, low(a)), pair(l, m)), d), first)
}

/** A result that is exact, or all but exact, marked inexact all the same, as hardware does. */
export function markInexact(p: u32, result: v128): v128 {
  flag(p, (i32x4.extract_lane(result, 2) & 0x7fff) == 0 ? PE | UE : PE)
  return result
}

/** Rounds (-1)^sign * v * 2^(e - 127), which is inexact, as RC says; precision control does not apply. */
export function roundWide(p: u32, sign: u32, e: i32, v: v128): v128 {
  const n = leadingZeros(v)
  const x = shiftLeftWide(v, n)
  return round<v128>(p, x87Env(p) & 0xff | ENV_EXTENDED, sign, e - n, high(x), low(x) | 1)
}

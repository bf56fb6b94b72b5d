/**
 * Arithmetic on finite non-zero numbers, one definition for all formats. An operand is sign, exponent and significand:
 * (-1)^s * m * 2^(e - 63), where `m` has bit 63. T is the result's format (see softfloat-round).
 */
import { DOWN, ENV_RC, pair, round } from './softfloat-round'
import { divideWide, multiplyHigh, shiftRightJamLow, squareRootWide } from './softfloat-wide'

@inline
function zero<T>(sign: u32): T {
  if (isVector<T>()) return pair(0, sign << 15) as T
  return <T>sign << (sizeof<T>() * 8 - 1)
}

/** The sum of operands of opposite sign that cancel, and of zeros of opposite sign. */
@inline
export function cancelled<T>(env: u32): T {
  return zero<T>(u32((env & ENV_RC) == DOWN))
}

export function addFinite<T>(p: u32, env: u32, sa: u32, ea: i32, ma: u64, sb: u32, eb: i32, mb: u64): T {
  if (ea < eb || (ea == eb && ma < mb)) {
    const s = sa, e = ea, m = ma
    sa = sb
    ea = eb
    ma = mb
    sb = s
    eb = e
    mb = m
  }
  const distance = ea - eb
  let hi = distance < 64 ? mb >> distance : 0
  let lo = shiftRightJamLow(mb, 0, distance)
  if (sa == sb) {
    hi += ma
    if (hi < ma) {
      lo = lo >> 1 | lo & 1 | hi << 63
      hi = hi >> 1 | 1 << 63
      ea++
    }
  } else {
    hi = ma - hi - u64(lo != 0)
    lo = -lo
    if (hi == 0) {
      if (lo == 0) return cancelled<T>(env)
      hi = lo
      lo = 0
      ea -= 64
    }
    const n = clz(hi)
    if (n != 0) {
      hi = hi << n | lo >> (64 - n)
      lo <<= n
      ea -= <i32>n
    }
  }
  return round<T>(p, env, sa, ea, hi, lo)
}

export function multiplyFinite<T>(p: u32, env: u32, sign: u32, e: i32, ma: u64, mb: u64): T {
  let hi = multiplyHigh(ma, mb), lo = ma * mb
  if (hi >> 63 != 0) e++
  else {
    hi = hi << 1 | lo >> 63
    lo <<= 1
  }
  return round<T>(p, env, sign, e, hi, lo)
}

export function divideFinite<T>(p: u32, env: u32, sign: u32, e: i32, ma: u64, mb: u64): T {
  let hi = ma, lo: u64 = 0
  if (ma >= mb) {
    hi = ma >> 1
    lo = ma << 63
  } else e--
  const q = divideWide(hi, lo, mb)
  const r = lo - q * mb
  // The next quotient bit and whether anything follows; r == mb / 2 cannot be for a quotient of 64 bits.
  return round<T>(p, env, sign, e, q, r == 0 ? 0 : r >= mb - r ? (1 << 63) | 1 : 1)
}

export function squareRootFinite<T>(p: u32, env: u32, e: i32, m: u64): T {
  // An even exponent leaves m in the upper word, an odd one needs it doubled: shift right by one and count it.
  const odd = e & 1
  const hi = odd ? m : m >> 1
  const lo: u64 = odd ? 0 : m << 63
  const r = squareRootWide(hi, lo)
  const square = r * r
  const exact = square == lo && multiplyHigh(r, r) == hi
  // (r + 1/2)^2 = r^2 + r + 1/4
  const restLow = lo - square
  const restHigh = hi - multiplyHigh(r, r) - u64(restLow > lo)
  const above = restHigh != 0 || restLow > r
  return round<T>(p, env, 0, (e - odd) >> 1, r, exact ? 0 : above ? (1 << 63) | 1 : 1)
}

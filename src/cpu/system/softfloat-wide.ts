/** 128-bit integer steps under the floating-point procedures. */

/** High word of the product; the low one is `a * b`. */
@inline
export function multiplyHigh(a: u64, b: u64): u64 {
  const al = a & 0xffffffff, ah = a >> 32, bl = b & 0xffffffff, bh = b >> 32
  const cross = al * bh
  const middle = (al * bl >> 32) + (cross & 0xffffffff) + ah * bl
  return ah * bh + (cross >> 32) + (middle >> 32)
}

/** One 32-bit digit of a quotient: `(n << 32 | next) / d`, where `n < d` and `d` has bit 63. */
@inline
function digit(n: u64, next: u64, d: u64): u64 {
  const dh = d >> 32, dl = d & 0xffffffff
  let q = n / dh, r = n - q * dh
  while (q >> 32 != 0 || q * dl > (r << 32 | next)) {
    q--
    r += dh
    if (r >> 32 != 0) break
  }
  return q
}

/** `(hi << 64 | lo) / d`, where `hi < d` and `d` has bit 63. The remainder is `lo - quotient * d` (modulo 2^64). */
export function divideWide(hi: u64, lo: u64, d: u64): u64 {
  const high = digit(hi, lo >> 32, d)
  const rest = (hi << 32 | lo >> 32) - high * d
  return high << 32 | digit(rest, lo & 0xffffffff, d)
}

/** Integer square root of `hi << 64 | lo`, where `hi` has bit 63 or 62. */
export function squareRootWide(hi: u64, lo: u64): u64 {
  // The host's square root gives 52 good bits, one Newton step the rest.
  const estimate = Math.sqrt(<f64>hi) * 4294967296.0
  let r: u64 = estimate >= 18446744073709551615.0 ? 0xffffffffffffffff : <u64>estimate
  let low = lo - r * r
  let high = <i64>(hi - multiplyHigh(r, r) - u64(low > lo))
  r += <i64>Math.floor((<f64>high * 18446744073709551616.0 + <f64>low) / (<f64>r * 2.0))
  low = lo - r * r
  high = <i64>(hi - multiplyHigh(r, r) - u64(low > lo))
  while (high < 0) {
    r--
    const step = r << 1 | 1
    low += step
    high += i64(r >> 63) + i64(low < step)
  }
  while (high > <i64>(r >> 63) || (high == <i64>(r >> 63) && low > r << 1)) {
    const old = low, step = r << 1 | 1
    low -= step
    high -= i64(r >> 63) + i64(low > old)
    r++
  }
  return r
}

/** `value >> count` with the lost bits ORed into bit 0; `count` may be any number from 0. */
@inline
export function shiftRightJam(value: u64, count: u32): u64 {
  if (count == 0) return value
  if (count > 63) return u64(value != 0)
  return value >> count | u64(value << (64 - count) != 0)
}

/** Low word of `(hi << 64 | lo) >> count` with the lost bits ORed into bit 0. */
export function shiftRightJamLow(hi: u64, lo: u64, count: u32): u64 {
  if (count == 0) return lo
  if (count < 64) return hi << (64 - count) | lo >> count | u64(lo << (64 - count) != 0)
  if (count == 64) return hi | u64(lo != 0)
  return shiftRightJam(hi, count - 64) | u64(lo != 0)
}

/**
 * Rounding to the three formats: f32 and f64 as bits in u32 and u64, f80 as a v128 as it lies in FPR (lane 0 the
 * significand, lane 1 sign and exponent). What all finite arithmetic ends in.
 *
 * Exceptions gather in FP_FLAGS, in the order of MXCSR and FSW (SDM Vol. 1 4.9.1, 8.5, 11.5.2). Tininess is detected
 * after rounding.
 */
import { FCW, FP_FLAGS, MXCSR } from './layout'
import { shiftRightJam, shiftRightJamLow } from './softfloat-wide'

export const IE: u32 = 1
export const DE: u32 = 2
export const ZE: u32 = 4
export const OE: u32 = 8
export const UE: u32 = 16
export const PE: u32 = 32
/** The magnitude was rounded up: the x87's C1, in its place in FSW. */
export const ROUNDED_UP: u32 = 0x200

/** The environment of an operation, one word: rounding control in bits 0-1, then these, precision in bits 8-15. */
export const NEAREST: u32 = 0
export const DOWN: u32 = 1
export const UP: u32 = 2
export const CHOP: u32 = 3
export const ENV_RC: u32 = 3
export const ENV_DAZ: u32 = 4
const ENV_FTZ: u32 = 8 // only where underflow is masked
const ENV_UNMASKED_UE: u32 = 16
const ENV_UNMASKED_OE: u32 = 32
export const ENV_EXTENDED: u32 = 64 << 8 // full x87 precision

@inline
export function flag(p: u32, bits: u32): void {
  store<u32>(p + FP_FLAGS, load<u32>(p + FP_FLAGS) | bits)
}

/** The environment that MXCSR asks for. */
export function sseEnv(p: u32): u32 {
  const m = load<u32>(p + MXCSR)
  const underflowMasked = m >> 11 & 1
  return m >> 13 & 3 | (m >> 6 & 1) << 2 | (m >> 15 & underflowMasked) << 3 | (underflowMasked ^ 1) << 4 |
    (m >> 5 & 32 ^ 32)
}

/** The environment that FCW asks for. The reserved precision 01 acts as full precision. */
export function x87Env(p: u32): u32 {
  const c = load<u32>(p + FCW)
  const pc = c >> 8 & 3
  const precision: u32 = pc == 0 ? 24 : pc == 2 ? 53 : 64
  return c >> 10 & 3 | (c & 16 ^ 16) | (c << 2 & 32 ^ 32) | precision << 8
}

/** Whether to add one unit to a magnitude whose last bit is `odd` and whose remainder is `rest` / 2^64. */
@inline
export function roundsUp(env: u32, sign: u32, odd: bool, rest: u64): bool {
  const rc = env & ENV_RC
  if (rc == NEAREST) return rest > 1 << 63 || (rest == 1 << 63 && odd)
  return rest != 0 && rc == (sign ? DOWN : UP)
}

/** Whether overflow gives infinity, not the largest finite number. */
@inline
function overflowsToInfinity(env: u32, sign: u32): bool {
  const rc = env & ENV_RC
  return rc == NEAREST || rc == (sign ? DOWN : UP)
}

@inline
export function pair(lo: u64, hi: u64): v128 {
  return i64x2.replace_lane(i64x2.splat(lo), 1, hi)
}

@inline
function signBit<T>(sign: u32): T {
  return <T>sign << (sizeof<T>() * 8 - 1)
}

/** Rounds (-1)^sign * m * 2^(e - 63), where `m` has bit 63 and its bit 0 stands for all that is below. */
function roundInterchange<T>(p: u32, env: u32, sign: u32, e: i32, m: u64): T {
  const precision: u32 = sizeof<T>() == 4 ? 24 : 53
  const largest: i32 = sizeof<T>() == 4 ? 127 : 1023
  const smallest: i32 = 1 - largest
  const implicit: u64 = 1 << (precision - 1)
  let q = m >> (64 - precision)
  let rest = m << precision
  let up = roundsUp(env, sign, (q & 1) != 0, rest)

  if (e < smallest) {
    const tiny = e < smallest - 1 || !up || q != (implicit << 1) - 1
    if (tiny && (env & ENV_FTZ) != 0) {
      flag(p, UE | PE)
      return signBit<T>(sign)
    }
    if (tiny && (env & ENV_UNMASKED_UE) != 0) {
      // No result: PE tells whether it would be inexact with an unbounded exponent.
      flag(p, rest != 0 ? UE | PE : UE)
      return signBit<T>(sign)
    }
    m = shiftRightJam(m, smallest - e)
    q = m >> (64 - precision)
    rest = m << precision
    up = roundsUp(env, sign, (q & 1) != 0, rest)
    if (rest != 0) flag(p, PE | (tiny ? UE : 0) | (up ? ROUNDED_UP : 0))
    return signBit<T>(sign) | <T>(q + u64(up)) // a carry makes the smallest normal number
  }

  q += u64(up)
  if (q == implicit << 1) {
    q = implicit
    e++
  }
  if (e > largest) {
    if (overflowsToInfinity(env, sign)) {
      // With OE unmasked PE again speaks of an unbounded exponent.
      flag(p, (env & ENV_UNMASKED_OE) != 0 && rest == 0 ? OE : OE | PE | ROUNDED_UP)
      return signBit<T>(sign) | <T>(<u64>(2 * largest + 1) << (precision - 1))
    }
    flag(p, (env & ENV_UNMASKED_OE) != 0 && rest == 0 ? OE : OE | PE)
    return signBit<T>(sign) | <T>((<u64>(2 * largest + 1) << (precision - 1)) - 1)
  }
  if (rest != 0) flag(p, up ? PE | ROUNDED_UP : PE)
  return signBit<T>(sign) | <T>((<u64>(e + largest) << (precision - 1)) + (q - implicit))
}

/** Exponent by which the x87 scales the result of an unmasked overflow or underflow (SDM Vol. 1 8.5.4, 8.5.5). */
const WRAP: i32 = 24576

/** Rounds (-1)^sign * (hi + lo / 2^64) * 2^(e - 63) to f80 at the precision of `env`; `hi` has bit 63. */
function roundExtended(p: u32, env: u32, sign: u32, e: i32, hi: u64, lo: u64): v128 {
  const precision = env >> 8
  const unit: u64 = 1 << (64 - precision)
  let q = hi, rest = lo
  if (precision != 64) {
    q = hi & -unit
    rest = hi << precision | u64(lo != 0)
  }
  let up = roundsUp(env, sign, (q & unit) != 0, rest)

  if (e < -16382) {
    const tiny = e < -16383 || !up || q != -unit
    if (tiny && (env & ENV_UNMASKED_UE) != 0) {
      flag(p, UE)
      e += WRAP
      if (e < -16382) {
        // Beyond what scaling can bring back.
        flag(p, PE)
        return pair(0, sign << 15)
      }
    } else {
      const count = -16382 - e
      lo = shiftRightJamLow(hi, lo, count)
      hi = count < 64 ? hi >> count : 0
      q = hi
      rest = lo
      if (precision != 64) {
        q = hi & -unit
        rest = hi << precision | u64(lo != 0)
      }
      up = roundsUp(env, sign, (q & unit) != 0, rest)
      if (rest != 0) flag(p, PE | (tiny ? UE : 0) | (up ? ROUNDED_UP : 0))
      if (up) q += unit
      return pair(q, sign << 15 | u32(q >> 63))
    }
  }

  if (up) {
    q += unit
    if (q == 0) {
      q = 1 << 63
      e++
    }
  }
  if (e > 16383) {
    if ((env & ENV_UNMASKED_OE) != 0 && e - WRAP <= 16383) {
      flag(p, OE)
      e -= WRAP
    } else {
      // Beyond what scaling can bring back the rounding mode does not matter.
      if ((env & ENV_UNMASKED_OE) != 0 || overflowsToInfinity(env, sign)) {
        flag(p, OE | PE | ROUNDED_UP)
        return pair(1 << 63, sign << 15 | 0x7fff)
      }
      flag(p, OE | PE)
      return pair(-unit, sign << 15 | 0x7ffe)
    }
  }
  if (rest != 0) flag(p, up ? PE | ROUNDED_UP : PE)
  return pair(q, sign << 15 | (e + 16383))
}

/** The format-independent end of an operation: T is u32, u64 or v128. */
@inline
export function round<T>(p: u32, env: u32, sign: u32, e: i32, hi: u64, lo: u64): T {
  if (isVector<T>()) return roundExtended(p, env, sign, e, hi, lo) as T
  return roundInterchange<T>(p, env, sign, e, hi | u64(lo != 0))
}

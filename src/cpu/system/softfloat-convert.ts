/** Conversions between f32, f64 and integers, and rounding to an integral value; T is u32 or u64. */
import {
  bias, exponent, fractionBits, infinity, isDenormal, isNan, isSignalling, magnitude, operand, quieted, significand,
  signMask, signOf,
} from './softfloat'
import { CHOP, ENV_DAZ, ENV_RC, flag, IE, PE, round, ROUNDED_UP, roundsUp } from './softfloat-round'
import { shiftRightJam } from './softfloat-wide'

/** A signed integer as a floating-point number. */
export function fromInteger<T>(p: u32, env: u32, value: i64): T {
  if (value == 0) return <T>0
  const sign = u32(value < 0)
  const m: u64 = sign ? -value : value
  const n = <u32>clz(m)
  return round<T>(p, env, sign, 63 - n, m << n, 0)
}

/** The integer indefinite of `bits` bits, sign-extended, for whatever does not fit. */
@inline
export function invalidInteger(p: u32, bits: u32): i64 {
  flag(p, IE)
  return <i64>-1 << (bits - 1)
}

/** (-1)^sign * m * 2^(e - 63) rounded to a signed integer of `bits` bits; `m` has bit 63. */
export function integerFrom(p: u32, env: u32, sign: u32, e: i32, m: u64, bits: u32): i64 {
  if (e > 63) return invalidInteger(p, bits)
  let q: u64 = 0, rest: u64
  if (e < 0) rest = shiftRightJam(m, -1 - e)
  else {
    q = m >> (63 - e)
    rest = e == 63 ? 0 : m << (e + 1)
  }
  const up = roundsUp(env, sign, (q & 1) != 0, rest)
  if (up) q++ // cannot wrap: with e == 63 nothing is left to round
  if (q > (<u64>1 << (bits - 1)) - u64(!sign)) return invalidInteger(p, bits)
  if (rest != 0) flag(p, up ? PE | ROUNDED_UP : PE)
  return sign ? -q : q
}

export function toInteger<T>(p: u32, env: u32, a: T, bits: u32): i64 {
  if (magnitude<T>(a) >= infinity<T>()) return invalidInteger(p, bits)
  if (magnitude<T>(a) == 0 || ((env & ENV_DAZ) != 0 && isDenormal<T>(a))) return 0
  return integerFrom(p, env, signOf<T>(a), exponent<T>(a), significand<T>(a), bits)
}

/** The same with rounding toward zero. */
export function truncate<T>(p: u32, env: u32, a: T, bits: u32): i64 {
  return toInteger<T>(p, env | CHOP, a, bits)
}

/** ROUNDPS and its kin: `immediate` bit 3 suppresses PE, bit 2 takes the rounding of MXCSR over bits 0-1. */
export function roundToIntegral<T>(p: u32, env: u32, a: T, immediate: u32): T {
  if (isNan<T>(a)) {
    if (isSignalling<T>(a)) flag(p, IE)
    return quieted<T>(a)
  }
  if ((env & ENV_DAZ) != 0 && isDenormal<T>(a)) a &= signMask<T>()
  const e = <i32>(magnitude<T>(a) >> fractionBits<T>()) - bias<T>()
  if (magnitude<T>(a) == 0 || e >= <i32>fractionBits<T>()) return a
  const rounding = (immediate & 4) != 0 ? env : immediate & ENV_RC
  const sign = a & signMask<T>()
  const m = significand<T>(a)
  const x = exponent<T>(a)
  const q = x < 0 ? 0 : m >> (63 - x)
  const rest = x < 0 ? shiftRightJam(m, -1 - x) : m << (x + 1)
  if (rest != 0 && (immediate & 8) == 0) flag(p, PE)
  const whole = q + u64(roundsUp(rounding, signOf<T>(a), (q & 1) != 0, rest))
  return sign | (whole == 0 ? <T>0 : round<T>(p, 0, 0, 63 - <i32>clz(whole), whole << clz(whole), 0))
}

/** A NaN's payload as a fraction that starts at bit 62. */
@inline
export function payload<T>(a: T): u64 {
  return <u64>a << (63 - fractionBits<T>()) & 0x7fffffffffffffff
}

/** f32 to f64 or f64 to f32. */
export function changeFormat<From, To>(p: u32, env: u32, a: From): To {
  const sign = <To>signOf<From>(a) << (sizeof<To>() * 8 - 1)
  if (isNan<From>(a)) {
    if (isSignalling<From>(a)) flag(p, IE)
    return sign | infinity<To>() | <To>(payload<From>(quieted<From>(a)) >> (63 - fractionBits<To>()))
  }
  if (magnitude<From>(a) == infinity<From>()) return sign | infinity<To>()
  a = operand<From>(p, env, a)
  if (magnitude<From>(a) == 0) return sign
  return round<To>(p, env, signOf<From>(a), exponent<From>(a), significand<From>(a), 0)
}

/**
 * f32 and f64 arithmetic on raw bits with x86's SSE rules (SDM Vol. 1 4.8.3, 11.5): T is u32 or u64. Every exception
 * that an operation meets is added to FP_FLAGS; who called decides what an unmasked one means.
 */
import { addFinite, cancelled, divideFinite, multiplyFinite, squareRootFinite } from './softfloat-finite'
import { DE, ENV_DAZ, flag, IE, round, ZE } from './softfloat-round'

@inline
export function fractionBits<T>(): u32 {
  return sizeof<T>() == 4 ? 23 : 52
}

@inline
export function bias<T>(): i32 {
  return sizeof<T>() == 4 ? 127 : 1023
}

@inline
export function infinity<T>(): T {
  return sizeof<T>() == 4 ? <T>0x7f800000 : <T>0x7ff0000000000000
}

@inline
export function signMask<T>(): T {
  return <T>1 << (sizeof<T>() * 8 - 1)
}

@inline
export function magnitude<T>(a: T): T {
  return a & ~signMask<T>()
}

@inline
export function signOf<T>(a: T): u32 {
  return <u32>(a >> (sizeof<T>() * 8 - 1))
}

@inline
export function isNan<T>(a: T): bool {
  return magnitude<T>(a) > infinity<T>()
}

@inline
export function quieted<T>(a: T): T {
  return a | <T>1 << (fractionBits<T>() - 1)
}

@inline
export function isSignalling<T>(a: T): bool {
  return isNan<T>(a) && quieted<T>(a) != a
}

@inline
export function isDenormal<T>(a: T): bool {
  return magnitude<T>(a) - 1 < (<T>1 << fractionBits<T>()) - 1
}

/** The QNaN "real indefinite". */
@inline
export function indefinite<T>(): T {
  return signMask<T>() | quieted<T>(infinity<T>())
}

/** Result of an invalid operation. */
@inline
export function invalid<T>(p: u32): T {
  flag(p, IE)
  return indefinite<T>()
}

/** Result for operands of which at least one is a NaN: the first that is, made quiet (SDM Vol. 1 table 4-7). */
function propagate<T>(p: u32, a: T, b: T): T {
  if (isSignalling<T>(a) || isSignalling<T>(b)) flag(p, IE)
  return quieted<T>(isNan<T>(a) ? a : b)
}

/** An operand as the operation sees it: a denormal becomes zero under DAZ and raises DE otherwise. */
@inline
export function operand<T>(p: u32, env: u32, a: T): T {
  if (isDenormal<T>(a)) {
    if ((env & ENV_DAZ) != 0) return a & signMask<T>()
    flag(p, DE)
  }
  return a
}

/** Exponent of a finite non-zero number whose significand is normalised. */
export function exponent<T>(a: T): i32 {
  const field = <i32>(magnitude<T>(a) >> fractionBits<T>())
  if (field != 0) return field - bias<T>()
  return 1 - bias<T>() - (<i32>clz<u64>(<u64>magnitude<T>(a)) - (63 - fractionBits<T>()))
}

/** Significand of a finite non-zero number, normalised to bit 63. */
export function significand<T>(a: T): u64 {
  const m = <u64>magnitude<T>(a)
  const implicit: u64 = 1 << fractionBits<T>()
  if (m < implicit) return m << clz(m)
  return (m & (implicit - 1) | implicit) << (63 - fractionBits<T>())
}

export function add<T>(p: u32, env: u32, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return propagate<T>(p, a, b)
  const aInfinite = magnitude<T>(a) == infinity<T>(), bInfinite = magnitude<T>(b) == infinity<T>()
  if (aInfinite && bInfinite && a != b) return invalid<T>(p)
  a = operand<T>(p, env, a)
  b = operand<T>(p, env, b)
  if (aInfinite) return a
  if (bInfinite) return b
  if (magnitude<T>(b) == 0) {
    if (magnitude<T>(a) == 0) return a == b ? a : cancelled<T>(env)
    return round<T>(p, env, signOf<T>(a), exponent<T>(a), significand<T>(a), 0)
  }
  if (magnitude<T>(a) == 0) return round<T>(p, env, signOf<T>(b), exponent<T>(b), significand<T>(b), 0)
  return addFinite<T>(
    p, env, signOf<T>(a), exponent<T>(a), significand<T>(a), signOf<T>(b), exponent<T>(b), significand<T>(b))
}

export function subtract<T>(p: u32, env: u32, a: T, b: T): T {
  return add<T>(p, env, a, isNan<T>(b) ? b : b ^ signMask<T>())
}

export function multiply<T>(p: u32, env: u32, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return propagate<T>(p, a, b)
  const aInfinite = magnitude<T>(a) == infinity<T>(), bInfinite = magnitude<T>(b) == infinity<T>()
  const x = (env & ENV_DAZ) != 0 && isDenormal<T>(a) ? a & signMask<T>() : a
  const y = (env & ENV_DAZ) != 0 && isDenormal<T>(b) ? b & signMask<T>() : b
  if ((aInfinite && magnitude<T>(y) == 0) || (bInfinite && magnitude<T>(x) == 0)) return invalid<T>(p)
  a = operand<T>(p, env, a)
  b = operand<T>(p, env, b)
  const sign = (a ^ b) & signMask<T>()
  if (aInfinite || bInfinite) return sign | infinity<T>()
  if (magnitude<T>(a) == 0 || magnitude<T>(b) == 0) return sign
  return multiplyFinite<T>(
    p, env, signOf<T>(sign), exponent<T>(a) + exponent<T>(b), significand<T>(a), significand<T>(b))
}

export function divide<T>(p: u32, env: u32, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return propagate<T>(p, a, b)
  const aInfinite = magnitude<T>(a) == infinity<T>(), bInfinite = magnitude<T>(b) == infinity<T>()
  const x = (env & ENV_DAZ) != 0 && isDenormal<T>(a) ? a & signMask<T>() : a
  const y = (env & ENV_DAZ) != 0 && isDenormal<T>(b) ? b & signMask<T>() : b
  if ((aInfinite && bInfinite) || (magnitude<T>(x) == 0 && magnitude<T>(y) == 0)) return invalid<T>(p)
  const sign = (a ^ b) & signMask<T>()
  if (magnitude<T>(y) == 0 && !aInfinite) {
    flag(p, ZE)
    return sign | infinity<T>()
  }
  a = operand<T>(p, env, a)
  b = operand<T>(p, env, b)
  if (aInfinite) return sign | infinity<T>()
  if (bInfinite || magnitude<T>(a) == 0) return sign
  return divideFinite<T>(
    p, env, signOf<T>(sign), exponent<T>(a) - exponent<T>(b), significand<T>(a), significand<T>(b))
}

export function squareRoot<T>(p: u32, env: u32, a: T): T {
  if (isNan<T>(a)) return propagate<T>(p, a, a)
  const x = (env & ENV_DAZ) != 0 && isDenormal<T>(a) ? a & signMask<T>() : a
  if (magnitude<T>(x) == 0) return x
  if (signOf<T>(x) != 0) return invalid<T>(p)
  a = operand<T>(p, env, a)
  if (a == infinity<T>()) return a
  return squareRootFinite<T>(p, env, exponent<T>(a), significand<T>(a))
}

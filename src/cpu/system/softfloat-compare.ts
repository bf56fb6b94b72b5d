/** Comparisons of f32 and f64 on raw bits, MIN and MAX (SDM Vol. 1 11.4.1.1, Vol. 2 CMPPS, MINPS, MAXPS, COMISS). */
import { ENV_DAZ, flag, IE } from './softfloat-round'
import { isDenormal, isNan, isSignalling, magnitude, operand, signMask, signOf } from './softfloat'

export const EQUAL: i32 = 0
export const LESS: i32 = 1
export const GREATER: i32 = 2
export const UNORDERED: i32 = 3

/** How `a` stands to `b`; a quiet comparison finds only signalling NaNs invalid. */
export function compare<T>(p: u32, env: u32, a: T, b: T, quiet: bool): i32 {
  if (isNan<T>(a) || isNan<T>(b)) {
    if (!quiet || isSignalling<T>(a) || isSignalling<T>(b)) flag(p, IE)
    return UNORDERED
  }
  a = operand<T>(p, env, a)
  b = operand<T>(p, env, b)
  if (a == b || (magnitude<T>(a) | magnitude<T>(b)) == 0) return EQUAL
  if (signOf<T>(a) != signOf<T>(b)) return signOf<T>(a) ? LESS : GREATER
  return (a < b) != (signOf<T>(a) != 0) ? LESS : GREATER
}

/** Whether predicate 0..7 of CMPPS and its kin holds. */
export function holds<T>(p: u32, env: u32, predicate: u32, a: T, b: T): bool {
  const quiet = (predicate & 3) == 0 || (predicate & 3) == 3 // EQ, UNORD and their negations
  const relation = compare<T>(p, env, a, b, quiet)
  let result: bool
  switch (predicate & 3) {
    case 0: result = relation == EQUAL; break
    case 1: result = relation == LESS; break
    case 2: result = relation == LESS || relation == EQUAL; break
    default: result = relation == UNORDERED
  }
  return result != ((predicate & 4) != 0)
}

/** MIN (`order` LESS) or MAX (GREATER): the second operand if either is a NaN or both are zeros. */
export function extremum<T>(p: u32, env: u32, order: i32, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) {
    flag(p, IE)
    return (env & ENV_DAZ) != 0 && isDenormal<T>(b) ? b & signMask<T>() : b
  }
  a = operand<T>(p, env, a)
  b = operand<T>(p, env, b)
  return compare<T>(p, env, a, b, true) == order ? a : b
}

/**
 * SSE floating point as the rows call it, scalar operations. Each takes and returns raw bits, works under MXCSR and
 * adds the exceptions it meets to FP_FLAGS; the row then calls `sseCheck` and commits only if that returned 0.
 */
import { CR4, FP_FLAGS, MXCSR } from './layout'
import { raiseNoError } from './faults'
import {
  add, divide, indefinite, infinity, isDenormal, isNan, magnitude, multiply, quieted, signMask, signOf, squareRoot,
  subtract,
} from './softfloat'
import { compare, EQUAL, extremum, GREATER, holds, LESS } from './softfloat-compare'
import { changeFormat, fromInteger, roundToIntegral, toInteger, truncate } from './softfloat-convert'
import { sseEnv } from './softfloat-round'

const CR4_OSXMMEXCPT: u64 = 1 << 10
const VECTOR_UD: i32 = 6
const VECTOR_XM: i32 = 19
/** IE, DE and ZE are found before anything is computed: an unmasked one hides OE, UE and PE of all elements. */
const BEFORE: u32 = 7

/**
 * Merges the gathered exceptions into MXCSR. If one of them is unmasked, raises #XM (#UD without CR4.OSXMMEXCPT) and
 * returns 1.
 */
export function sseCheck(p: u32): i32 {
  let flags = load<u32>(p + FP_FLAGS) & 0x3f
  if (flags == 0) return 0
  store<u32>(p + FP_FLAGS, 0)
  const mxcsr = load<u32>(p + MXCSR)
  const unmasked = ~(mxcsr >> 7)
  if ((flags & unmasked & BEFORE) != 0) flags &= BEFORE
  store<u32>(p + MXCSR, mxcsr | flags)
  if ((flags & unmasked) == 0) return 0
  raiseNoError(p, (load<u64>(p + CR4) & CR4_OSXMMEXCPT) != 0 ? VECTOR_XM : VECTOR_UD)
  return 1
}

/** An operation of two numbers by its opcode 0F xx: 58 ADD, 59 MUL, 5C SUB, 5D MIN, 5E DIV, 5F MAX; 51 SQRT of `b`. */
export function arithmetic<T>(p: u32, env: u32, op: u32, a: T, b: T): T {
  switch (op) {
    case 0x51: return squareRoot<T>(p, env, b)
    case 0x58: return add<T>(p, env, a, b)
    case 0x59: return multiply<T>(p, env, a, b)
    case 0x5c: return subtract<T>(p, env, a, b)
    case 0x5d: return extremum<T>(p, env, LESS, a, b)
    case 0x5e: return divide<T>(p, env, a, b)
    default: return extremum<T>(p, env, GREATER, a, b)
  }
}

export function sseArith32(p: u32, op: u32, a: u32, b: u32): u32 {
  return arithmetic<u32>(p, sseEnv(p), op, a, b)
}

export function sseArith64(p: u32, op: u32, a: u64, b: u64): u64 {
  return arithmetic<u64>(p, sseEnv(p), op, a, b)
}

/** CMPSS, CMPSD: all ones if `predicate` (0..7) holds. */
export function sseCmp32(p: u32, predicate: u32, a: u32, b: u32): u32 {
  return holds<u32>(p, sseEnv(p), predicate, a, b) ? -1 : 0
}

export function sseCmp64(p: u32, predicate: u32, a: u64, b: u64): u64 {
  return holds<u64>(p, sseEnv(p), predicate, a, b) ? -1 : 0
}

@inline
function relationFlags(relation: i32): u32 {
  return relation == EQUAL ? 0x40 : relation == LESS ? 1 : relation == GREATER ? 0 : 0x45
}

/** COMISS, COMISD (`quiet` 0), UCOMISS, UCOMISD (1): ZF, PF and CF in their EFLAGS places; the others are cleared. */
export function sseComi32(p: u32, a: u32, b: u32, quiet: i32): u32 {
  return relationFlags(compare<u32>(p, sseEnv(p), a, b, quiet != 0))
}

export function sseComi64(p: u32, a: u64, b: u64, quiet: i32): u32 {
  return relationFlags(compare<u64>(p, sseEnv(p), a, b, quiet != 0))
}

/** ROUNDSS, ROUNDSD. */
export function sseRound32(p: u32, immediate: u32, a: u32): u32 {
  return roundToIntegral<u32>(p, sseEnv(p), a, immediate)
}

export function sseRound64(p: u32, immediate: u32, a: u64): u64 {
  return roundToIntegral<u64>(p, sseEnv(p), a, immediate)
}

/** CVTSI2SS, CVTSI2SD; a 32-bit source is sign-extended. */
export function sseFromInt32(p: u32, value: i64): u32 {
  return fromInteger<u32>(p, sseEnv(p), value)
}

export function sseFromInt64(p: u32, value: i64): u64 {
  return fromInteger<u64>(p, sseEnv(p), value)
}

/** CVTSS2SI, CVTSD2SI (`chop` 0), CVTTSS2SI, CVTTSD2SI (1) to `bits` 32 or 64, sign-extended. */
export function sseToInt32(p: u32, a: u32, bits: u32, chop: i32): i64 {
  return chop ? truncate<u32>(p, sseEnv(p), a, bits) : toInteger<u32>(p, sseEnv(p), a, bits)
}

export function sseToInt64(p: u32, a: u64, bits: u32, chop: i32): i64 {
  return chop ? truncate<u64>(p, sseEnv(p), a, bits) : toInteger<u64>(p, sseEnv(p), a, bits)
}

/** CVTSS2SD. */
export function sseWiden(p: u32, a: u32): u64 {
  return changeFormat<u32, u64>(p, sseEnv(p), a)
}

/** CVTSD2SS. */
export function sseNarrow(p: u32, a: u64): u32 {
  return changeFormat<u64, u32>(p, sseEnv(p), a)
}

/**
 * RCPSS as Intel's processors do it: the reciprocal of the middle of one of 2048 intervals of the significand, in
 * units of 2^-13 (of the error that the SDM allows, a third). Without exceptions and whatever MXCSR says: denormal
 * operands count as zeros, tiny results become zeros.
 */
export function sseRcp32(p: u32, a: u32): u32 {
  if (isNan<u32>(a)) return quieted<u32>(a)
  const sign = a & signMask<u32>()
  if (magnitude<u32>(a) == 0 || isDenormal<u32>(a)) return sign | infinity<u32>()
  const exponent = 253 - <i32>(magnitude<u32>(a) >> 23)
  if (exponent <= 0) return sign
  const divisor: u32 = 4097 + 2 * (a >> 12 & 2047)
  const units = ((1 << 26) / divisor + 1) >> 1
  return sign | <u32>exponent << 23 | (units & 4095) << 11
}

/** RSQRTSS, likewise: of 1024 intervals for each parity of the exponent. */
export function sseRsqrt32(p: u32, a: u32): u32 {
  if (isNan<u32>(a)) return quieted<u32>(a)
  if (magnitude<u32>(a) == 0 || isDenormal<u32>(a)) return a & signMask<u32>() | infinity<u32>()
  if (signOf<u32>(a) != 0) return indefinite<u32>()
  if (a == infinity<u32>()) return 0
  const exponent = <i32>(a >> 23) - 127
  const middle = (2049 + 2 * (a >> 13 & 1023)) << (exponent & 1)
  const units = <u32>(8192 / Math.sqrt(<f64>middle / 2048) + 0.5)
  return <u32>(126 - (exponent >> 1)) << 23 | (units & 4095) << 11
}

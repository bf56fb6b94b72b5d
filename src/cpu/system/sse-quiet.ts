/**
 * Whether the host's result of an SSE operation, rounded to nearest, is the processor's and leaves MXCSR as it is: the
 * question before the slow way, for lanes with zeros and for programs that have not met an inexact result yet.
 */
import { MXCSR } from './layout'
import { fractionBits, infinity, isDenormal, magnitude } from './softfloat'

const PE: u32 = 0x20
const PM: u32 = 0x1000
const RC: u32 = 0x6000

const SQRT: u32 = 0x51
const MUL: u32 = 0x59
const SUB: u32 = 0x5c
const DIV: u32 = 0x5e

/** The significand of a number that is not denormal as an odd integer; 0 of zero. */
@inline
function odd<T>(a: T): u64 {
  if (magnitude<T>(a) == 0) return 0
  const implicit: u64 = 1 << fractionBits<T>()
  const m = <u64>a & (implicit - 1) | implicit
  return m >> ctz(m)
}

/** Whether x * y = z for what `odd` gives, where z is below 2^53. */
@inline
function multiplies(x: u64, y: u64, z: u64): bool {
  if (x == 0 || y == 0) return z == 0
  return clz(x) + clz(y) >= 74 && x * y == z
}

/** Whether the sum or difference was not rounded (Knuth's two-sum). */
@inline
function exactSum<T>(a: T, b: T, r: T): bool {
  if (sizeof<T>() == 4) {
    const x = reinterpret<f32>(<u32>a), y = reinterpret<f32>(<u32>b), z = reinterpret<f32>(<u32>r)
    const part = z - x
    return (x - (z - part)) + (y - part) == 0
  }
  const x = reinterpret<f64>(<u64>a), y = reinterpret<f64>(<u64>b), z = reinterpret<f64>(<u64>r)
  const part = z - x
  return (x - (z - part)) + (y - part) == 0
}

/** Whether the result is what the numbers give without rounding: odd parts suffice, it is near enough. */
function exact<T>(op: u32, a: T, b: T, r: T): bool {
  switch (op) {
    case SQRT: return multiplies(odd<T>(r), odd<T>(r), odd<T>(b))
    case MUL: return multiplies(odd<T>(a), odd<T>(b), odd<T>(r))
    case DIV: return multiplies(odd<T>(r), odd<T>(b), odd<T>(a))
    case SUB: return exactSum<T>(a, b ^ <T>1 << (sizeof<T>() * 8 - 1), r)
    default: return exactSum<T>(a, b, r)
  }
}

function quiet<T>(op: u32, unseen: bool, a: T, b: T, r: T): bool {
  // A tiny sum is exact, but whoever asks takes results for operands that are not denormal.
  if (magnitude<T>(r) >= infinity<T>() || isDenormal<T>(r) || isDenormal<T>(a) || isDenormal<T>(b)) return false
  // A product or quotient may have underflowed, even to the least normal number.
  if ((op == MUL || op == DIV) && magnitude<T>(r) <= <T>1 << fractionBits<T>()) {
    if (magnitude<T>(r) != 0) return false
    return magnitude<T>(a) == 0 || (op == MUL && magnitude<T>(b) == 0)
  }
  return unseen || exact<T>(op, a, b, r)
}

/** 0 if inexact results show, 1 if not, 2 if rounding is not to nearest. */
@inline
function inexact(p: u32): u32 {
  const mxcsr = load<u32>(p + MXCSR)
  if ((mxcsr & RC) != 0) return 2
  return u32((mxcsr & (PE | PM)) == (PE | PM))
}

/** For an opcode as `arithmetic` has them, but MIN and MAX; of a scalar `lanes` is 1. */
export function sseQuiet32(p: u32, op: u32, lanes: u32, a: v128, b: v128, r: v128): i32 {
  const seen = inexact(p)
  if (seen == 2) return 0
  const unseen = seen != 0
  if (!quiet<u32>(op, unseen, i32x4.extract_lane(a, 0), i32x4.extract_lane(b, 0), i32x4.extract_lane(r, 0))) return 0
  if (lanes == 1) return 1
  if (!quiet<u32>(op, unseen, i32x4.extract_lane(a, 1), i32x4.extract_lane(b, 1), i32x4.extract_lane(r, 1))) return 0
  if (!quiet<u32>(op, unseen, i32x4.extract_lane(a, 2), i32x4.extract_lane(b, 2), i32x4.extract_lane(r, 2))) return 0
  return i32(quiet<u32>(op, unseen, i32x4.extract_lane(a, 3), i32x4.extract_lane(b, 3), i32x4.extract_lane(r, 3)))
}

export function sseQuiet64(p: u32, op: u32, lanes: u32, a: v128, b: v128, r: v128): i32 {
  const seen = inexact(p)
  if (seen == 2) return 0
  const unseen = seen != 0
  if (!quiet<u64>(op, unseen, i64x2.extract_lane(a, 0), i64x2.extract_lane(b, 0), i64x2.extract_lane(r, 0))) return 0
  if (lanes == 1) return 1
  return i32(quiet<u64>(op, unseen, i64x2.extract_lane(a, 1), i64x2.extract_lane(b, 1), i64x2.extract_lane(r, 1)))
}

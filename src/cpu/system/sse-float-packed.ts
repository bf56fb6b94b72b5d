/**
 * SSE floating point on whole vectors: operands are addresses of 16 bytes (in the state block: registers' planes or
 * SCRATCH), `dst` may be one of them. Each returns 0 with `dst` written, or 1 with #XM raised and `dst` as it was;
 * the exceptions of all elements count together.
 */
import { arithmetic, sseCheck, sseRcp32, sseRsqrt32 } from './sse-float'
import { add, multiply } from './softfloat'
import { holds } from './softfloat-compare'
import { changeFormat, fromInteger, roundToIntegral, toInteger } from './softfloat-convert'
import { CHOP, pair, sseEnv } from './softfloat-round'

@inline
function lane<T>(address: u32, index: u32): T {
  return load<T>(address + index * sizeof<T>())
}

@inline
function pack32(a: u32, b: u32, c: u32, d: u32): v128 {
  return pair(<u64>a | <u64>b << 32, <u64>c | <u64>d << 32)
}

@inline
function commit(p: u32, dst: u32, value: v128): i32 {
  if (sseCheck(p)) return 1
  v128.store(dst, value)
  return 0
}

/** An opcode 0F xx as `arithmetic` has them, and 7C HADD, 7D HSUB, D0 ADDSUB: its operation and operands' places. */
@inline
function element<T>(p: u32, env: u32, op: u32, a: u32, b: u32, i: u32): T {
  if (op == 0xd0) return arithmetic<T>(p, env, (i & 1) != 0 ? 0x58 : 0x5c, lane<T>(a, i), lane<T>(b, i))
  if (op == 0x7c || op == 0x7d) {
    const half: u32 = 8 / sizeof<T>()
    const source = i < half ? a : b
    const first = (i & (half - 1)) * 2
    return arithmetic<T>(p, env, op == 0x7c ? 0x58 : 0x5c, lane<T>(source, first), lane<T>(source, first + 1))
  }
  return arithmetic<T>(p, env, op, lane<T>(a, i), lane<T>(b, i))
}

export function ssePacked32(p: u32, op: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pack32(
    element<u32>(p, env, op, a, b, 0), element<u32>(p, env, op, a, b, 1),
    element<u32>(p, env, op, a, b, 2), element<u32>(p, env, op, a, b, 3)))
}

export function ssePacked64(p: u32, op: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pair(element<u64>(p, env, op, a, b, 0), element<u64>(p, env, op, a, b, 1)))
}

/** CMPPS. */
export function sseCmpPacked32(p: u32, predicate: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pack32(
    -u32(holds<u32>(p, env, predicate, lane<u32>(a, 0), lane<u32>(b, 0))),
    -u32(holds<u32>(p, env, predicate, lane<u32>(a, 1), lane<u32>(b, 1))),
    -u32(holds<u32>(p, env, predicate, lane<u32>(a, 2), lane<u32>(b, 2))),
    -u32(holds<u32>(p, env, predicate, lane<u32>(a, 3), lane<u32>(b, 3)))))
}

/** CMPPD. */
export function sseCmpPacked64(p: u32, predicate: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pair(
    -u64(holds<u64>(p, env, predicate, lane<u64>(a, 0), lane<u64>(b, 0))),
    -u64(holds<u64>(p, env, predicate, lane<u64>(a, 1), lane<u64>(b, 1)))))
}

/** ROUNDPS. */
export function sseRoundPacked32(p: u32, immediate: u32, dst: u32, a: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pack32(
    roundToIntegral<u32>(p, env, lane<u32>(a, 0), immediate), roundToIntegral<u32>(p, env, lane<u32>(a, 1), immediate),
    roundToIntegral<u32>(p, env, lane<u32>(a, 2), immediate), roundToIntegral<u32>(p, env, lane<u32>(a, 3), immediate)))
}

/** ROUNDPD. */
export function sseRoundPacked64(p: u32, immediate: u32, dst: u32, a: u32): i32 {
  const env = sseEnv(p)
  return commit(p, dst, pair(
    roundToIntegral<u64>(p, env, lane<u64>(a, 0), immediate),
    roundToIntegral<u64>(p, env, lane<u64>(a, 1), immediate)))
}

/** RCPPS (opcode 53) and RSQRTPS (52): without exceptions. */
export function sseApproximate(p: u32, op: u32, dst: u32, a: u32): void {
  for (let i: u32 = 0; i < 4; i++) {
    const x = lane<u32>(a, i)
    store<u32>(dst + i * 4, op == 0x53 ? sseRcp32(p, x) : sseRsqrt32(p, x))
  }
}

@inline
function int32(p: u32, env: u32, a: u32, i: u32): u32 {
  return <u32>toInteger<u32>(p, env, lane<u32>(a, i), 32)
}

@inline
function int64(p: u32, env: u32, a: u32, i: u32): u32 {
  return <u32>toInteger<u64>(p, env, lane<u64>(a, i), 32)
}

/**
 * The packed conversions by mandatory prefix and opcode, `prefix << 8 | opcode`: 5B CVTDQ2PS, 665B CVTPS2DQ,
 * F35B CVTTPS2DQ, 5A CVTPS2PD, 665A CVTPD2PS, F3E6 CVTDQ2PD, F2E6 CVTPD2DQ, 66E6 CVTTPD2DQ, 2A CVTPI2PS,
 * 662A CVTPI2PD, 2C CVTTPS2PI, 2D CVTPS2PI, 662C CVTTPD2PI, 662D CVTPD2PI. CVTPI2PS and those to MMX write 8 bytes.
 */
export function sseConvert(p: u32, op: u32, dst: u32, a: u32): i32 {
  const env = sseEnv(p)
  let low: u64, high: u64 = 0
  switch (op) {
    case 0x5b:
      high = <u64>fromInteger<u32>(p, env, lane<i32>(a, 2)) | <u64>fromInteger<u32>(p, env, lane<i32>(a, 3)) << 32
    case 0x2a:
      low = <u64>fromInteger<u32>(p, env, lane<i32>(a, 0)) | <u64>fromInteger<u32>(p, env, lane<i32>(a, 1)) << 32
      break
    case 0x665b:
      high = <u64>int32(p, env, a, 2) | <u64>int32(p, env, a, 3) << 32
    case 0x2d:
      low = <u64>int32(p, env, a, 0) | <u64>int32(p, env, a, 1) << 32
      break
    case 0xf35b:
      high = <u64>int32(p, env | CHOP, a, 2) | <u64>int32(p, env | CHOP, a, 3) << 32
    case 0x2c:
      low = <u64>int32(p, env | CHOP, a, 0) | <u64>int32(p, env | CHOP, a, 1) << 32
      break
    case 0xf2e6:
    case 0x662d:
      low = <u64>int64(p, env, a, 0) | <u64>int64(p, env, a, 1) << 32
      break
    case 0x66e6:
    case 0x662c:
      low = <u64>int64(p, env | CHOP, a, 0) | <u64>int64(p, env | CHOP, a, 1) << 32
      break
    case 0xf3e6:
    case 0x662a:
      low = fromInteger<u64>(p, env, lane<i32>(a, 0))
      high = fromInteger<u64>(p, env, lane<i32>(a, 1))
      break
    case 0x5a:
      low = changeFormat<u32, u64>(p, env, lane<u32>(a, 0))
      high = changeFormat<u32, u64>(p, env, lane<u32>(a, 1))
      break
    default:
      low = <u64>changeFormat<u64, u32>(p, env, lane<u64>(a, 0)) |
        <u64>changeFormat<u64, u32>(p, env, lane<u64>(a, 1)) << 32
  }
  if (sseCheck(p)) return 1
  store<u64>(dst, low)
  // Opcodes 2A, 2C and 2D have an 8-byte destination but for CVTPI2PD.
  if (op == 0x662a || (op & 0xf0) != 0x20) store<u64>(dst + 8, high)
  return 0
}

/**
 * DPPS: products of the elements that immediate bits 4-7 choose, their sum to those of bits 0-3. An unmasked exception
 * of the products or of the first sums keeps later steps from raising theirs.
 */
export function sseDot32(p: u32, immediate: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  const p0 = (immediate & 0x10) != 0 ? multiply<u32>(p, env, lane<u32>(a, 0), lane<u32>(b, 0)) : 0
  const p1 = (immediate & 0x20) != 0 ? multiply<u32>(p, env, lane<u32>(a, 1), lane<u32>(b, 1)) : 0
  const p2 = (immediate & 0x40) != 0 ? multiply<u32>(p, env, lane<u32>(a, 2), lane<u32>(b, 2)) : 0
  const p3 = (immediate & 0x80) != 0 ? multiply<u32>(p, env, lane<u32>(a, 3), lane<u32>(b, 3)) : 0
  if (sseCheck(p)) return 1
  // Which of several NaNs survives differs from element to element, as in the hardware's shuffles and additions.
  const s0 = add<u32>(p, env, p1, p0), s1 = add<u32>(p, env, p0, p1)
  const s2 = add<u32>(p, env, p3, p2), s3 = add<u32>(p, env, p2, p3)
  if (sseCheck(p)) return 1
  // Sums that go nowhere raise their exceptions all the same.
  const r0 = add<u32>(p, env, s0, s2), r1 = add<u32>(p, env, s1, s3)
  const r2 = add<u32>(p, env, s2, s0), r3 = add<u32>(p, env, s3, s1)
  return commit(p, dst, pack32(
    (immediate & 1) != 0 ? r0 : 0, (immediate & 2) != 0 ? r1 : 0,
    (immediate & 4) != 0 ? r2 : 0, (immediate & 8) != 0 ? r3 : 0))
}

/** DPPD. */
export function sseDot64(p: u32, immediate: u32, dst: u32, a: u32, b: u32): i32 {
  const env = sseEnv(p)
  const p0 = (immediate & 0x10) != 0 ? multiply<u64>(p, env, lane<u64>(a, 0), lane<u64>(b, 0)) : 0
  const p1 = (immediate & 0x20) != 0 ? multiply<u64>(p, env, lane<u64>(a, 1), lane<u64>(b, 1)) : 0
  if (sseCheck(p)) return 1
  const s0 = add<u64>(p, env, p0, p1), s1 = add<u64>(p, env, p1, p0)
  return commit(p, dst, pair((immediate & 1) != 0 ? s0 : 0, (immediate & 2) != 0 ? s1 : 0))
}

/**
 * FSIN, FCOS, FSINCOS and FPTAN (SDM Vol. 1 8.3.8, 8.3.10): computed to more than 110 bits and rounded once. Arguments
 * beyond pi / 4 are reduced exactly, but as in the hardware by a pi of 66 bits.
 */
import { FSW } from './layout'
import {
  BIAS, denormals, exponentExtended, INTEGER_BIT, invalidExtended, isInfinite, nanResult, needsNan, normalised,
} from './softfloat-extended'
import { pair, round } from './softfloat-round'
import {
  high, leadingZeros, lessWide, low, markInexact, multiplyWide, quotientWide, roundWide, shiftLeftWide,
  shiftRightWide, subtractWide,
} from './x87-fixed'
import { fullEnv } from './x87-remainder'
import { cosineSeries, sineSeries } from './x87-series'
import {
  accept, begin, C1, C2, clearC1, finish, isEmpty, NO_OPERAND, push, registerAt, stackFault, turn, writeIndefinite,
} from './x87-stack'

/** The 66-bit pi / 2 in units of 2^-66. */
const HALF_PI_HIGH: u64 = 0x6
const HALF_PI_LOW: u64 = 0x487ed5110b4611a6
/** pi / 4 as a significand. */
const QUARTER_PI: u64 = 0xc90fdaa22168c234

/** In the high word of a reduced angle, above its own bits: the quadrant, and whether the angle is negative. */
const QUADRANT: u64 = 32
const NEGATIVE: u64 = 1 << 40

/** m * 2^(e - 63) modulo pi / 2, from -pi / 4 to pi / 4, in units of 2^-66; e from -1 to 62. */
function reduce(m: u64, e: i32): v128 {
  const divisor = pair(HALF_PI_LOW, HALF_PI_HIGH)
  let rest = pair(m, 0), quadrant: u64 = 0
  for (let i = e + 3; i > 0; i--) {
    rest = shiftLeftWide(rest, 1)
    quadrant <<= 1
    if (!lessWide(rest, divisor)) {
      rest = subtractWide(rest, divisor)
      quadrant++
    }
  }
  const other = subtractWide(divisor, rest)
  let negative: u64 = 0
  if (lessWide(other, rest)) {
    rest = other
    quadrant++
    negative = NEGATIVE
  }
  return pair(low(rest), high(rest) | (quadrant & 3) << QUADRANT | negative)
}

@inline
function isSmall(m: u64, e: i32): bool {
  return e < -1 || (e == -1 && m <= QUARTER_PI)
}

/** The sine (`which` 0), cosine (1) or tangent (2) of a finite number that is not 0. */
function circular(p: u32, which: u32, m: u64, s: u32): v128 {
  let e = exponentExtended(m, s), x = pair(0, normalised(m))
  let quadrant: u32 = 0, sign = s >> 15, flip: u32 = 0
  if (!isSmall(high(x), e)) {
    const r = reduce(high(x), e)
    quadrant = <u32>(high(r) >> QUADRANT) & 3
    flip = u32((high(r) & NEGATIVE) != 0)
    const rest = pair(low(r), high(r) & 0xffffffff)
    const n = leadingZeros(rest)
    x = shiftLeftWide(rest, n)
    e = 61 - n
  }
  // Far below the last place nothing distinguishes sine and tangent from the angle.
  if (e < -64 && which != 1) return markInexact(p, round<v128>(p, fullEnv(p), sign, e, high(x), 0))
  const fixed = shiftRightWide(x, -1 - e)
  const z = multiplyWide(fixed, fixed)
  if (which == 2) return tangent(p, sign ^ flip, quadrant & 1, x, e, z)
  if (which == 1) {
    sign = 0
    quadrant++
  }
  sign ^= quadrant >> 1 & 1
  if ((quadrant & 1) != 0) return roundWide(p, sign, -1, cosineSeries(z))
  return roundWide(p, sign ^ flip, e, multiplyWide(x, sineSeries(z)))
}

/** tan(x * 2^(e - 127)) for z = its square; -1 / tan if `odd`. */
function tangent(p: u32, sign: u32, odd: u32, x: v128, e: i32, z: v128): v128 {
  let sine = multiplyWide(x, sineSeries(z)), cosine = cosineSeries(z)
  const n = leadingZeros(sine)
  sine = shiftLeftWide(sine, n)
  e -= n
  let a = odd ? cosine : sine
  const d = odd ? sine : cosine
  if (odd) e = -2 - e
  if (!lessWide(a, d)) {
    a = shiftRightWide(a, 1)
    e++
  }
  return roundWide(p, sign ^ odd, e, quotientWide(a, d))
}

@inline
function clearC2(p: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C2)
}

/** Whether ST(0) is too large, 2^63 or more: C2 says so and the instruction does nothing. */
function isTooLarge(p: u32, m: u64, s: u32): bool {
  const field = <i32>(s & 0x7fff)
  const large = field != 0x7fff && m >> 63 != 0 && field >= BIAS + 63
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C2 | (large ? C2 : 0))
  return large
}

/** sine, cosine or tangent of any number. */
function circularOf(p: u32, which: u32, m: u64, s: u32): v128 {
  if (needsNan(m, s, m, s)) return nanResult(p, m, s, m, s)
  if (isInfinite(m, s)) return invalidExtended(p)
  if (m == 0) return which == 1 ? pair(INTEGER_BIT, BIAS) : pair(m, s)
  denormals(p, m, s, m, s)
  return circular(p, which, m, s)
}

/** FSIN (`which` 0), FCOS (1). */
export function x87Sine(p: u32, which: u32): void {
  begin(p)
  if (isEmpty(p, 0)) {
    clearC2(p)
    if (stackFault(p, 0, NO_OPERAND)) writeIndefinite(p, 0)
    return
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  if (isTooLarge(p, m, s)) return clearC1(p)
  finish(p, a, circularOf(p, which, m, s), 0, NO_OPERAND)
}

/** FPTAN (`which` 2), which pushes 1, and FSINCOS (0), which pushes the cosine. */
export function x87Tangent(p: u32, which: u32): void {
  begin(p)
  const empty = isEmpty(p, 0)
  if (empty || !isEmpty(p, 7)) {
    clearC2(p)
    if (!stackFault(p, empty ? 0 : C1, NO_OPERAND)) return
    writeIndefinite(p, 0)
    turn(p, 7)
    writeIndefinite(p, 0)
    return
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  if (isTooLarge(p, m, s)) return clearC1(p)
  const result = circularOf(p, which, m, s)
  let second = pair(INTEGER_BIT, BIAS)
  if (which == 0) second = circularOf(p, 1, m, s)
  else if (needsNan(m, s, m, s) || isInfinite(m, s)) second = result
  if (!accept(p, 0, NO_OPERAND)) return
  v128.store(a, result)
  push(p, second)
}

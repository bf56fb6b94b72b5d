/** FPREM, FPREM1, FSCALE and FXTRACT (SDM Vol. 2). */
import { FSW } from './layout'
import {
  BIAS, denormals, exponentExtended, extendInteger, INTEGER_BIT, invalidExtended, isInfinite, nanResult, needsNan,
  normalised,
} from './softfloat-extended'
import { ENV_EXTENDED, flag, pair, round, x87Env, ZE } from './softfloat-round'
import { divideWide } from './softfloat-wide'
import {
  accept, begin, C0, C1, C2, C3, finish, isEmpty, NO_OPERAND, registerAt, setTag, stackFault, turn, writeIndefinite,
} from './x87-stack'

/** The environment for what precision control does not touch. */
@inline
export function fullEnv(p: u32): u32 {
  return x87Env(p) & 0xff | ENV_EXTENDED
}

/** A number left as it is: even a denormal is no underflow; only a pseudo-denormal changes its form. */
@inline
function unscaled(m: u64, s: u32): v128 {
  return pair(m, (s & 0x7fff) == 0 ? s | <u32>(m >> 63) : s)
}

/** Ends an instruction that found ST(0) or ST(1) empty. */
function underflow(p: u32): void {
  if (stackFault(p, 0, NO_OPERAND)) writeIndefinite(p, 0)
}

/**
 * FPREM, FPREM1 (`nearest` 1): ST(0) = ST(0) rem ST(1). C2 tells that the reduction is incomplete; else C0, C3 and C1
 * are bits 2, 1 and 0 of the quotient.
 */
export function x87Remainder(p: u32, nearest: i32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, 1)) {
    store<u32>(p + FSW, load<u32>(p + FSW) & ~C2)
    return underflow(p)
  }
  const a = registerAt(p, 0), b = registerAt(p, 1)
  const am = load<u64>(a), as = <u32>load<u16>(a + 8), bm = load<u64>(b), bs = <u32>load<u16>(b + 8)
  let result: v128, quotient: u64 = 0, partial = false, regular = false
  if (needsNan(am, as, bm, bs)) result = nanResult(p, am, as, bm, bs)
  else if (isInfinite(am, as) || bm == 0) result = invalidExtended(p)
  else {
    regular = true
    denormals(p, am, as, bm, bs)
    if (am == 0) result = pair(am, as)
    else if (isInfinite(bm, bs)) result = unscaled(am, as)
    else {
      const m = normalised(am), d = normalised(bm)
      let sign = as >> 15, e = exponentExtended(bm, bs), rest = m
      const distance = exponentExtended(am, as) - e
      if (distance < 0) {
        e += distance
        if (nearest && distance == -1 && m > d) {
          quotient = 1
          rest = d - (m - d)
          sign ^= 1
        }
      } else {
        // Of a long reduction one instruction does 32 to 63 bits.
        partial = distance > 63
        const step = partial ? distance & 31 | 32 : distance
        e += distance - step
        if (step == 0) {
          quotient = u64(m >= d)
          rest = m >= d ? m - d : m
        } else {
          quotient = divideWide(m >> (64 - step), m << step, d)
          rest = (m << step) - quotient * d
        }
        if (nearest && !partial && (rest > d - rest || (rest == d - rest && (quotient & 1) != 0))) {
          quotient++
          rest = d - rest
          sign ^= 1
        }
      }
      result = rest == 0
        ? pair(0, sign << 15)
        : round<v128>(p, fullEnv(p), sign, e - <i32>clz(rest), normalised(rest), 0)
    }
  }
  const done = accept(p, 0, NO_OPERAND)
  if (done) v128.store(a, result)
  if (!done || !regular) {
    store<u32>(p + FSW, load<u32>(p + FSW) & ~(C1 | C2)) // C0 and C3 stay
    return
  }
  const q = <u32>quotient
  const code = partial ? C2 : (q & 1) << 9 | (q & 2) << 13 | (q & 4) << 6
  store<u32>(p + FSW, load<u32>(p + FSW) & ~(C0 | C1 | C2 | C3) | code)
}

/** FSCALE: ST(0) = ST(0) * 2^trunc(ST(1)). */
export function x87Scale(p: u32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, 1)) return underflow(p)
  const a = registerAt(p, 0), b = registerAt(p, 1)
  const am = load<u64>(a), as = <u32>load<u16>(a + 8), bm = load<u64>(b), bs = <u32>load<u16>(b + 8)
  let result: v128
  if (needsNan(am, as, bm, bs)) result = nanResult(p, am, as, bm, bs)
  else if (isInfinite(bm, bs) && (bs >> 15 ? isInfinite(am, as) : am == 0)) result = invalidExtended(p)
  else {
    denormals(p, am, as, bm, bs)
    if (am == 0 || isInfinite(am, as)) result = pair(am, as)
    else if (bm == 0) result = unscaled(am, as)
    else if (isInfinite(bm, bs)) result = bs >> 15 ? pair(0, as & 0x8000) : pair(INTEGER_BIT, as | 0x7fff)
    else {
      const size = exponentExtended(bm, bs)
      // 2^17 is further than any exponent reaches.
      const distance: i32 = size < 0 ? 0 : size > 16 ? 1 << 17 : <i32>(normalised(bm) >> (63 - size))
      result = round<v128>(
        p, fullEnv(p), as >> 15, exponentExtended(am, as) + (bs >> 15 ? -distance : distance), normalised(am), 0)
    }
  }
  finish(p, a, result, 0, NO_OPERAND)
}

/** FXTRACT: ST(0) becomes its exponent, its significand is pushed. */
export function x87Extract(p: u32): void {
  begin(p)
  if (isEmpty(p, 0)) {
    if (stackFault(p, 0, NO_OPERAND)) {
      writeIndefinite(p, 0)
      turn(p, 7)
      writeIndefinite(p, 0)
    }
    return
  }
  if (!isEmpty(p, 7)) {
    if (stackFault(p, C1, NO_OPERAND)) {
      writeIndefinite(p, 0)
      turn(p, 7)
      writeIndefinite(p, 0)
    }
    return
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  let scale: v128, fraction: v128
  if (needsNan(m, s, m, s)) scale = fraction = nanResult(p, m, s, m, s)
  else if (isInfinite(m, s)) {
    scale = pair(INTEGER_BIT, 0x7fff)
    fraction = pair(m, s)
  } else if (m == 0) {
    flag(p, ZE)
    scale = pair(INTEGER_BIT, 0xffff)
    fraction = pair(m, s)
  } else {
    denormals(p, m, s, m, s)
    scale = extendInteger(exponentExtended(m, s))
    fraction = pair(normalised(m), s & 0x8000 | BIAS)
  }
  if (!accept(p, 0, NO_OPERAND)) return
  v128.store(a, scale)
  turn(p, 7)
  v128.store(registerAt(p, 0), fraction)
  setTag(p, 0, 1)
}

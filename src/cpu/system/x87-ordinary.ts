/**
 * Arithmetic as nearly all programs do it: normal operands and results, 64 bits of precision, rounding to nearest, all
 * exceptions masked. Each function does the whole of it, result and status word, or returns false with nothing done;
 * then `softfloat-extended` decides.
 */
import { FCW, FSW, X87_STORE } from './layout'
import { divideWide, multiplyHigh, shiftRightJam, squareRootWide } from './softfloat-wide'

const PE: u32 = 0x20
const C1: u32 = 0x200
/** Exceptions masked, precision, rounding control; what FCW must be there. */
const ENVIRONMENT: u32 = 0xf3f
const ORDINARY: u32 = 0x33f
const BIAS: i32 = 16383
const LARGEST: i32 = 0x7ffe

@inline
function isNormal(m: u64, s: u32): bool {
  return m >> 63 != 0 && (s + 1 & 0x7fff) > 1
}

@inline
export function isOrdinary(p: u32): bool {
  return (load<u32>(p + FCW) & ENVIRONMENT) == ORDINARY
}

/** Rounds sign and (hi + lo / 2^64) * 2^(e - BIAS - 63), where `hi` has bit 63, into the register at `dst`. */
@inline
function put(p: u32, dst: u32, sign: u32, e: i32, hi: u64, lo: u64): bool {
  const up = lo >> 63 & (u64(lo << 1 != 0) | hi & 1)
  hi += up
  if (hi == 0) {
    hi = 1 << 63
    e++
  }
  if (e < 1 || e > LARGEST) return false
  // Both words whole: registers are read in words, soon after.
  store<u64>(dst, hi)
  store<u64>(dst + 8, sign | <u32>e)
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C1 | (lo != 0 ? PE : 0) | <u32>up << 9)
  return true
}

/** The sum of numbers of which `b` is not the larger in magnitude. */
@inline
function addSmaller(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): bool {
  let e = <i32>(as & 0x7fff)
  const distance = <u64>(e - <i32>(bs & 0x7fff))
  let hi: u64, lo: u64
  if (distance < 64) {
    hi = bm >> distance
    lo = distance == 0 ? 0 : bm << (64 - distance)
  } else {
    hi = 0
    lo = shiftRightJam(bm, <u32>distance - 64)
  }
  const sign = as & 0x8000
  if ((as ^ bs) >> 15 == 0) {
    hi += am
    if (hi < am) {
      lo = lo >> 1 | lo & 1 | hi << 63
      hi = hi >> 1 | 1 << 63
      e++
    }
    return put(p, dst, sign, e, hi, lo)
  }
  hi = am - hi - u64(lo != 0)
  lo = -lo
  if (hi >> 63 == 0) {
    if (hi == 0) {
      if (lo == 0) {
        store<u64>(dst, 0)
        store<u64>(dst + 8, 0)
        store<u32>(p + FSW, load<u32>(p + FSW) & ~C1)
        return true
      }
      hi = lo
      lo = 0
      e -= 64
    }
    const n = clz(hi)
    if (n != 0) {
      hi = hi << n | lo >> (64 - n)
      lo <<= n
      e -= <i32>n
    }
  }
  return put(p, dst, sign, e, hi, lo)
}

@inline
function add(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): bool {
  const ea = as & 0x7fff, eb = bs & 0x7fff
  const swapped = ea < eb || (ea == eb && am < bm)
  return addSmaller(
    p, dst, swapped ? bm : am, swapped ? bs : as, swapped ? am : bm, swapped ? as : bs)
}

@inline
function multiply(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): bool {
  let hi = multiplyHigh(am, bm), lo = am * bm
  let e = <i32>(as & 0x7fff) + <i32>(bs & 0x7fff) - BIAS + 1
  if (hi >> 63 == 0) {
    hi = hi << 1 | lo >> 63
    lo <<= 1
    e--
  }
  return put(p, dst, (as ^ bs) & 0x8000, e, hi, lo)
}

@inline
function divide(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): bool {
  let hi = am, lo: u64 = 0
  let e = <i32>(as & 0x7fff) - <i32>(bs & 0x7fff) + BIAS
  if (am >= bm) {
    hi = am >> 1
    lo = am << 63
  } else e--
  const q = divideWide(hi, lo, bm)
  const r = lo - q * bm
  // The next bit of the quotient and whether anything follows.
  return put(p, dst, (as ^ bs) & 0x8000, e, q, r == 0 ? 0 : r >= bm - r ? (1 << 63) | 1 : 1)
}

/** The four operations as rows call them: 1 if done. */
export function x87Plus(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): i32 {
  return i32(isOrdinary(p) && isNormal(am, as) && isNormal(bm, bs) && add(p, dst, am, as, bm, bs))
}

export function x87Minus(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): i32 {
  return i32(isOrdinary(p) && isNormal(am, as) && isNormal(bm, bs) && add(p, dst, am, as, bm, bs ^ 0x8000))
}

export function x87Times(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): i32 {
  return i32(isOrdinary(p) && isNormal(am, as) && isNormal(bm, bs) && multiply(p, dst, am, as, bm, bs))
}

export function x87Over(p: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): i32 {
  return i32(isOrdinary(p) && isNormal(am, as) && isNormal(bm, bs) && divide(p, dst, am, as, bm, bs))
}

/** `op` as in x87-arith: a = a op b, into the register at `dst`. */
export function ordinary(p: u32, op: u32, dst: u32, am: u64, as: u32, bm: u64, bs: u32): bool {
  switch (op) {
    case 0: return x87Plus(p, dst, am, as, bm, bs) != 0
    case 1: return x87Times(p, dst, am, as, bm, bs) != 0
    case 4: return x87Minus(p, dst, am, as, bm, bs) != 0
    case 5: return x87Minus(p, dst, bm, bs, am, as) != 0
    case 6: return x87Over(p, dst, am, as, bm, bs) != 0
    default: return x87Over(p, dst, bm, bs, am, as) != 0
  }
}

/**
 * To the bits of an f32 or f64, with the exceptions for X87_STORE; 0 if it is not done. The magnitude must stay below the
 * largest exponent's, so that rounding cannot overflow.
 */
export function ordinaryNarrow<T>(p: u32, m: u64, s: u32): T {
  const precision: u32 = sizeof<T>() == 4 ? 24 : 53
  const largest: i32 = sizeof<T>() == 4 ? 0xfe : 0x7fe
  const e = <i32>(s & 0x7fff) - (BIAS - (largest >> 1))
  if (!isOrdinary(p) || m >> 63 == 0 || e < 1 || e >= largest) return 0
  const rest = m << precision
  const q = m >> (64 - precision)
  const up = rest >> 63 & (u64(rest << 1 != 0) | q & 1)
  store<u32>(p + X87_STORE, (rest != 0 ? PE : 0) | <u32>up << 9)
  // The integer bit counts as one in the exponent.
  const magnitude = (<u64>(e - 1) << (precision - 1)) + q + up
  return <T>s >> 15 << (sizeof<T>() * 8 - 1) | <T>magnitude
}

/** What no ordinary integer is. */
export const NO_INTEGER: i64 = -0x8000000000000000

/**
 * To an integer of `bits` bits, to nearest or, with `chop`, towards zero, with the exceptions for X87_STORE; NO_INTEGER
 * if it is not done.
 */
export function ordinaryInteger(p: u32, chop: bool, m: u64, s: u32, bits: u32): i64 {
  const e = <i32>(s & 0x7fff) - BIAS
  if (m >> 63 == 0 || e >= <i32>bits - 1) return NO_INTEGER
  let q: u64 = 0, rest: u64 = 1
  if (e >= 0) {
    q = m >> (63 - e)
    rest = m << e << 1
  } else if (e == -1) rest = m
  const up: u64 = chop ? 0 : rest >> 63 & (u64(rest << 1 != 0) | q & 1)
  q += up
  if (q >> (bits - 1) != 0) return NO_INTEGER
  store<u32>(p + X87_STORE, (rest != 0 ? PE : 0) | <u32>up << 9)
  return (s & 0x8000) != 0 ? -q : q
}

/** Ends a store with at most PE and C1, `flags`, where PE is masked. */
export function storedOrdinary(p: u32, flags: u32): bool {
  if ((flags & ~(PE | C1)) != 0 || (load<u32>(p + FCW) & PE) == 0) return false
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C1 | flags)
  return true
}

export function ordinaryRoot(p: u32, dst: u32, m: u64, s: u32): bool {
  if (!isOrdinary(p) || !isNormal(m, s) || s >> 15 != 0) return false
  const e = <i32>s - BIAS
  const odd = e & 1
  const hi = odd ? m : m >> 1
  const lo: u64 = odd ? 0 : m << 63
  const r = squareRootWide(hi, lo)
  // What is left of the square; above r it is more than half a unit, which it never is exactly.
  const square = r * r
  const restLow = lo - square
  const restHigh = hi - multiplyHigh(r, r) - u64(restLow > lo)
  const rest: u64 = (restHigh | restLow) == 0 ? 0 : restHigh != 0 || restLow > r ? (1 << 63) | 1 : 1
  return put(p, dst, 0, (e - odd >> 1) + BIAS, r, rest)
}

/** DIV and IDIV of all sizes (SDM Vol. 2). */
import { RAX, RDX, SCRATCH } from './layout'
import { DE } from './bits'
import { raiseNoError } from './faults'

const LOW: u64 = 0xffffffff

function divideError(p: u32): i32 {
  raiseNoError(p, DE)
  return 1
}

/** DIV by `divisor` (zero-extended) of `size` bytes: AL, AH or rAX, rDX. */
export function div(p: u32, size: u32, divisor: u64): i32 {
  if (divisor == 0) return divideError(p)
  if (size == 8) {
    const high = load<u64>(p, RDX)
    if (high >= divisor) return divideError(p)
    const quotient = divide128(p, high, load<u64>(p, RAX), divisor)
    store<u64>(p, quotient, RAX)
    store<u64>(p, load<u64>(p, SCRATCH), RDX)
    return 0
  }
  const dividend = dividendOf(p, size)
  const quotient = dividend / divisor
  if (quotient >>> (size << 3) != 0) return divideError(p)
  setResults(p, size, quotient, dividend % divisor)
  return 0
}

/** IDIV by `divisor`, whose bits above the operand size do not count. */
export function idiv(p: u32, size: u32, divisor: u64): i32 {
  if (size == 8) return idiv64(p, <i64>divisor)
  const shift: u64 = 64 - (size << 3)
  const by = <i64>(divisor << shift) >> shift
  if (by == 0) return divideError(p)
  const dividendShift: u64 = 64 - (size << 4)
  const dividend = <i64>(dividendOf(p, size) << dividendShift) >> dividendShift
  // The one quotient that 64 bits cannot hold.
  if (by == -1 && dividend == i64.MIN_VALUE) return divideError(p)
  const quotient = dividend / by
  if (<i64>(<u64>quotient << shift) >> shift != quotient) return divideError(p)
  setResults(p, size, quotient, dividend % by)
  return 0
}

/** AX, DX:AX or EDX:EAX. */
function dividendOf(p: u32, size: u32): u64 {
  if (size == 1) return <u64>load<u16>(p, RAX)
  if (size == 2) return <u64>load<u16>(p, RAX) | (<u64>load<u16>(p, RDX) << 16)
  return <u64>load<u32>(p, RAX) | (<u64>load<u32>(p, RDX) << 32)
}

function setResults(p: u32, size: u32, quotient: u64, remainder: u64): void {
  if (size == 1) store<u16>(p, <u16>((quotient & 0xff) | (remainder << 8)), RAX)
  else if (size == 2) {
    store<u16>(p, <u16>quotient, RAX)
    store<u16>(p, <u16>remainder, RDX)
  } else {
    store<u64>(p, quotient & LOW, RAX)
    store<u64>(p, remainder & LOW, RDX)
  }
}

function idiv64(p: u32, divisor: i64): i32 {
  let low = load<u64>(p, RAX)
  let high = load<u64>(p, RDX)
  const negative = <i64>high < 0
  if (negative) {
    low = 0 - low
    high = ~high + (low == 0 ? 1 : 0)
  }
  const by = <u64>(divisor < 0 ? -divisor : divisor)
  if (high >= by) return divideError(p) // also a divisor of 0
  const magnitude = divide128(p, high, low, by)
  const negate = negative != divisor < 0
  if (magnitude > (negate ? <u64>1 << 63 : <u64>i64.MAX_VALUE)) return divideError(p)
  const remainder = load<u64>(p, SCRATCH)
  store<u64>(p, negate ? 0 - magnitude : magnitude, RAX)
  store<u64>(p, negative ? 0 - remainder : remainder, RDX)
  return 0
}

/**
 * Quotient of high:low by `divisor` > high; the remainder goes to SCRATCH. Two digits of 32 bits by long division
 * with a normalized divisor (Knuth, The Art of Computer Programming Vol. 2, 4.3.1, algorithm D).
 */
function divide128(p: u32, high: u64, low: u64, divisor: u64): u64 {
  if (high == 0) {
    store<u64>(p, low % divisor, SCRATCH)
    return low / divisor
  }
  const shift = clz<u64>(divisor)
  const by = divisor << shift
  const top = shift == 0 ? high : (high << shift) | (low >>> (64 - shift))
  const rest = low << shift
  const q1 = digit(top, rest >>> 32, by)
  const partial = (top << 32) + (rest >>> 32) - q1 * by
  const q0 = digit(partial, rest & LOW, by)
  store<u64>(p, ((partial << 32) + (rest & LOW) - q0 * by) >>> shift, SCRATCH)
  return (q1 << 32) + q0
}

/** One quotient digit of (top << 32 + next) by a normalized divisor above `top`. */
// @ts-ignore: decorator
@inline
function digit(top: u64, next: u64, by: u64): u64 {
  const by1 = by >>> 32
  const by0 = by & LOW
  let q = top / by1
  let r = top - q * by1
  while (q > LOW || q * by0 > ((r << 32) | next)) {
    q--
    r += by1
    if (r > LOW) break
  }
  return q
}

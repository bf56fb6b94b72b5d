/**
 * The string comparisons of SSE4.2 (SDM Vol. 1 12.3, Vol. 2B "PCMPESTRI" and section 4.1 of Vol. 2B). Operands are the
 * first and second 16 bytes of SCRATCH; the answer is IntRes2 in bits 0-15 and the flags, in their EFLAGS places, from
 * bit 16. Sets of elements are masks of a bit for each.
 */
import { SCRATCH } from './layout'

const CF: u32 = 1
const ZF: u32 = 0x40
const SF: u32 = 0x80
const OF: u32 = 0x800

// Bits of the immediate.
const WORDS: u32 = 1
const SIGNED: u32 = 2
const NEGATIVE: u32 = 0x10
const MASKED: u32 = 0x20

/** The first `count` elements. */
// @ts-ignore: decorator
@inline
function first(count: u32): u32 {
  return (1 << count) - 1
}

/** Element `i` of the 16 bytes at an address, in all elements. */
// @ts-ignore: decorator
@inline
function everywhere(address: u32, words: bool, i: u32): v128 {
  return words ? v128.load16_splat(address + i * 2) : v128.load8_splat(address + i)
}

/** Where elements are equal. */
// @ts-ignore: decorator
@inline
function equal(words: bool, x: v128, y: v128): u32 {
  return words ? <u32>i16x8.bitmask(i16x8.eq(x, y)) : <u32>i8x16.bitmask(i8x16.eq(x, y))
}

/** Where elements of `x` are at most those of `y`. */
function atMost(immediate: u32, x: v128, y: v128): u32 {
  const signed = (immediate & SIGNED) != 0
  if ((immediate & WORDS) != 0) return <u32>i16x8.bitmask(signed ? i16x8.le_s(x, y) : i16x8.le_u(x, y))
  return <u32>i8x16.bitmask(signed ? i8x16.le_s(x, y) : i8x16.le_u(x, y))
}

/** Elements before the first that is zero. */
// @ts-ignore: decorator
@inline
function implicitLength(words: bool, x: v128, n: u32): u32 {
  return ctz<u32>(equal(words, x, i64x2.splat(0)) | (1 << n))
}

/** A length's magnitude, at most `n`. */
// @ts-ignore: decorator
@inline
function explicitLength(length: i64, n: u32): u32 {
  const magnitude: u64 = length < 0 ? -length : length
  return magnitude > n ? n : <u32>magnitude
}

/** `la` and `lb`: how many elements of `a` (at an address) and `b` are valid. */
function compare(immediate: u32, a: u32, la: u32, b: v128, lb: u32, n: u32): u32 {
  const words = (immediate & WORDS) != 0
  const valid = first(lb)
  const all = first(n)
  let result: u32 = 0
  switch (immediate >> 2 & 3) {
    case 0: // equal any
      for (let i: u32 = 0; i < la; i++) result |= equal(words, everywhere(a, words, i), b)
      result &= valid
      break
    case 1: // ranges
      for (let i: u32 = 0; i + 1 < la; i += 2)
        result |=
          atMost(immediate, everywhere(a, words, i), b) & atMost(immediate, b, everywhere(a, words, i + 1))
      result &= valid
      break
    case 2: // equal each
      result = (equal(words, v128.load(a), b) & first(min(la, lb))) | (all & ~first(max(la, lb)))
      break
    default: // equal ordered: as far as the vector shows
      result = all
      for (let i: u32 = 0; i < la; i++)
        result &= ((equal(words, everywhere(a, words, i), b) & valid) >> i) | (all & ~(all >> i))
  }
  if ((immediate & NEGATIVE) != 0) result ^= (immediate & MASKED) != 0 ? valid : all
  let flags: u32 = 0
  if (result != 0) flags |= CF
  if (lb < n) flags |= ZF
  if (la < n) flags |= SF
  if ((result & 1) != 0) flags |= OF
  return result | flags << 16
}

/** PCMPISTRI, PCMPISTRM. */
export function compareImplicit(p: u32, immediate: u32): u32 {
  const words = (immediate & WORDS) != 0
  const n: u32 = words ? 8 : 16
  const a = p + SCRATCH
  const b = v128.load(p + SCRATCH, 16)
  return compare(immediate, a, implicitLength(words, v128.load(a), n), b, implicitLength(words, b, n), n)
}

/** PCMPESTRI, PCMPESTRM with the lengths in RAX and RDX. */
export function compareExplicit(p: u32, immediate: u32, la: i64, lb: i64): u32 {
  const n: u32 = (immediate & WORDS) != 0 ? 8 : 16
  const b = v128.load(p + SCRATCH, 16)
  return compare(immediate, p + SCRATCH, explicitLength(la, n), b, explicitLength(lb, n), n)
}

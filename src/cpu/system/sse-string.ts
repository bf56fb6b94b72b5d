/**
 * The string comparisons of SSE4.2 (SDM Vol. 1 12.3, Vol. 2B "PCMPESTRI" and section 4.1 of Vol. 2B). Operands are
 * addresses of 16 bytes; the answer is IntRes2 in bits 0-15 and the flags, in their EFLAGS places, from bit 16.
 */

const CF: u32 = 1
const ZF: u32 = 0x40
const SF: u32 = 0x80
const OF: u32 = 0x800

// Bits of the immediate.
const WORDS: u32 = 1
const SIGNED: u32 = 2
const NEGATIVE: u32 = 0x10
const MASKED: u32 = 0x20

@inline
function element(address: u32, immediate: u32, i: u32): i32 {
  if ((immediate & WORDS) != 0)
    return (immediate & SIGNED) != 0 ? load<i16>(address + i * 2) : load<u16>(address + i * 2)
  return (immediate & SIGNED) != 0 ? load<i8>(address + i) : load<u8>(address + i)
}

/** Elements before the first that is zero. */
function implicitLength(address: u32, immediate: u32, n: u32): u32 {
  let i: u32 = 0
  while (i < n && element(address, immediate, i) != 0) i++
  return i
}

/** A length's magnitude, at most `n`. */
@inline
function explicitLength(length: i64, n: u32): u32 {
  const magnitude: u64 = length < 0 ? -length : length
  return magnitude > n ? n : <u32>magnitude
}

/** Whether element `x` is one of the `la` at `a` (or in one of the ranges that they bound in pairs). */
function isMember(a: u32, la: u32, immediate: u32, ranges: bool, x: i32): bool {
  if (ranges) {
    for (let i: u32 = 0; i + 1 < la; i += 2)
      if (element(a, immediate, i) <= x && x <= element(a, immediate, i + 1)) return true
    return false
  }
  for (let i: u32 = 0; i < la; i++)
    if (element(a, immediate, i) == x) return true
  return false
}

/** Whether the string at `a` occurs in `b` at `j`, as far as the vector shows. */
function occurs(a: u32, la: u32, b: u32, lb: u32, immediate: u32, n: u32, j: u32): bool {
  for (let i: u32 = 0; i < la && i + j < n; i++)
    if (i + j >= lb || element(a, immediate, i) != element(b, immediate, i + j)) return false
  return true
}

function compare(immediate: u32, a: u32, la: u32, b: u32, lb: u32, n: u32): u32 {
  let result: u32 = 0
  const aggregation = immediate >> 2 & 3
  for (let j: u32 = 0; j < n; j++) {
    let holds: bool
    if (aggregation == 3) holds = occurs(a, la, b, lb, immediate, n, j)
    else if (aggregation == 2) {
      holds = j < la && j < lb ? element(a, immediate, j) == element(b, immediate, j) : j >= la && j >= lb
    } else holds = j < lb && isMember(a, la, immediate, aggregation == 1, element(b, immediate, j))
    result |= u32(holds) << j
  }
  if ((immediate & NEGATIVE) != 0) result ^= (immediate & MASKED) != 0 ? (1 << lb) - 1 : (1 << n) - 1
  let flags: u32 = 0
  if (result != 0) flags |= CF
  if (lb < n) flags |= ZF
  if (la < n) flags |= SF
  if ((result & 1) != 0) flags |= OF
  return result | flags << 16
}

/** PCMPISTRI, PCMPISTRM. */
export function compareImplicit(p: u32, immediate: u32, a: u32, b: u32): u32 {
  const n: u32 = (immediate & WORDS) != 0 ? 8 : 16
  return compare(immediate, a, implicitLength(a, immediate, n), b, implicitLength(b, immediate, n), n)
}

/** PCMPESTRI, PCMPESTRM with the lengths in RAX and RDX. */
export function compareExplicit(p: u32, immediate: u32, a: u32, la: i64, b: u32, lb: i64): u32 {
  const n: u32 = (immediate & WORDS) != 0 ? 8 : 16
  return compare(immediate, a, explicitLength(la, n), b, explicitLength(lb, n), n)
}

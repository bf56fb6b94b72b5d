/** Segmentation: from an offset in a segment to a linear address, with the checks of SDM Vol. 3A chapter 5. */
import { ATTR_DB, ATTR_NULL, CR0, MODE, MODE_LONG, SEG_ATTR, SEG_BASE, SEG_LIMIT } from './layout'
import { CR0_PE, GP, SEG_SS, SS } from './bits'
import { isCanonical } from './access'
import { raise } from './faults'

const WRITE: i32 = 1
const ALIGNED: i32 = 2

const CODE: u32 = 8
const EXPAND_DOWN: u32 = 4
const READABLE: u32 = 2 // of a code segment
const WRITABLE: u32 = 2 // of a data segment

/**
 * Linear address of `size` bytes at `offset` in segment `seg` (0-5: ES CS SS DS FS GS). Raises #GP(0), or #SS(0) for
 * SS, if the access is not allowed; the answer means nothing then. Outside 64-bit mode `offset` is below 4 GiB.
 * `access`: bit 0 write; bit 1 a misaligned address is #GP(0) whatever the segment (the caller checks it in 64-bit mode).
 */
export function segLinear(p: u32, seg: i32, offset: u64, size: i32, access: i32): u64 {
  const linear = load<u64>(p + (seg << 3), SEG_BASE) + offset
  if (load<u32>(p, MODE) & MODE_LONG) {
    if (!isCanonical(linear) || !isCanonical(linear + size - 1)) raise(p, seg == SEG_SS ? SS : GP, 0)
    return linear
  }
  if ((access & ALIGNED) != 0 && (linear & 15) != 0) raise(p, GP, 0)
  else if (refused(p, seg, offset, size, access & WRITE)) raise(p, seg == SEG_SS ? SS : GP, 0)
  return linear & 0xffffffff
}

// @ts-ignore: decorator
@inline
function refused(p: u32, seg: i32, offset: u64, size: i32, write: i32): bool {
  const attr = load<u32>(p + (seg << 2), SEG_ATTR)
  const limit = <u64>load<u32>(p + (seg << 2), SEG_LIMIT)
  const last = offset + size - 1
  if (attr & ATTR_NULL) return true
  // Real mode has limits but no types.
  if (load<u64>(p, CR0) & CR0_PE) {
    const writes = write != 0
    if ((attr & CODE) != 0 ? writes || (attr & READABLE) == 0 : writes && (attr & WRITABLE) == 0) return true
  }
  if ((attr & (CODE | EXPAND_DOWN)) == EXPAND_DOWN)
    return offset <= limit || last > <u64>(attr & ATTR_DB ? 0xffffffff : 0xffff)
  // At 4 GiB an access may wrap around, as the flat fast path does (SDM Vol. 3A 5.3 leaves it open).
  return last > limit && limit != 0xffffffff
}

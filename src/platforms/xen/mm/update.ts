/**
 * A new value for one entry of a table in use: checked, references taken for what it names and dropped for what the
 * old one named (xen/arch/x86/mm.c, `mod_l1_entry` to `mod_l4_entry`). 0 or a negative errno.
 */
import { Errno } from '../errno.ts'
import {
  ACCESSED,
  DIRTY,
  FRAME_HIGH,
  NARROW_L3_SLOTS,
  PRESENT,
  REFUSED,
  REFUSED_L1,
  SUBSTANCE,
  TABLE_SHIFT,
} from './entries.ts'
import type { FrameTable } from './frame-table.ts'
import { added, adjustedHigh, adjustedLow, getL1, getTable, isXens, putL1, putTable, settle } from './types.ts'

const { EINVAL, EPERM } = Errno

/** The entry is at word `at`. `keep`: accessed and dirty stay set. `io`: see `getL1`. */
export function updateL1(f: FrameTable, at: number, low: number, high: number, keep: boolean, io: boolean): number {
  const oldLow = f.words[at]
  const oldHigh = f.words[at + 1]
  if ((low & PRESENT) === 0) {
    write(f, at, low, high, oldLow, keep)
    putL1(f, oldLow, oldHigh)
    return 0
  }
  if (low & REFUSED_L1) return EINVAL
  const same = sameMapping(oldLow, oldHigh, low, high)
  if (!same) {
    const answer = getL1(f, low, high, io)
    if (answer < 0) return answer
  }
  write(f, at, adjustedLow(f, low, high), adjustedHigh(f, low, high), oldLow, keep)
  if (!same) putL1(f, oldLow, oldHigh)
  return 0
}

/** The entry is at word `at` of a table of `level` 2 to 4. */
export function updateTable(
  f: FrameTable,
  level: number,
  at: number,
  low: number,
  high: number,
  keep: boolean,
): number {
  const table = at >>> TABLE_SHIFT
  const slot = (at >>> 1) & 511
  if (isXens(f, table, level, slot)) return level === 4 ? EINVAL : EPERM
  if (f.narrow && level === 3 && slot >= NARROW_L3_SLOTS - 1) return EINVAL
  const oldLow = f.words[at]
  const oldHigh = f.words[at + 1]
  if (low & PRESENT) {
    if (low & REFUSED || (f.narrow && level === 3 && high !== 0)) return EINVAL
    const toLow = low | added(f, level)
    const same = sameMapping(oldLow, oldHigh, toLow, high)
    if (!same) {
      const answer = getTable(f, level, low, high, table)
      if (answer < 0) {
        settle(f)
        return answer
      }
    }
    write(f, at, toLow, high, oldLow, keep)
    if (same) return 0
  } else write(f, at, low, high, oldLow, keep)
  putTable(f, oldLow, table)
  return 0
}

/** It names the same frame with the same rights: nothing to take or to drop. */
function sameMapping(oldLow: number, oldHigh: number, low: number, high: number): boolean {
  return ((oldLow ^ low) & SUBSTANCE) === 0 && ((oldHigh ^ high) & FRAME_HIGH) === 0
}

function write(f: FrameTable, at: number, low: number, high: number, oldLow: number, keep: boolean): void {
  f.ram.put(at, keep ? low | (oldLow & (ACCESSED | DIRTY)) : low, high)
  if (oldLow & PRESENT) f.tlbs.changed()
}

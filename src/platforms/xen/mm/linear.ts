/** The way through the guest's tables to the L1 entry of a linear address, without a fault (Xen's `map_guest_l1e`). */
import { ACCESSED, isGuestAddress, NARROW_END, PRESENT, PSE, slotOf, TABLE_SHIFT } from './entries.ts'
import type { FrameTable } from './frame-table.ts'

/** Word index of the L1 entry, or -1. What it passes on the way is marked accessed, but for the L2 entry itself. */
export function findL1(f: FrameTable, root: number, low: number, high: number): number {
  if (f.narrow ? low >>> 0 >= NARROW_END : !isGuestAddress(high)) return -1
  let table = root
  for (let level = f.rootType; ; level--) {
    const at = (table << TABLE_SHIFT) + 2 * slotOf(level, low, high)
    const entry = f.words[at]
    if ((entry & PRESENT) === 0 || (level < f.rootType && entry & PSE)) return -1
    table = entry >>> 12
    if (level === 2) return (table << TABLE_SHIFT) + 2 * slotOf(1, low, high)
    if ((entry & ACCESSED) === 0) f.ram.put(at, entry | ACCESSED, f.words[at + 1])
  }
}

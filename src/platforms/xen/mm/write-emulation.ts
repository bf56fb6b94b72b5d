/**
 * Stores of the kernel's to its own L1 tables, which it can only read (writable page tables, "ptwr"): done as an update
 * of the entry that they hit (xen/arch/x86/pv/ro-page-fault.c). The processor asks instead of raising #PF.
 */
import { PRESENT } from './entries.ts'
import { TYPE, Type, VALIDATED } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { adjustedHigh, adjustedLow, getL1, putL1 } from './types.ts'

/** The frame is an L1 table of the domain's, in use. */
export function isEmulated({ frames }: Mm, frame: number): boolean {
  return (
    frames.isOwn(frame) &&
    frames.typeRefs[frame] !== 0 &&
    (frames.types[frame] & (TYPE | VALIDATED)) === (Type.L1 | VALIDATED)
  )
}

/**
 * A store of 1, 2, 4 or 8 bytes, aligned, to a physical address in such a frame. False: the guest gets its #PF, and
 * nothing has changed.
 */
export function emulateStore({ frames }: Mm, address: number, size: number, low: number, high: number): boolean {
  const at = (address >>> 3) << 1
  const oldLow = frames.words[at]
  const oldHigh = frames.words[at + 1]
  let toLow = low
  let toHigh = high
  if (size < 8) {
    const shift = (address & 3) << 3
    const mask = size === 4 ? -1 : ((1 << (size << 3)) - 1) << shift
    const part = (low << shift) & mask
    const upper = (address & 4) !== 0
    toLow = upper ? oldLow : (oldLow & ~mask) | part
    toHigh = upper ? (oldHigh & ~mask) | part : oldHigh
  }
  if (toLow & PRESENT) {
    if (getL1(frames, toLow, toHigh, false) < 0) {
      // The upper half of an entry of a 32-bit guest's, which will write the lower one next: not present until then.
      if (!frames.narrow || size !== 4 || (address & 4) === 0) return false
      frames.ram.put(at, toLow & ~PRESENT, toHigh)
    } else frames.ram.put(at, adjustedLow(frames, toLow, toHigh), adjustedHigh(frames, toLow, toHigh))
  } else frames.ram.put(at, toLow, toHigh)
  if (oldLow & PRESENT) frames.tlbs.changed()
  putL1(frames, oldLow, oldHigh)
  return true
}

/**
 * Mappings by grant in page tables of the domain's own (xen/arch/x86/pv/grant_table.c): an L1 entry, named by its
 * machine address or by the linear address that it maps, is made to lead to a granted frame. The reference and the use
 * that such an entry stands for are the grant table's to take and, at the end, to drop. Answers are GNTST_*.
 */
import { GntStatus } from '../grants/status.ts'
import { ACCESSED, DIRTY, FRAME_HIGH, NX, PRESENT, RW, TABLE_SHIFT, USER } from './entries.ts'
import { type FrameTable, TYPE, Type, VALIDATED } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { adjustedHigh, adjustedLow, putL1 } from './types.ts'

/** GNTMAP_* of a mapping that page tables show. */
const READONLY = 4
const APPLICATION = 8
const CONTAINS_PTE = 16
/** Bits for the guest's own use, and where they are in an entry. */
const AVAILABLE = 16
const AVAILABLE_ENTRY = 9

export interface GrantAddress {
  readonly low: number
  readonly high: number
}

/** Word index of the entry, in an L1 table of the domain's that is in use; or -1. */
function entryOf(mm: Mm, vcpu: number, address: GrantAddress, flags: number): number {
  const { frames } = mm
  let at: number
  if (flags & CONTAINS_PTE) {
    if (address.low & 7 || address.high !== 0) return -1
    at = address.low >>> 2
  } else at = mm.findL1(vcpu, address.low, address.high)
  return at >= 0 && isTable(frames, at >>> TABLE_SHIFT) ? at : -1
}

function isTable(frames: FrameTable, frame: number): boolean {
  if (!frames.isOwn(frame) || frames.typeRefs[frame] === 0) return false
  return (frames.types[frame] & (TYPE | VALIDATED)) === (Type.L1 | VALIDATED)
}

/** Map a frame to which the grant table holds what the mapping needs. */
export function mapGrant(mm: Mm, vcpu: number, address: GrantAddress, frame: number, flags: number): number {
  const at = entryOf(mm, vcpu, address, flags)
  if (at < 0) return GntStatus.GENERAL_ERROR
  const low =
    (frame << 12) |
    (PRESENT | ACCESSED | DIRTY) |
    (flags & APPLICATION ? USER : 0) |
    (flags & READONLY ? 0 : RW) |
    (((flags >>> AVAILABLE) & 7) << AVAILABLE_ENTRY)
  replace(mm.frames, at, adjustedLow(mm.frames, low, NX), adjustedHigh(mm.frames, low, NX), true)
  return GntStatus.OKAY
}

/**
 * Take a mapping away, unless something else is there by now; with `other`, put there what that linear address maps,
 * which maps nothing then.
 */
export function replaceGrant(
  mm: Mm,
  vcpu: number,
  address: GrantAddress,
  frame: number,
  flags: number,
  other: GrantAddress | undefined,
): number {
  if (!other) {
    const at = entryOf(mm, vcpu, address, flags)
    if (at < 0 || !leadsTo(mm.frames, at, frame, flags)) return GntStatus.GENERAL_ERROR
    replace(mm.frames, at, 0, 0, false)
    return GntStatus.OKAY
  }
  if (flags & CONTAINS_PTE) return GntStatus.GENERAL_ERROR
  const from = entryOf(mm, vcpu, other, 0)
  if (from < 0) return GntStatus.GENERAL_ERROR
  const { frames } = mm
  const low = frames.words[from]
  const high = frames.words[from + 1]
  replace(frames, from, 0, 0, false)
  const at = entryOf(mm, vcpu, address, flags)
  if (at >= 0 && leadsTo(frames, at, frame, flags)) {
    replace(frames, at, low, high, false)
    return GntStatus.OKAY
  }
  putL1(frames, low, high)
  return GntStatus.GENERAL_ERROR
}

function leadsTo({ words }: FrameTable, at: number, frame: number, flags: number): boolean {
  const low = words[at]
  if (low >>> 12 !== frame || words[at + 1] & FRAME_HIGH) return false
  return (low & (PRESENT | RW)) === (flags & READONLY ? PRESENT : PRESENT | RW)
}

function replace(frames: FrameTable, at: number, low: number, high: number, drop: boolean): void {
  const oldLow = frames.words[at]
  const oldHigh = frames.words[at + 1]
  frames.ram.put(at, low, high)
  if (oldLow & PRESENT) frames.tlbs.changed()
  if (drop) putL1(frames, oldLow, oldHigh)
}

/**
 * Page types: what a frame may be used as, counted, so that it is never a page table and writable at once. A frame
 * becomes a table by validation, which takes a reference and a type for whatever its entries name, level by level, and
 * ceases to be one when its last use goes. Everything here answers 0 or a negative errno, as xen/arch/x86/mm.c of Xen
 * 4.17 does; what Xen leaves for a continuation is done at once.
 */
import { Errno } from '../errno.ts'
import { safeDescriptor } from './descriptors.ts'
import {
  ACCESSED,
  ENTRIES,
  FIRST_XEN_L2_SLOT,
  FIRST_XEN_SLOT,
  FRAME_HIGH,
  GLOBAL,
  GUEST_KERNEL,
  LAST_XEN_SLOT,
  NARROW_L3_SLOTS,
  PRESENT,
  REFUSED,
  REFUSED_L1,
  RW,
  TABLE_SHIFT,
  USER,
} from './entries.ts'
import { type FrameTable, Owner, PAE_XEN, TYPE, Type, VALIDATED } from './frame-table.ts'
import { fillNarrowXenSlots, fillXenSlots } from './xen-slots.ts'

const { EBUSY, EINVAL, EPERM } = Errno
const MOST_LINEAR = 0x7fff
const UNMAPPED = 0xfffff

/** Take a use as `type` of a frame to which there is a reference (`_get_page_type`). */
export function getType(f: FrameTable, frame: number, type: number): number {
  const { types, typeRefs } = f
  const old = types[frame]
  if (typeRefs[frame] !== 0) {
    // A table that is being validated is asked for by its own entries only, and then as something else.
    if ((old & (TYPE | PAE_XEN)) !== type) return EINVAL
    if (f.partial[frame] !== 0) return resume(f, frame)
    typeRefs[frame]++
    return 0
  }
  typeRefs[frame] = 1
  if ((old & (TYPE | PAE_XEN)) === type) {
    if (old & VALIDATED) return 0
  } else {
    types[frame] = (old & ~(TYPE | VALIDATED | PAE_XEN)) | type
    // No vCPU may be left with a translation by which it could write to what becomes a table.
    if ((old & TYPE) === Type.WRITABLE) f.tlbs.flushSince(f.stamps[frame])
  }
  if (type !== Type.WRITABLE && type !== Type.SHARED) {
    f.linear[frame] = 0
    const answer = validate(f, frame, type)
    if (answer < 0) {
      if (f.unfinished !== frame) untyped(f, frame)
      return answer
    }
  }
  types[frame] |= VALIDATED
  return 0
}

function untyped(f: FrameTable, frame: number): void {
  f.types[frame] &= ~(TYPE | VALIDATED | PAE_XEN)
  f.typeRefs[frame] = 0
  f.stamps[frame] = f.tlbs.now
}

/** Go on with an L2 table whose validation failed, and was left at that: its use becomes the one that is asked for. */
function resume(f: FrameTable, frame: number): number {
  const from = f.partial[frame]
  f.partial[frame] = 0
  const answer = promote(f, frame, Type.L2, from)
  if (answer === 0) f.types[frame] |= VALIDATED
  f.put(frame)
  return answer
}

/** Undo what a validation that failed has left (`put_old_guest_table`): after each request. */
export function settle(f: FrameTable): void {
  const frame = f.unfinished
  if (frame < 0) return
  f.unfinished = -1
  const count = f.partial[frame]
  f.partial[frame] = 0
  demote(f, frame, Type.L2, count)
  untyped(f, frame)
  // Its own reference, and that of the entry that led to it.
  f.put(frame)
  f.put(frame)
}

/** Drop a use of a frame; `table` is the one whose entry it was (`_put_page_type`). */
export function putType(f: FrameTable, frame: number, table = -1): void {
  const { types, typeRefs } = f
  const type = types[frame] & TYPE
  // An entry that names a table of its own level.
  const linear = table >= 0 && (types[table] & TYPE) === type
  if (typeRefs[frame] === 1) {
    if (type >= Type.L1 && type <= Type.L4) {
      types[frame] &= ~VALIDATED
      demote(f, frame, type, ENTRIES)
    }
    f.stamps[frame] = f.tlbs.now
  }
  if (linear) {
    f.linear[frame]++
    f.linear[table]--
  }
  typeRefs[frame]--
}

/** Drop a use and the reference that went with it. */
export function putPageAndType(f: FrameTable, frame: number): void {
  putType(f, frame)
  f.put(frame)
}

/** Take a reference to a frame of the domain's and a use as `type`: -EINVAL if it is none. */
export function getPageAndType(f: FrameTable, frame: number, type: number): number {
  if (!f.get(frame)) return EINVAL
  const answer = getType(f, frame, type)
  if (answer < 0) {
    if (f.unfinished !== frame) f.put(frame)
    settle(f)
  }
  return answer
}

function validate(f: FrameTable, frame: number, type: number): number {
  f.work += ENTRIES
  f.ram.need(frame)
  if (type === Type.L1) return promoteL1(f, frame)
  return type === Type.SEG_DESC ? validateDescriptors(f, frame) : promote(f, frame, type & TYPE, 0)
}

function promoteL1(f: FrameTable, frame: number): number {
  const { words } = f
  const start = frame << TABLE_SHIFT
  for (let at = start; at < start + 2 * ENTRIES; at += 2) {
    const low = words[at]
    if ((low & PRESENT) === 0) continue
    const high = words[at + 1]
    const answer = getL1(f, low, high, false)
    if (answer < 0) {
      for (at -= 2; at >= start; at -= 2) putL1(f, words[at], words[at + 1])
      return answer
    }
    const to = adjustedLow(f, low, high)
    if (to !== low) f.ram.put(at, to, adjustedHigh(f, low, high))
  }
  return 0
}

/**
 * Tables above L1, from a slot on. Entries before one that is refused keep what Xen added to them.
 *
 * An L2 table that fails after its first slot is undone later, by whoever is next above that had come further than its
 * own first slot, or by `settle`. If that one is an L4 table, Xen 4.17 takes the L2 table for one of its own entries',
 * sees that it is not, and lets it be: it keeps its type and two references until somebody wants it as an L2 table.
 */
function promote(f: FrameTable, frame: number, level: number, from: number): number {
  const { words } = f
  const start = frame << TABLE_SHIFT
  const add = added(f, level)
  const narrowL3 = f.narrow && level === 3
  const slots = narrowL3 ? NARROW_L3_SLOTS : ENTRIES
  for (let slot = slots; slot < ENTRIES; slot++) f.ram.put(start + 2 * slot, 0, 0)
  for (let slot = from; slot < slots; slot++) {
    if (isXens(f, frame, level, slot)) continue
    const at = start + 2 * slot
    const low = words[at]
    const high = words[at + 1]
    const last = narrowL3 && slot === NARROW_L3_SLOTS - 1
    if ((low & PRESENT) === 0 && !last) continue
    const answer = last ? getLastL2(f, low, high) : getTable(f, level, low, high, frame)
    if (answer < 0) {
      if (slot > 0) undo(f, frame, level, slot)
      return answer
    }
    if ((low & add) !== add) f.ram.put(at, low | add, high)
  }
  if (level === 4) {
    fillXenSlots(f, frame)
    // Nobody takes it for the root that this frame may have been before.
    f.tlbs.changed()
  }
  if (f.types[frame] & PAE_XEN) fillNarrowXenSlots(f, frame)
  if (narrowL3) {
    // Xen's part of it is this table's alone.
    if (f.typeRefs[words[start + 2 * (NARROW_L3_SLOTS - 1)] >>> 12] !== 1) {
      undo(f, frame, level, slots)
      return EINVAL
    }
    f.tlbs.changed()
  }
  return 0
}

/** Slot 3 of a 32-bit guest's L3 table: it must be there, and no other table has it in such a place. */
function getLastL2(f: FrameTable, low: number, high: number): number {
  if ((low & PRESENT) === 0 || low & REFUSED) return EINVAL
  const frame = low >>> 12
  if (high !== 0 || !f.get(frame)) return EINVAL
  const answer = getType(f, frame, Type.L2 | PAE_XEN)
  if (answer !== 0 && f.unfinished !== frame) f.put(frame)
  return answer
}

/** What Xen adds to a present entry above L1. */
export function added(f: FrameTable, level: number): number {
  if (f.narrow) return level === 3 ? USER | RW : 0
  return level === 4 ? USER | ACCESSED : USER
}

/** A slot of a table above L1 that is Xen's. */
export function isXens(f: FrameTable, table: number, level: number, slot: number): boolean {
  if (level === 4) return isXenSlot(slot)
  return level === 2 && slot >= FIRST_XEN_L2_SLOT && (f.types[table] & PAE_XEN) !== 0
}

function undo(f: FrameTable, frame: number, level: number, slot: number): void {
  if (level === 2) {
    f.partial[frame] = slot
    f.unfinished = frame
    f.refs[frame]++
    return
  }
  if (level === 4 && f.unfinished >= 0) {
    f.lost.set(f.unfinished, (f.lost.get(f.unfinished) ?? 0) + 1)
    f.unfinished = -1
  }
  settle(f)
  demote(f, frame, level, slot)
}

/** Let go of what the first `count` entries name. */
function demote(f: FrameTable, frame: number, level: number, count: number): void {
  const { words } = f
  f.work += ENTRIES
  const start = frame << TABLE_SHIFT
  for (let slot = count - 1; slot >= 0; slot--) {
    const at = start + 2 * slot
    if (level === 1) putL1(f, words[at], words[at + 1])
    else if (!isXens(f, frame, level, slot)) {
      putTable(f, words[at], frame)
      const given = added(f, 3) | ACCESSED
      if (f.narrow && level === 3 && words[at] & PRESENT) f.ram.put(at, words[at] & ~given, words[at + 1])
    }
  }
}

function validateDescriptors(f: FrameTable, frame: number): number {
  const { words } = f
  const start = frame << TABLE_SHIFT
  for (let at = start; at < start + 2 * ENTRIES; at += 2) {
    const safe = safeDescriptor(words[at], words[at + 1], f.narrow)
    if (!safe) return EINVAL
    if (safe[0] !== words[at] || safe[1] !== words[at + 1]) f.ram.put(at, safe[0], safe[1])
  }
  return 0
}

function isXenSlot(slot: number): boolean {
  return slot >= FIRST_XEN_SLOT && slot <= LAST_XEN_SLOT
}

/**
 * Take what a present L1 entry needs (`get_page_from_l1e`); `io`: its frame is to be DOMID_IO's. It may be nobody's
 * memory: that is refused differently.
 */
export function getL1(f: FrameTable, low: number, high: number, io: boolean): number {
  if (low & REFUSED_L1) return EINVAL
  const frame = low >>> 12
  if (high & FRAME_HIGH || frame >= f.count || f.owner[frame] === Owner.IO)
    return (high & FRAME_HIGH) === FRAME_HIGH && frame === UNMAPPED ? EINVAL : EPERM
  if (io || f.owner[frame] !== Owner.DOMAIN || f.refs[frame] === 0) return EBUSY
  if (low & RW) {
    // The common case of `getType` in place: one of the many writable mappings of memory.
    if (f.typeRefs[frame] !== 0 && (f.types[frame] & TYPE) === Type.WRITABLE) f.typeRefs[frame]++
    else if (getType(f, frame, Type.WRITABLE) < 0) return EBUSY
  }
  f.refs[frame]++
  return 0
}

/** Let go of what an L1 entry named. */
export function putL1(f: FrameTable, low: number, high: number): void {
  if ((low & PRESENT) === 0) return
  const frame = low >>> 12
  if (high & FRAME_HIGH || frame >= f.count || f.owner[frame] === Owner.IO) return
  if (low & RW) putType(f, frame)
  f.put(frame)
}

/** Take what a present entry of table `table`, above L1, needs. */
export function getTable(f: FrameTable, level: number, low: number, high: number, table: number): number {
  if (low & REFUSED) return EINVAL
  const frame = low >>> 12
  // An L3 table of a 32-bit guest has neither NX nor bits for software, and names none of its kind.
  const narrowL3 = f.narrow && level === 3
  if ((narrowL3 ? high : high & FRAME_HIGH) || !f.get(frame)) return EINVAL
  const answer = getType(f, frame, level - 1)
  if (answer === 0) return 0
  if (f.unfinished !== frame) f.put(frame)
  return answer === EINVAL && !narrowL3 && getLinear(f, level, low, frame, table) ? 0 : answer
}

/** Let go of what an entry of `table`, above L1, named. */
export function putTable(f: FrameTable, low: number, table: number): void {
  const frame = low >>> 12
  if ((low & PRESENT) === 0 || frame === table) return
  putType(f, frame, table)
  f.put(frame)
}

/**
 * A table may name one of its own level, read-only and already valid, so that its entries appear as memory (linear
 * page tables). Naming itself counts as nothing; a chain of two is refused.
 */
function getLinear(f: FrameTable, level: number, low: number, frame: number, table: number): boolean {
  if (low & RW) return false
  if (frame === table) return true
  const { linear } = f
  if (linear[table] < 0 || linear[table] === MOST_LINEAR) return false
  if (linear[frame] > 0 || linear[frame] === ~MOST_LINEAR) return false
  if ((f.types[frame] & (TYPE | VALIDATED)) !== (level | VALIDATED)) return false
  f.get(frame)
  linear[table]++
  linear[frame]--
  f.typeRefs[frame]++
  return true
}

/** How Xen stores a present L1 entry of a 64-bit guest: USER always; what had it is GLOBAL, what had not is marked. */
export function adjustedLow(f: FrameTable, low: number, high: number): number {
  if (f.narrow) return low
  return low & USER && (high & GUEST_KERNEL) === 0 ? low | GLOBAL : low | USER
}

export function adjustedHigh(f: FrameTable, low: number, high: number): number {
  if (f.narrow) return high
  return low & USER ? high : high | GUEST_KERNEL
}

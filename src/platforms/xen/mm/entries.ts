/**
 * Page-table entries as Xen sees them: two 32-bit halves, since a bigint for each of some hundred thousand updates
 * would cost more than the updates. In the low half are flags and the frame's low 20 bits; in the high one are the
 * frame's upper 20 bits, the bits for software (52 to 62) and NX. A frame number that this host can have fits the low
 * half, so any entry with more in it names no memory.
 */
export const PRESENT = 1
export const RW = 2
export const USER = 4
const PWT = 8
export const PCD = 0x10
export const ACCESSED = 0x20
export const DIRTY = 0x40
/** In upper levels; in an L1 entry it is PAT. */
export const PSE = 0x80
export const GLOBAL = 0x100

/** In the high half: Xen's mark of an L1 entry that the guest made without USER (asm-x86/x86_64/page.h). */
export const GUEST_KERNEL = 1 << 20
export const NX = 1 << 31
/** The frame's part of the high half. */
export const FRAME_HIGH = 0xfffff

/** Flags that Xen refuses a domain without devices (Xen 4.17, `base_disallow_mask`); L1 entries may be GLOBAL. */
export const REFUSED = PWT | PCD | PSE | GLOBAL
export const REFUSED_L1 = REFUSED & ~GLOBAL

/** The low half's bits whose change makes it another mapping: frame, PRESENT, RW and what is refused anyway. */
export const SUBSTANCE = 0xfffff000 | PRESENT | RW | PWT | PCD | PSE

/** Entries in a table, and words. */
export const ENTRIES = 512
export const TABLE_WORDS = 1024
export const TABLE_SHIFT = 10
export const PAGE = 4096

/** L4 slots that are Xen's (0xffff800000000000 to 0xffff87ffffffffff). */
export const FIRST_XEN_SLOT = 256
export const LAST_XEN_SLOT = 271

/** Slots of an L2 table in slot 3 of a 32-bit guest's L3 table that are Xen's (0xf5800000 to 0xffffffff). */
export const FIRST_XEN_L2_SLOT = 428
/** Slots of such an L3 table that mean something to the guest. */
export const NARROW_L3_SLOTS = 4
/** Where the hypervisor's addresses begin for a 32-bit guest. */
export const NARROW_END = 0xf5800000

/** Index into the table of `level` (1 to 4) on the way to a linear address. */
export function slotOf(level: number, low: number, high: number): number {
  if (level === 1) return (low >>> 12) & 511
  if (level === 2) return (low >>> 21) & 511
  return level === 3 ? ((high & 0x7f) << 2) | (low >>> 30) : (high >>> 7) & 511
}

/** Neither in Xen's range nor between the halves of the canonical addresses (Xen's `__addr_ok`). */
export function isGuestAddress(high: number): boolean {
  return high >>> 0 < 0x8000 || high >>> 0 >= 0xffff8800
}

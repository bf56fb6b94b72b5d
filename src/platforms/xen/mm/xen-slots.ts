/**
 * Xen's own slots of an L4 table (xen/arch/x86/mm.c, `init_xen_l4_slots`): the read-only machine-to-physical table, the
 * table itself for Xen's linear map, what is each domain's own (its vCPUs' descriptor tables), and Xen. The guest, at
 * CPL 3, can use the first only; all of them it can read in its tables.
 */
import {
  ACCESSED,
  DIRTY,
  ENTRIES,
  FIRST_XEN_L2_SLOT,
  FIRST_XEN_SLOT,
  LAST_XEN_SLOT,
  NX,
  PRESENT,
  PSE,
  RW,
  TABLE_SHIFT,
  USER,
} from './entries.ts'
import type { FrameTable } from './frame-table.ts'

const M2P = 0
const SELF = 2
const PER_DOMAIN = 4
const XEN = 5
const DIRECT_MAP = 6

const OWN = PRESENT | RW | ACCESSED | DIRTY
const READ_ONLY = PRESENT | ACCESSED | USER
/** Frames and bytes of a 2 MiB page. */
const CHUNK = 512
const CHUNK_BYTES = 1 << 21

function put(f: FrameTable, root: number, slot: number, frame: number, flags: number): void {
  f.ram.put((root << TABLE_SHIFT) + 2 * (FIRST_XEN_SLOT + slot), (frame << 12) | flags, NX)
}

export function fillXenSlots(f: FrameTable, root: number): void {
  const start = root << TABLE_SHIFT
  for (let slot = FIRST_XEN_SLOT; slot <= LAST_XEN_SLOT; slot++) f.ram.put(start + 2 * slot, 0, 0)
  const { perDomain, xen, directMap } = f.xen
  if (f.strictM2p) showM2p(f, root)
  put(f, root, SELF, root, OWN)
  put(f, root, PER_DOMAIN, perDomain, OWN)
  put(f, root, XEN, xen, OWN)
  put(f, root, DIRECT_MAP, directMap, OWN)
}

/** Map the machine-to-physical table in a root, if it is not. */
export function showM2p(f: FrameTable, root: number): void {
  const at = (root << TABLE_SHIFT) + 2 * FIRST_XEN_SLOT
  if (f.words[at] === 0 && f.words[at + 1] === 0) put(f, root, M2P, f.xen.m2p, READ_ONLY)
}

/** Xen's part of an L2 table of a 32-bit guest: the machine-to-physical table in 2 MiB pages (`init_xen_pae_l2_slots`). */
export function fillNarrowXenSlots(f: FrameTable, table: number): void {
  const start = table << TABLE_SHIFT
  const chunks = Math.ceil((f.count * 4) / CHUNK_BYTES)
  for (let slot = FIRST_XEN_L2_SLOT; slot < ENTRIES; slot++) {
    const chunk = slot - FIRST_XEN_L2_SLOT
    const entry = chunk < chunks ? ((f.m2p + chunk * CHUNK) << 12) | PRESENT | PSE : 0
    f.ram.put(start + 2 * slot, entry, 0)
  }
}

export function hideM2p(f: FrameTable, root: number): void {
  f.ram.put((root << TABLE_SHIFT) + 2 * FIRST_XEN_SLOT, 0, 0)
}

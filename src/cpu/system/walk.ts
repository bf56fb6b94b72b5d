/**
 * The page walk (SDM Vol. 3A chapter 4): no paging, 32-bit with 4 MiB pages and PSE-36, PAE, 4-level with 2 MiB and
 * 1 GiB pages. A walk checks rights for one access, sets accessed and dirty flags as it uses entries, and answers with
 * the page's physical address and a few flags, or raises #PF. Protection keys and 5-level paging do not exist here.
 */
import { CR0, CR2, CR3, CR4, EFER, M_WATCH_TABLES, MAXPHYADDR, PAGE_MMIO, PV, TLBC_SUPERVISOR, TLBC_USER } from './layout'
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMEP, EFER_LMA, EFER_NXE, GP, PF } from './bits'
import { raise } from './faults'
import { hostAddress, pageKind, physRead, tableWrite } from './physical'
import { PDPTES } from './tlb'
import { watchTables } from './watch'

/** Access kinds, as in the page-fault error code. */
export const READ: u32 = 0
export const WRITE: u32 = 2
export const EXECUTE: u32 = 16

/** Flags in the low bits of a walk's answer. */
export const WALK_WRITABLE: u64 = 1 // a write may go ahead without another walk: permitted, and the page is dirty
export const WALK_GLOBAL: u64 = 2
export const WALK_2M: u64 = 4 // from a 2 or 4 MiB page
export const WALK_1G: u64 = 8
/** The answer of a walk that raised #PF. */
export const WALK_FAULT: u64 = ~(<u64>0)


// Paging-structure entries.
const P: u64 = 1
const RW: u64 = 2
const US: u64 = 4
const A: u64 = 0x20
const D: u64 = 0x40
const PS: u64 = 0x80
const G: u64 = 0x100
const NX: u64 = 1 << 63
const ADDRESS: u64 = 0x000ffffffffff000
/** Address bits that this processor does not have. */
const BEYOND: u64 = 0x000fffffffffffff & ~((<u64>1 << MAXPHYADDR) - 1)
const FRAME: u64 = ADDRESS & ~BEYOND

// Page-fault error code.
const PF_P: u32 = 1
const PF_U: u32 = 4
const PF_RSVD: u32 = 8
const PF_I: u32 = 16

function pageFault(p: u32, linear: u64, access: u32, bank: u32, bits: u32): u64 {
  let error = bits | (access & WRITE)
  if (bank == TLBC_USER) error |= PF_U
  if (access == EXECUTE) {
    const cr4 = load<u64>(p, CR4)
    if ((cr4 & CR4_SMEP) != 0 || ((cr4 & CR4_PAE) != 0 && (load<u64>(p, EFER) & EFER_NXE) != 0)) error |= PF_I
  }
  store<u64>(p, linear, CR2)
  raise(p, PF, error)
  return WALK_FAULT
}

// @ts-ignore: decorator
@inline
function entry64(p: u32, pa: u64): u64 {
  return pageKind(pa >>> 12) != PAGE_MMIO ? load<u64>(hostAddress(pa)) : physRead(p, pa, 8)
}

/** Whether `access` under the rules of `bank` is refused by the levels' combined U/S, R/W and (`nx`) XD. */
// @ts-ignore: decorator
@inline
function refused(p: u32, access: u32, bank: u32, rights: u64, nx: bool): bool {
  if (access == EXECUTE) {
    if (nx) return true
    return bank == TLBC_USER ? (rights & US) == 0 : (rights & US) != 0 && (load<u64>(p, CR4) & CR4_SMEP) != 0
  }
  if (bank == TLBC_USER ? (rights & US) == 0 : bank == TLBC_SUPERVISOR && (rights & US) != 0) return true
  return access == WRITE && !mayWrite(p, bank, rights)
}

// @ts-ignore: decorator
@inline
function mayWrite(p: u32, bank: u32, rights: u64): bool {
  return (rights & RW) != 0 || (bank != TLBC_USER && (load<u64>(p, CR0) & CR0_WP) == 0)
}

/** Set A (and D for a write) in the entry that maps the page, if they are not; `size` is the entry's. */
// @ts-ignore: decorator
@inline
function use(p: u32, pa: u64, entry: u64, access: u32, size: i32): u64 {
  const used = entry | (access == WRITE ? A | D : A)
  if (used != entry) tableWrite(p, pa, size, used)
  return used
}

// @ts-ignore: decorator
@inline
function answer(p: u32, frame: u64, entry: u64, bank: u32, rights: u64, size: u64): u64 {
  let result = frame | size
  if ((entry & D) != 0 && mayWrite(p, bank, rights)) result |= WALK_WRITABLE
  if ((entry & G) != 0 && (load<u64>(p, CR4) & CR4_PGE) != 0) result |= WALK_GLOBAL
  return result
}

/**
 * Walk for `access` by the rules of TLB bank `bank` (which names the privilege; SUPERVISOR is the one to which SMAP
 * applies). The answer is the physical address of the 4 KiB page with WALK_ flags, or WALK_FAULT. `linear` is
 * canonical, and below 4 GiB outside long mode.
 */
export function walk(p: u32, linear: u64, access: u32, bank: u32): u64 {
  if (load<u32>(M_WATCH_TABLES)) watchTables(p, linear)
  if (load<u64>(p, EFER) & EFER_LMA) return walk4(p, linear, access, bank)
  if ((load<u64>(p, CR0) & CR0_PG) == 0) return (linear & FRAME) | WALK_WRITABLE | WALK_GLOBAL
  return load<u64>(p, CR4) & CR4_PAE ? walkPae(p, linear, access, bank) : walk32(p, linear, access, bank)
}

function walk4(p: u32, linear: u64, access: u32, bank: u32): u64 {
  const reserved = load<u64>(p, EFER) & EFER_NXE ? BEYOND : BEYOND | NX

  // CR3 of a 32-bit Xen PV guest is its L3 table, which on real machines the first entry of a table of Xen's names.
  if (load<u32>(p, PV) == 2) return walk3(p, linear, access, bank, load<u64>(p, CR3) & FRAME, P | RW | US, reserved)
  const pa4 = (load<u64>(p, CR3) & FRAME) | ((linear >>> 36) & 0xff8)
  const e4 = entry64(p, pa4)
  if ((e4 & P) == 0) return pageFault(p, linear, access, bank, 0)
  if (e4 & (reserved | PS)) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
  if ((e4 & A) == 0) tableWrite(p, pa4, 8, e4 | A)

  return walk3(p, linear, access, bank, e4 & FRAME, e4, reserved)
}

/** From level 3 on: its table, and the entry above. */
// @ts-ignore: decorator
@inline
function walk3(p: u32, linear: u64, access: u32, bank: u32, table: u64, e4: u64, reserved: u64): u64 {
  const pa3 = table | ((linear >>> 27) & 0xff8)
  const e3 = entry64(p, pa3)
  if ((e3 & P) == 0) return pageFault(p, linear, access, bank, 0)
  if (e3 & PS) {
    if (e3 & (reserved | 0x3fffe000)) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
    const rights = e4 & e3
    if (refused(p, access, bank, rights, ((e4 | e3) & NX) != 0)) return pageFault(p, linear, access, bank, PF_P)
    const frame = (e3 & FRAME & ~(<u64>0x3fffffff)) | (linear & 0x3ffff000)
    return answer(p, frame, use(p, pa3, e3, access, 8), bank, rights, WALK_1G)
  }
  if (e3 & reserved) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
  if ((e3 & A) == 0) tableWrite(p, pa3, 8, e3 | A)
  return walk2(p, linear, access, bank, e3 & FRAME, e4 & e3, e4 | e3, reserved)
}

/** The two levels that PAE and 4-level paging share: directory at `directory`, rights and XD of the levels above. */
// @ts-ignore: decorator
@inline
function walk2(p: u32, linear: u64, access: u32, bank: u32, directory: u64, above: u64, nx: u64, reserved: u64): u64 {
  const pa2 = directory | ((linear >>> 18) & 0xff8)
  const e2 = entry64(p, pa2)
  if ((e2 & P) == 0) return pageFault(p, linear, access, bank, 0)
  let rights = above & e2
  if (e2 & PS) {
    if (e2 & (reserved | 0x1fe000)) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
    if (refused(p, access, bank, rights, ((nx | e2) & NX) != 0)) return pageFault(p, linear, access, bank, PF_P)
    const frame = (e2 & FRAME & ~(<u64>0x1fffff)) | (linear & 0x1ff000)
    return answer(p, frame, use(p, pa2, e2, access, 8), bank, rights, WALK_2M)
  }
  if (e2 & reserved) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
  if ((e2 & A) == 0) tableWrite(p, pa2, 8, e2 | A)

  const pa1 = (e2 & FRAME) | ((linear >>> 9) & 0xff8)
  const e1 = entry64(p, pa1)
  if ((e1 & P) == 0) return pageFault(p, linear, access, bank, 0)
  if (e1 & reserved) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
  rights &= e1
  if (refused(p, access, bank, rights, ((nx | e2 | e1) & NX) != 0)) return pageFault(p, linear, access, bank, PF_P)
  return answer(p, e1 & FRAME, use(p, pa1, e1, access, 8), bank, rights, 0)
}

/** In PAE paging bits 62:52 of directory and table entries are reserved too (SDM Vol. 3A 4.4.2). */
function walkPae(p: u32, linear: u64, access: u32, bank: u32): u64 {
  const e3 = load<u64>(p + (<u32>(linear >>> 30) << 3), PDPTES)
  if ((e3 & P) == 0) return pageFault(p, linear, access, bank, 0)
  const high = BEYOND | 0x7ff0000000000000
  return walk2(p, linear, access, bank, e3 & FRAME, RW | US, 0, load<u64>(p, EFER) & EFER_NXE ? high : high | NX)
}

function walk32(p: u32, linear: u64, access: u32, bank: u32): u64 {
  const pa2 = (load<u64>(p, CR3) & 0xfffff000) | ((linear >>> 20) & 0xffc)
  const e2 = physRead(p, pa2, 4)
  if ((e2 & P) == 0) return pageFault(p, linear, access, bank, 0)
  if ((e2 & PS) != 0 && (load<u64>(p, CR4) & CR4_PSE) != 0) {
    // PSE-36: bits 20:13 are address bits 39:32; those past MAXPHYADDR and bit 21 are reserved (SDM Vol. 3A 4.3).
    const frame = (e2 & 0xffc00000) | ((e2 & 0x1fe000) << 19)
    if ((e2 & 0x200000) != 0 || (frame & BEYOND) != 0) return pageFault(p, linear, access, bank, PF_P | PF_RSVD)
    if (refused(p, access, bank, e2, false)) return pageFault(p, linear, access, bank, PF_P)
    return answer(p, frame | (linear & 0x3ff000), use(p, pa2, e2, access, 4), bank, e2, WALK_2M)
  }
  if ((e2 & A) == 0) tableWrite(p, pa2, 4, e2 | A)

  const pa1 = (e2 & 0xfffff000) | ((linear >>> 10) & 0xffc)
  const e1 = physRead(p, pa1, 4)
  if ((e1 & P) == 0) return pageFault(p, linear, access, bank, 0)
  const rights = e2 & e1
  if (refused(p, access, bank, rights, false)) return pageFault(p, linear, access, bank, PF_P)
  return answer(p, e1 & 0xfffff000, use(p, pa1, e1, access, 4), bank, rights, 0)
}

/**
 * Load PAE's four page-directory-pointer registers from the table at `cr3` (SDM Vol. 3A 4.4.1): for a MOV to CR3 in
 * PAE paging and for a MOV to CR0 or CR4 that turns PAE paging on or changes PGE, PSE or SMEP in it. 1 if an entry has
 * reserved bits set: #GP(0) raised, registers unchanged.
 */
export function loadPdptes(p: u32, cr3: u64): i32 {
  const table = cr3 & 0xffffffe0
  const reserved: u64 = ~((<u64>1 << MAXPHYADDR) - 1) | 0x1e6
  for (let i: u32 = 0; i < 4; i++) {
    const entry = physRead(p, table + (i << 3), 8)
    if ((entry & P) != 0 && (entry & reserved) != 0) {
      raise(p, GP, 0)
      return 1
    }
  }
  for (let i: u32 = 0; i < 4; i++) store<u64>(p + (i << 3), physRead(p, table + (i << 3), 8), PDPTES)
  return 0
}

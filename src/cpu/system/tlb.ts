/**
 * The TLB: banks, generations and flushes. `translate.ts` fills it.
 *
 * An entry's tag is its linear page with a generation in the low 12 bits, so forgetting entries is taking a new
 * number. Each bank counts its own generations. One of them is *shared*: it marks global pages only and holds in
 * every address space. An address space (PCID; eight are remembered, least recently used goes) starts in it and takes
 * a private generation when its first non-global page is installed. So a switch of CR3 changes numbers and clears
 * nothing, and a bank with nothing but global pages is untouched by it. Generation 0 is never current: a zero tag is
 * an empty entry.
 *
 * What is flushed is at least what SDM Vol. 3A 4.10.4 demands; a TLB may always forget more.
 */
import {
  CODE_EPOCH, CPL, CR0, CR3, CR4, GEN, LEAVE, LEAVE_CODE, MODE, M_TABLES_EPOCH, M_VCPU, M_VCPUS, M_VCPU_STRIDE, PV,
  PV_KERNEL_ROOT, PV_SLOT_EPOCHS, PV_USER_ROOT, SYSFLAGS,
  TLBC_AREA, TLBC_BANK, TLBC_EMPTY, TLBC_ENTRIES, TLBC_ENTRY, TLBC_LARGE_1G, TLBC_LARGE, TLBC_PART, TLBC_SUPERVISOR,
  TLBC_SUPERVISOR_AC, TLBC_USER, TLB_EXEC, TLB_READ, TLB_STATE, TLB_WRITE,
} from './layout'
import { hostIndexTable } from './host'
import { CR0_AM, CR4_PAE, CR4_PCIDE, CR4_SMAP, FLAG_AC } from './bits'

// TLB_STATE, all u32 but the last.
const SLOT: u32 = TLB_STATE // number of the current address space's slot
const CLOCK: u32 = TLB_STATE + 4 // counts address space switches
const SHARED: u32 = TLB_STATE + 8 // a bank each: generation of global pages
const LATEST: u32 = TLB_STATE + 20 // a bank each: last generation handed out
const EXEC_MODE: u32 = TLB_STATE + 32 // a bank each: MODE that its execute part is for
const CURRENT_BANK: u32 = TLB_STATE + 44
const SLOTS: u32 = TLB_STATE + 48 // number of the address space + 1 (0: free), CLOCK when last used, a bank each: private generation or 0
const SLOT_SIZE: u32 = 20
const SLOT_COUNT: u32 = 8
export const PDPTES: u32 = TLB_STATE + 208 // 4 x u64: PAE's page-directory-pointer registers

export const BANKS: u32 = 3
export const MAX_GENERATION: u32 = 0xfff
export const PAGE_MASK: u64 = ~(<u64>0xfff)

// @ts-ignore: decorator
@inline
export function bankAddress(p: u32, bank: u32): u32 {
  return p + TLBC_AREA + bank * TLBC_BANK
}

/** Offset of a linear address's entry in a part. */
// @ts-ignore: decorator
@inline
export function entryOffset(linear: u64): u32 {
  return (<u32>linear >>> 8) & ((TLBC_ENTRIES - 1) * TLBC_ENTRY)
}

// @ts-ignore: decorator
@inline
function slotAddress(p: u32, slot: u32): u32 {
  return p + SLOTS + slot * SLOT_SIZE
}

/** Where the current address space keeps its private generation of `bank`. */
// @ts-ignore: decorator
@inline
function privateCell(p: u32, bank: u32): u32 {
  return slotAddress(p, load<u32>(p, SLOT)) + 8 + (bank << 2)
}

/** The generation in which `bank` is looked up now. */
// @ts-ignore: decorator
@inline
export function generation(p: u32, bank: u32): u64 {
  const own = load<u32>(privateCell(p, bank))
  return <u64>(own != 0 ? own : load<u32>(p + (bank << 2), SHARED))
}

/** The generation for a non-global page of `bank`; it becomes the one in which the bank is looked up. */
export function privateGeneration(p: u32, bank: u32): u64 {
  let own = load<u32>(privateCell(p, bank))
  if (own == 0) {
    own = newGeneration(p, bank)
    store<u32>(privateCell(p, bank), own)
    refresh(p)
  }
  return <u64>own
}

/** An unused generation. When all were used the bank is emptied and they start again. */
function newGeneration(p: u32, bank: u32): u32 {
  const cell = p + (bank << 2)
  let next = load<u32>(cell, LATEST) + 1
  if (next > MAX_GENERATION) {
    memory.fill(bankAddress(p, bank), 0, TLBC_BANK)
    for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) store<u32>(slotAddress(p, slot) + (bank << 2), 0, 8)
    store<u32>(cell, 1, SHARED)
    next = 2
  }
  store<u32>(cell, next, LATEST)
  return next
}

// @ts-ignore: decorator
@inline
function refresh(p: u32): void {
  store<u64>(p, generation(p, load<u32>(p, CURRENT_BANK)), GEN)
}

/** Code that runs may no longer be what its linear address says. */
function remapped(p: u32): void {
  refresh(p)
  store<i64>(p, load<i64>(p, CODE_EPOCH) + 1, CODE_EPOCH)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_CODE, LEAVE)
}

/** The bank whose rules hold for implicit supervisor accesses, to which EFLAGS.AC means nothing (SDM Vol. 3A 4.6.1). */
// @ts-ignore: decorator
@inline
export function implicitBank(p: u32): u32 {
  return load<u64>(p, CR4) & CR4_SMAP ? TLBC_SUPERVISOR : TLBC_SUPERVISOR_AC
}

/** The bank of ordinary accesses. */
// @ts-ignore: decorator
@inline
export function currentBank(p: u32): u32 {
  return load<u32>(p, CURRENT_BANK)
}

/**
 * Make the current bank follow CPL, EFLAGS.AC, CR4.SMAP and MODE: call it after any of them (or CR0.AM) changed.
 * At CPL 3 with alignment checks on, data accesses find empty parts and so are all slow, where they are checked.
 */
export function setBank(p: u32): void {
  const user = load<u32>(p, CPL) == 3
  const ac = (load<u32>(p, SYSFLAGS) & FLAG_AC) != 0
  const bank = user ? TLBC_USER : ac ? TLBC_SUPERVISOR_AC : implicitBank(p)
  const base = bankAddress(p, bank)
  const checked = user && ac && (load<u64>(p, CR0) & CR0_AM) != 0
  store<u32>(p, bank, CURRENT_BANK)
  const data = checked ? p + TLBC_EMPTY : base
  store<u32>(p, data, TLB_READ)
  store<u32>(p, data + TLBC_PART, TLB_WRITE)
  store<u32>(p, base + TLBC_PART * 2, TLB_EXEC)
  refresh(p)
  flushExec(p)
}

/** Whether alignment is checked now. */
// @ts-ignore: decorator
@inline
export function alignmentChecked(p: u32): bool {
  return load<u32>(p, TLB_READ) == p + TLBC_EMPTY
}

/** Index tables are per MODE: forget the current bank's execute part if it was filled in another one. */
export function flushExec(p: u32): void {
  const cell = p + (load<u32>(p, CURRENT_BANK) << 2)
  const mode = load<u32>(p, MODE)
  if (load<u32>(cell, EXEC_MODE) == mode) return
  store<u32>(cell, mode, EXEC_MODE)
  memory.fill(load<u32>(p, TLB_EXEC), 0, TLBC_PART)
}

/** Forget every index table in the TLB: the host is about to reuse their memory. */
export function dropExec(p: u32): void {
  for (let bank: u32 = 0; bank < BANKS; bank++) memory.fill(bankAddress(p, bank) + TLBC_PART * 2, 0, TLBC_PART)
  remapped(p)
}

/** Whether entries of `bank` with this tag can still be found: their generation belongs to an address space. */
export function alive(p: u32, bank: u32, tag: u64): bool {
  const generation = <u32>tag & MAX_GENERATION
  if (generation == load<u32>(p + (bank << 2), SHARED)) return true
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++)
    if (generation == load<u32>(slotAddress(p, slot) + (bank << 2), 8)) return true
  return false
}

/** The TLB was loaded from a snapshot: its execute entries need index tables of their own. */
export function reindexExec(p: u32): void {
  const mode = load<u32>(p, MODE)
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    const part = bankAddress(p, bank) + TLBC_PART * 2
    store<u32>(p, load<u32>(p + (bank << 2), EXEC_MODE), MODE)
    for (let entry = part; entry < part + TLBC_PART; entry += TLBC_ENTRY) {
      const tag = load<u64>(entry)
      if (tag == 0) continue
      if (alive(p, bank, tag)) store<u32>(entry, hostIndexTable(p, load<u32>(entry, 12)), 8)
      else store<u64>(entry, 0)
    }
  }
  store<u32>(p, mode, MODE)
}

/** A new vCPU or a reset one: empty TLB, address space of the present CR3. */
export function resetTlb(p: u32): void {
  memory.fill(p + TLB_STATE, 0, 208)
  memory.fill(p + TLBC_AREA, 0, TLBC_BANK * BANKS)
  memory.fill(p + TLBC_EMPTY, 0, TLBC_PART * 2)
  flushAll(p)
  switchAddressSpace(p, load<u64>(p, CR3), false)
  setBank(p)
}

/** Forget everything, global pages too: for changes of CR0.PG, CR0.WP, EFER.NXE and paging bits of CR4; INVPCID 2. */
export function flushAll(p: u32): void {
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    const shared = newGeneration(p, bank)
    store<u32>(p + (bank << 2), shared, SHARED)
  }
  flushNonGlobal(p)
  memory.fill(p + TLBC_LARGE, 0, 4096)
  memory.fill(p + TLBC_LARGE_1G, 0, 512)
}

/** Forget all but global pages, in every address space: INVPCID 3. */
export function flushNonGlobal(p: u32): void {
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) forget(slotAddress(p, slot))
  remapped(p)
}

// @ts-ignore: decorator
@inline
function forget(slot: u32): void {
  store<u64>(slot, 0, 8)
  store<u32>(slot, 0, 16)
}

/** Forget one address space's pages but the global ones: INVPCID 1. */
export function flushPcid(p: u32, pcid: u32): void {
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) {
    const address = slotAddress(p, slot)
    if (load<u32>(address) == pcid + 1) forget(address)
  }
  remapped(p)
}

/** Forget the page that holds `linear`, however large, in every address space: INVLPG, INVPCID 0. */
export function flushPage(p: u32, linear: u64): void {
  if (testBit(p + TLBC_LARGE_1G, <u32>(linear >>> 30) & 4095)) {
    flushAll(p)
    return
  }
  if (testBit(p + TLBC_LARGE, <u32>(linear >>> 22) & 32767)) {
    const shift: u64 = load<u64>(p, CR4) & CR4_PAE ? 21 : 22
    flushRegion(p, linear >>> shift << shift, shift)
  } else {
    const offset = entryOffset(linear)
    for (let part: u32 = 0; part < BANKS * 3; part++) {
      const entry = p + TLBC_AREA + part * TLBC_PART + offset
      if (((load<u64>(entry) ^ linear) & PAGE_MASK) == 0) store<u64>(entry, 0)
    }
  }
  remapped(p)
}

function flushRegion(p: u32, start: u64, shift: u64): void {
  const first = entryOffset(start)
  const end = first + (TLBC_ENTRY << <u32>(shift - 12))
  for (let part: u32 = 0; part < BANKS * 3; part++) {
    const base = p + TLBC_AREA + part * TLBC_PART
    for (let offset = first; offset < end; offset += TLBC_ENTRY)
      if (((load<u64>(base + offset) ^ start) >>> shift) == 0) store<u64>(base + offset, 0)
  }
}

// @ts-ignore: decorator
@inline
function testBit(base: u32, bit: u32): bool {
  return ((load<u32>(base + (bit >>> 5 << 2)) >>> (bit & 31)) & 1) != 0
}

function setBit(base: u32, bit: u32): void {
  const word = base + (bit >>> 5 << 2)
  store<u32>(word, load<u32>(word) | (1 << (bit & 31)))
}

/** An entry for `linear` was taken from a 2 or 4 MiB page. */
// @ts-ignore: decorator
@inline
export function noteLarge(p: u32, linear: u64): void {
  setBit(p + TLBC_LARGE, <u32>(linear >>> 22) & 32767)
}

/** An entry for `linear` was taken from a 1 GiB page. */
// @ts-ignore: decorator
@inline
export function noteLarge1G(p: u32, linear: u64): void {
  setBit(p + TLBC_LARGE_1G, <u32>(linear >>> 30) & 4095)
}

// @ts-ignore: decorator
@inline
function contextId(p: u32, cr3: u64): u32 {
  if (load<u32>(p, PV) != 0) return <u32>(cr3 >>> 12)
  return load<u64>(p, CR4) & CR4_PCIDE ? <u32>cr3 & 0xfff : 0
}

/**
 * CR3 was loaded: make the address space of its PCID (0 without CR4.PCIDE) current and, unless `keep` (bit 63 of the
 * source operand with CR4.PCIDE), forget its non-global pages.
 */
export function switchAddressSpace(p: u32, cr3: u64, keep: bool): void {
  const pcid = contextId(p, cr3)
  const clock = load<u32>(p, CLOCK) + 1
  store<u32>(p, clock, CLOCK)
  let found: u32 = 0
  let age: u32 = 0
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) {
    const address = slotAddress(p, slot)
    if (load<u32>(address) == pcid + 1) {
      found = slot
      age = 0
      break
    }
    const since = clock - load<u32>(address, 4)
    if (since > age) {
      age = since
      found = slot
    }
  }
  const address = slotAddress(p, found)
  if (age != 0 || !keep) forget(address)
  store<u32>(address, pcid + 1)
  store<u32>(address, clock, 4)
  store<u32>(p, found, SLOT)
  remapped(p)
}

/**
 * Xen PV: an address space is one top-level table. A switch between them forgets nothing; the host counts changes of
 * present entries in TABLES_EPOCH, so that a table that becomes the vCPU's own again is forgotten if there were any
 * since, as it would have been by the processor's load of CR3.
 */
export function freshenRoot(p: u32, root: u64): void {
  const id = <u32>(root >>> 12) + 1
  const epoch = load<u32>(M_TABLES_EPOCH)
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) {
    const address = slotAddress(p, slot)
    if (load<u32>(address) != id) continue
    const cell = p + (slot << 2)
    if (load<u32>(cell, PV_SLOT_EPOCHS) == epoch) return
    store<u32>(cell, epoch, PV_SLOT_EPOCHS)
    forget(address)
    remapped(p)
    return
  }
}

/** Xen PV: forget what the vCPU's two tables map: MMUEXT_TLB_FLUSH_LOCAL. */
export function flushRoots(p: u32): void {
  forgetRoot(p, load<u64>(p, PV_KERNEL_ROOT))
  forgetRoot(p, load<u64>(p, PV_USER_ROOT))
  remapped(p)
}

function forgetRoot(p: u32, root: u64): void {
  const id = <u32>(root >>> 12) + 1
  for (let slot: u32 = 0; slot < SLOT_COUNT; slot++) {
    if (load<u32>(slotAddress(p, slot)) != id) continue
    store<u32>(p + (slot << 2), load<u32>(M_TABLES_EPOCH), PV_SLOT_EPOCHS)
    forget(slotAddress(p, slot))
  }
}

/** A page of RAM got its first code mark: no vCPU may store to it unseen any more. */
export function notifyMarked(page: u32): void {
  const count = load<u32>(M_VCPUS)
  for (let i: u32 = 0; i < count; i++) {
    const p = M_VCPU + i * M_VCPU_STRIDE
    for (let bank: u32 = 0; bank < BANKS; bank++) {
      const start = bankAddress(p, bank) + TLBC_PART
      for (let entry = start; entry < start + TLBC_PART; entry += TLBC_ENTRY)
        if (load<u32>(entry, 12) == page) store<u64>(entry, 0)
    }
  }
}

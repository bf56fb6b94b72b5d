/** From linear to physical pages: a probe of the TLB, and on a miss a walk that leaves an entry. */
import { M_RAM, PAGE_MMIO, PAGE_RAM, PAGE_READS, PAGE_SEALED, TLBC_PART } from './layout'
import { GP } from './bits'
import { raise } from './faults'
import { hostIndexTable } from './host'
import { holds, pageOf, WRITABLE } from './parked'
import { codeMarks, pageKind } from './physical'
import { bankAddress, entryOffset, generation, noteLarge, noteLarge1G, PAGE_MASK, privateGeneration } from './tlb'
import { EXECUTE, READ, walk, WALK_1G, WALK_2M, WALK_FAULT, WALK_GLOBAL, WALK_WRITABLE, WRITE } from './walk'

// @ts-ignore: decorator
@inline
function frameOf(entry: u32): u64 {
  return <u64>pageOf(entry) << 12
}

/** The generation for an entry that walk answer `found` leads to. */
// @ts-ignore: decorator
@inline
function generationFor(p: u32, linear: u64, found: u64, bank: u32): u64 {
  if (found & (WALK_2M | WALK_1G)) {
    if (found & WALK_1G) noteLarge1G(p, linear)
    else noteLarge(p, linear)
  }
  return found & WALK_GLOBAL ? generation(p, bank) : privateGeneration(p, bank)
}

/** Leave entries for data accesses: none for MMIO and where loads are watched; for writes only to dirty RAM pages that hold no decoded code. */
function install(p: u32, linear: u64, found: u64, bank: u32): void {
  const page = <u32>(found >>> 12)
  const kind = pageKind(found >>> 12)
  if (kind == PAGE_MMIO || (kind & PAGE_READS) != 0) return
  const tag = (linear & PAGE_MASK) | generationFor(p, linear, found, bank)
  const addend = M_RAM + (page << 12) - <u32>(linear & PAGE_MASK)
  const entry = bankAddress(p, bank) + entryOffset(linear)
  const writable = (found & WALK_WRITABLE) != 0
  store<u64>(entry, tag)
  store<u32>(entry, addend, 8)
  store<u32>(entry, writable ? page | WRITABLE : page, 12)
  if (writable) installWrite(entry + TLBC_PART, tag, addend, page)
}

// @ts-ignore: decorator
@inline
function installWrite(entry: u32, tag: u64, addend: u32, page: u32): void {
  if (pageKind(page) != PAGE_RAM || codeMarks(page) != 0) return
  store<u64>(entry, tag)
  store<u32>(entry, addend, 8)
  store<u32>(entry, page, 12)
}

/** Physical address of the page of `linear` for reading, or WALK_FAULT with #PF raised. */
export function translateRead(p: u32, linear: u64, bank: u32): u64 {
  const entry = bankAddress(p, bank) + entryOffset(linear)
  if (holds(entry, (linear & PAGE_MASK) | generation(p, bank))) return frameOf(entry)
  const found = walk(p, linear, READ, bank)
  if (found == WALK_FAULT) return found
  install(p, linear, found, bank)
  return found & PAGE_MASK
}

/** `frame`, or WALK_FAULT with #GP(0) raised where the hypervisor lets nobody store. */
// @ts-ignore: decorator
@inline
function unsealed(p: u32, frame: u64): u64 {
  if ((pageKind(frame >>> 12) & ~PAGE_READS) != PAGE_SEALED) return frame
  raise(p, GP, 0)
  return WALK_FAULT
}

/** Physical address of the page of `linear` for writing, or WALK_FAULT with #PF or #GP raised. */
export function translateWrite(p: u32, linear: u64, bank: u32): u64 {
  const entry = bankAddress(p, bank) + entryOffset(linear)
  const tag = (linear & PAGE_MASK) | generation(p, bank)
  if (holds(entry + TLBC_PART, tag)) return frameOf(entry + TLBC_PART)
  if (holds(entry, tag) && (load<u32>(entry, 12) & WRITABLE) != 0) {
    installWrite(entry + TLBC_PART, tag, load<u32>(entry, 8), pageOf(entry))
    return unsealed(p, frameOf(entry))
  }
  const found = walk(p, linear, WRITE, bank)
  if (found == WALK_FAULT) return found
  install(p, linear, found, bank)
  return unsealed(p, found & PAGE_MASK)
}

/** The execute entry of `linear` in the current MODE, or 0 with #PF raised. */
export function translateExecute(p: u32, linear: u64, bank: u32): u32 {
  const entry = bankAddress(p, bank) + TLBC_PART * 2 + entryOffset(linear)
  if (load<u64>(entry) == ((linear & PAGE_MASK) | generation(p, bank))) return entry
  const found = walk(p, linear, EXECUTE, bank)
  if (found == WALK_FAULT) return 0
  const page = <u32>(found >>> 12)
  const table = hostIndexTable(p, page)
  store<u64>(entry, (linear & PAGE_MASK) | generationFor(p, linear, found, bank))
  store<u32>(entry, table, 8)
  store<u32>(entry, page, 12)
  return entry
}

/** Physical address of the page of `linear` for execution, or WALK_FAULT with #PF raised; leaves no entry. */
export function executeFrame(p: u32, linear: u64, bank: u32): u64 {
  const entry = bankAddress(p, bank) + TLBC_PART * 2 + entryOffset(linear)
  if (load<u64>(entry) == ((linear & PAGE_MASK) | generation(p, bank))) return frameOf(entry)
  const found = walk(p, linear, EXECUTE, bank)
  return found == WALK_FAULT ? found : found & PAGE_MASK
}

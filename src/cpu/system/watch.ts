/**
 * Page-table frames that the host wants to hear of: those that walks visit become WATCHED, with their level in the low
 * bits, so that stores to them take the slow path, which tells. Only while the cell WATCH_TABLES says so.
 */
import { CR0, CR3, CR4, EFER, M_PAGE_ATTR, PAGE_MMIO, PAGE_RAM, PAGE_WATCHED } from './layout'
import { CR0_PG, CR4_PAE, EFER_LMA } from './bits'
import { hostAddress, pageKind } from './physical'
import { notifyMarked } from './tlb'

const FRAME: u64 = 0x7ffffff000
const PRESENT: u64 = 1
const LARGE: u64 = 0x80

function watch(frame: u64, level: u32): bool {
  const page = frame >>> 12
  const kind = pageKind(page)
  if (kind == PAGE_RAM) {
    store<u8>(M_PAGE_ATTR + <u32>page, PAGE_WATCHED | level)
    notifyMarked(<u32>page)
    return true
  }
  return (kind & PAGE_WATCHED) != 0
}

/** The frames on the way to `linear`, as far as the tables lead there. */
export function watchTables(p: u32, linear: u64): void {
  if ((load<u64>(p, CR0) & CR0_PG) == 0) return
  const long = (load<u64>(p, EFER) & EFER_LMA) != 0
  const wide = long || (load<u64>(p, CR4) & CR4_PAE) != 0
  let level: u32 = long ? 4 : wide ? 3 : 2
  // PAE's four top entries are registers in practice: their table need not be aligned to a page.
  let table = load<u64>(p, CR3) & (level == 3 ? 0xffffffe0 : FRAME)
  for (; level != 0; level--) {
    if (level != 3 || long) {
      if (!watch(table, level)) return
    } else if (pageKind(table >>> 12) == PAGE_MMIO) return
    const bits: u64 = wide ? 9 : 10
    const index = (linear >>> (12 + bits * (level - 1))) & (level == 3 && !long ? 3 : wide ? 511 : 1023)
    const at = hostAddress(table + (index << (wide ? 3 : 2)))
    const entry = wide ? load<u64>(at) : <u64>load<u32>(at)
    if ((entry & PRESENT) == 0 || (level != 4 && (entry & LARGE) != 0)) return
    table = entry & FRAME
  }
}

/**
 * TLB entries of a restored machine whose pages are not in memory yet: parked. Generation 0, which is never current,
 * hides them from the fast paths; their own is kept where the page's host address was. Who looks for one in vain gets the
 * page and the entry as it was, without a walk: a walk sets accessed bits, so the restored machine would not do the same
 * as the one that was saved.
 */
import {
  M_PAGE_ATTR, M_RAM, M_RAM_PAGES, PAGE_ABSENT, TLBC_AREA, TLBC_BANK, TLBC_ENTRY, TLBC_PART,
} from './layout'
import { hostBring } from './host'
import { alive, BANKS, MAX_GENERATION, PAGE_MASK } from './tlb'

/** In word 12 of a read entry: stores to the page need no walk either. */
export const WRITABLE: u32 = 1 << 31

// @ts-ignore: decorator
@inline
export function pageOf(entry: u32): u32 {
  return load<u32>(entry, 12) & ~WRITABLE
}

/** Whether `entry` is the one with this tag; if it is parked, it and its page come back. */
// @ts-ignore: decorator
@inline
export function holds(entry: u32, tag: u64): bool {
  const found = load<u64>(entry)
  return found == tag || (found == (tag & PAGE_MASK) && found != 0 && recall(entry, tag))
}

function recall(entry: u32, tag: u64): bool {
  if (load<u32>(entry, 8) != (<u32>tag & MAX_GENERATION)) return false
  restore(entry, tag)
  return true
}

function restore(entry: u32, tag: u64): void {
  const page = pageOf(entry)
  if (isAbsent(page)) hostBring(page)
  store<u64>(entry, tag)
  store<u32>(entry, M_RAM + (page << 12) - <u32>(tag & PAGE_MASK), 8)
}

function isAbsent(page: u32): bool {
  return page < load<u32>(M_RAM_PAGES) && (load<u8>(M_PAGE_ATTR + page) & PAGE_ABSENT) != 0
}

/** The machine was loaded from a snapshot: park what leads to absent pages. */
export function parkAbsent(p: u32): void {
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    const first = p + TLBC_AREA + bank * TLBC_BANK
    for (let entry = first; entry < first + TLBC_PART * 2; entry += TLBC_ENTRY) {
      const tag = load<u64>(entry)
      const page = pageOf(entry)
      if (tag == 0 || !isAbsent(page)) continue
      // Without its generation an entry of linear page 0 is none.
      if ((tag & PAGE_MASK) == 0) hostBring(page)
      else {
        store<u64>(entry, tag & PAGE_MASK)
        store<u32>(entry, <u32>tag & MAX_GENERATION, 8)
      }
    }
  }
}

/** The machine is about to be saved: no entry is parked any more, and none is left that no address space can find. */
export function settleTlb(p: u32): void {
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    const first = p + TLBC_AREA + bank * TLBC_BANK
    for (let entry = first; entry < first + TLBC_PART * 3; entry += TLBC_ENTRY) {
      let tag = load<u64>(entry)
      if (tag == 0) continue
      if ((<u32>tag & MAX_GENERATION) == 0) {
        tag |= <u64>load<u32>(entry, 8)
        restore(entry, tag)
      }
      if (!alive(p, bank, tag)) {
        store<u64>(entry, 0)
        store<u64>(entry, 0, 8)
      }
    }
  }
}

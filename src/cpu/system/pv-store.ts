/**
 * Xen PV: stores of the guest's kernel to pages that it may only read. If the page is an L1 table of its own, Xen does
 * the store as an update of the entry (arch/x86/pv/ro-page-fault.c); the host decides.
 */
import { CR2, EXC, EXC_ERROR, EXC_HAS_ERROR, HOST_HI, HOST_LO, PV_ASSIST } from './layout'
import { PF } from './bits'
import { hostPvStore } from './host'
import { currentBank } from './tlb'
import { translateRead } from './translate'
import { WALK_FAULT } from './walk'

/** vm_assist's bit for writable page tables. */
const WRITABLE_TABLES: u32 = 1 << 2
/** Error code of a write that a present page refused, by user code as the processor sees it. */
const REFUSED: i32 = 7

/** The physical address behind a store that #PF (pending, and it stays so) refused for want of R/W alone, or WALK_FAULT. */
function refusedStore(p: u32, linear: u64, size: i32): u64 {
  if (load<i32>(p, EXC) != PF || load<i32>(p, EXC_ERROR) != REFUSED) return WALK_FAULT
  if ((load<u32>(p, PV_ASSIST) & WRITABLE_TABLES) == 0) return WALK_FAULT
  if (size > 8 || (size & (size - 1)) != 0 || (<i32>linear & (size - 1)) != 0) return WALK_FAULT
  const frame = translateRead(p, linear, currentBank(p))
  store<u64>(p, linear, CR2)
  return frame == WALK_FAULT ? frame : frame | (linear & 0xfff)
}

/** Whether it makes sense to try the store: then no fault is pending. */
export function pvMayStore(p: u32, linear: u64, size: i32): bool {
  if (refusedStore(p, linear, size) == WALK_FAULT) return false
  store<i32>(p, -1, EXC)
  return true
}

/** Do the store whose #PF is pending: 0, or 1 if it is the guest's. */
export function pvStore(p: u32, linear: u64, size: i32, value: u64): i32 {
  const address = refusedStore(p, linear, size)
  if (address == WALK_FAULT) return 1
  store<u32>(p, <u32>value, HOST_LO)
  store<u32>(p, <u32>(value >>> 32), HOST_HI)
  if (hostPvStore(p, <u32>address, size) == 0) {
    store<i32>(p, PF, EXC)
    store<i32>(p, REFUSED, EXC_ERROR)
    store<i32>(p, 1, EXC_HAS_ERROR)
    return 1
  }
  store<i32>(p, -1, EXC)
  return 0
}

/**
 * Xen PV: stores of the guest's kernel to pages that it may only read. If the page is an L1 table of its own, Xen does
 * the store as an update of the entry (arch/x86/pv/ro-page-fault.c); the host decides.
 */
import {
  CR2, EXC, EXC_ERROR, EXC_HAS_ERROR, FLAGS_KIND, HOST_HI, HOST_LO, PV_ASSIST, PV_UNDO, PV_UNDO_LINEAR, PV_UNDO_RECORD, RAX,
  RECORD,
} from './layout'
import { PF } from './bits'
import { hostPvStore } from './host'
import { isPv32 } from './pv'
import { currentBank } from './tlb'
import { translateRead } from './translate'
import { WALK_FAULT } from './walk'

/** vm_assist's bit for writable page tables. */
const WRITABLE_TABLES: u32 = 1 << 2
/** Error code of a write that a present page refused; 64-bit guests' kernels are user code to the processor. */
const REFUSED: i32 = 3
const USER: i32 = 4

function refused(p: u32): i32 {
  return isPv32(p) ? REFUSED : REFUSED | USER
}

/** The physical address behind a store that #PF (pending, and it stays so) refused for want of R/W alone, or WALK_FAULT. */
function refusedStore(p: u32, linear: u64, size: i32): u64 {
  if (load<i32>(p, EXC) != PF || load<i32>(p, EXC_ERROR) != refused(p)) return WALK_FAULT
  if ((load<u32>(p, PV_ASSIST) & WRITABLE_TABLES) == 0) return WALK_FAULT
  if (size > 8 || (size & (size - 1)) != 0 || (<i32>linear & (size - 1)) != 0) return WALK_FAULT
  const frame = translateRead(p, linear, currentBank(p))
  store<u64>(p, linear, CR2)
  return frame == WALK_FAULT ? frame : frame | (linear & 0xfff)
}

const REGISTERS: u32 = 128
const FLAGS: u32 = 24

/**
 * Whether it makes sense to try the store of a read-modify-write: then no fault is pending. What will be stored is not
 * known yet, and the instruction changes registers and flags before it is: they are kept, for the host may refuse it.
 */
export function pvMayStore(p: u32, linear: u64, size: i32): bool {
  if (refusedStore(p, linear, size) == WALK_FAULT) return false
  store<i32>(p, -1, EXC)
  memory.copy(p + PV_UNDO, p + RAX, REGISTERS)
  memory.copy(p + PV_UNDO + REGISTERS, p + FLAGS_KIND, FLAGS)
  store<u64>(p, linear, PV_UNDO_LINEAR)
  store<u32>(p, load<u32>(p, RECORD), PV_UNDO_RECORD)
  return true
}

/** The store is refused: if its instruction has changed anything, it has not. */
function undo(p: u32, linear: u64): void {
  if (load<u64>(p, PV_UNDO_LINEAR) != linear || load<u32>(p, PV_UNDO_RECORD) != load<u32>(p, RECORD)) return
  memory.copy(p + RAX, p + PV_UNDO, REGISTERS)
  memory.copy(p + FLAGS_KIND, p + PV_UNDO + REGISTERS, FLAGS)
}

/** Do the store whose #PF is pending: 0, or 1 if it is the guest's. */
export function pvStore(p: u32, linear: u64, size: i32, value: u64): i32 {
  const address = refusedStore(p, linear, size)
  if (address == WALK_FAULT) return 1
  store<u32>(p, <u32>value, HOST_LO)
  store<u32>(p, <u32>(value >>> 32), HOST_HI)
  const done = hostPvStore(p, <u32>address, size) != 0
  if (!done) undo(p, linear)
  store<u64>(p, 0, PV_UNDO_LINEAR)
  if (!done) {
    store<i32>(p, PF, EXC)
    store<i32>(p, refused(p), EXC_ERROR)
    store<i32>(p, 1, EXC_HAS_ERROR)
    return 1
  }
  store<i32>(p, -1, EXC)
  return 0
}

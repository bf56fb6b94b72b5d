/**
 * Memory for translated code: an access that hits plain RAM through the TLB or after a walk gets its host address, any
 * other gets 0 and no trace of a fault; the interpreter then does the whole instruction. So it does when the walk asked
 * for attention: it wrote an accessed or dirty bit into a page of code.
 */
import { CPL, CR2, EXC, LEAVE, MODE, MODE_LONG, PAGE_MMIO, PAGE_RAM, PAGE_WATCHED, TLBC_SUPERVISOR_AC } from './layout'
import { isCanonical } from './access'
import { inKernel, isPv, isPv32, togglePageTable } from './pv'
import { codeMarks, hostAddress, pageKind } from './physical'
import { alignmentChecked, currentBank } from './tlb'
import { translateRead, translateWrite } from './translate'
import { WALK_FAULT } from './walk'

const NOWHERE: u32 = 0xffffffff

/** Both ends of the access in one page, at a canonical address. */
// @ts-ignore: decorator
@inline
function simple(p: u32, linear: u64, size: u32): bool {
  if ((linear & 0xfff) + size > 0x1000 || alignmentChecked(p)) return false
  return (load<u32>(p, MODE) & MODE_LONG) == 0 || isCanonical(linear)
}

export function tryRead(p: u32, linear: u64, size: u32): u32 {
  if (!simple(p, linear, size)) return 0
  const frame = translateRead(p, linear, currentBank(p))
  if (frame == WALK_FAULT) {
    store<i32>(p, -1, EXC)
    return 0
  }
  if (pageKind(frame >>> 12) != PAGE_RAM || load<u32>(p, LEAVE) != 0) return 0
  return hostAddress(frame | (linear & 0xfff))
}

export function tryWrite(p: u32, linear: u64, size: u32): u32 {
  if (!simple(p, linear, size)) return 0
  const frame = translateWrite(p, linear, currentBank(p))
  if (frame == WALK_FAULT) {
    store<i32>(p, -1, EXC)
    return 0
  }
  if (load<u32>(p, LEAVE) != 0 || pageKind(frame >>> 12) != PAGE_RAM || codeMarks(<u32>(frame >>> 12)) != 0) return 0
  return hostAddress(frame | (linear & 0xfff))
}

/**
 * For hypervisors: the physical address behind a linear one, as code that runs now could read it or (`write`) write
 * it; 0xffffffff, and no trace of a fault, where it could not or where no memory is.
 */
export function physicalOf(p: u32, low: u32, high: u32, write: u32): u32 {
  const pv = isPv(p)
  const long = pv || (load<u32>(p, MODE) & MODE_LONG) != 0
  const linear: u64 = long ? (<u64>high << 32) | <u64>low : <u64>low
  if (long && !isCanonical(linear)) return NOWHERE
  const cr2 = load<u64>(p, CR2)
  // Hypervisors work for kernels: where these run in user mode, or while user code runs, user rights mean nothing.
  const bank = load<u32>(p, CPL) == 3 && (!pv || isPv32(p)) ? TLBC_SUPERVISOR_AC : currentBank(p)
  const user = pv && !isPv32(p) && !inKernel(p)
  if (user) togglePageTable(p)
  const frame = write != 0 ? translateWrite(p, linear, bank) : translateRead(p, linear, bank)
  if (user) togglePageTable(p)
  if (frame == WALK_FAULT) {
    store<i32>(p, -1, EXC)
    store<u64>(p, cr2, CR2)
    return NOWHERE
  }
  const kind = pageKind(frame >>> 12)
  const open = kind == PAGE_RAM || (kind & PAGE_WATCHED) != 0 || (write == 0 && kind != PAGE_MMIO)
  return !open ? NOWHERE : <u32>(frame | (linear & 0xfff))
}

/** Instruction fetch: from RIP to the decoded record. */
import {
  GEN, MODE, MODE_FLAT, MODE_LONG, PAGE_LINEAR, RIP, R_OFFSET_LENGTH, SEG_BASE, SEG_LIMIT, TLB_EXEC,
} from './layout'
import { GP } from './bits'
import { isCanonical } from './access'
import { raise } from './faults'
import { hostDecode } from './host'
import { currentBank, entryOffset, PAGE_MASK } from './tlb'
import { executeFrame, translateExecute } from './translate'
import { WALK_FAULT } from './walk'

const CS_BASE: u32 = SEG_BASE + 8
const CS_LIMIT: u32 = SEG_LIMIT + 4

/**
 * The record of the instruction at RIP, or 0 after a fault. PAGE_LINEAR follows. In 64-bit mode RIP must be canonical,
 * outside flat mode the whole instruction within the limit of CS.
 */
export function lookup(p: u32): u32 {
  const mode = load<u32>(p, MODE)
  const rip = load<u64>(p, RIP)
  let linear = rip
  if ((mode & MODE_LONG) == 0) linear = (rip + load<u64>(p, CS_BASE)) & 0xffffffff
  let entry = load<u32>(p, TLB_EXEC) + entryOffset(linear)
  if (load<u64>(entry) != ((linear & PAGE_MASK) | load<u64>(p, GEN))) {
    if (mode & MODE_LONG) {
      if (!isCanonical(rip)) {
        raise(p, GP, 0)
        return 0
      }
    } else if (beyondLimit(p, rip, 1)) return 0
    entry = translateExecute(p, linear, currentBank(p))
    if (entry == 0) return 0
  }
  store<u64>(p, linear & PAGE_MASK, PAGE_LINEAR)
  let record = load<u32>(load<u32>(entry, 8) + ((<u32>linear & 0xfff) << 2))
  if (record == 0) {
    if ((mode & (MODE_LONG | MODE_FLAT)) == 0 && beyondLimit(p, rip, 1)) return 0
    record = hostDecode(p)
    if (record == 0) return 0
  }
  if ((mode & (MODE_LONG | MODE_FLAT)) == 0 && beyondLimit(p, rip, load<u16>(record, R_OFFSET_LENGTH) & 15)) return 0
  return record
}

// @ts-ignore: decorator
@inline
function beyondLimit(p: u32, rip: u64, length: u64): bool {
  if (rip + length - 1 <= <u64>load<u32>(p, CS_LIMIT)) return false
  raise(p, GP, 0)
  return true
}

/**
 * For the decoder, whose instruction runs on into the page of `linear`: the number of its physical page, or -1 with #PF
 * or #GP raised.
 */
export function fetchCheck(p: u32, linear: u64): u64 {
  if (load<u32>(p, MODE) & MODE_LONG) {
    if (!isCanonical(linear)) {
      raise(p, GP, 0)
      return WALK_FAULT
    }
  } else {
    linear &= 0xffffffff
    if ((load<u32>(p, MODE) & MODE_FLAT) == 0 && beyondLimit(p, (linear - load<u64>(p, CS_BASE)) & 0xffffffff, 1)) {
      return WALK_FAULT
    }
  }
  const frame = executeFrame(p, linear, currentBank(p))
  return frame == WALK_FAULT ? frame : frame >>> 12
}

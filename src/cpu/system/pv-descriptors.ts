/**
 * Xen PV: descriptors. The GDT consists of the guest's frames and, from selector 0xe000 on, Xen's own entries; an LDT's
 * pages are mapped when they are used first. Neither is looked up through the guest's page tables.
 */
import {
  CR2, M_RAM, PV_GDT_FRAMES, PV_LDT_BASE, PV_LDT_FRAMES, PV_RESERVED_GDT,
} from './layout'
import { isCanonical } from './access'
import { GP, PF } from './bits'
import { raise } from './faults'
import { hostPvLdt } from './host'
import { physWrite } from './physical'

const FIRST_RESERVED: u32 = 0xe000
const RESERVED: u32 = 16 * 8

/** Frame number of a guest's descriptor page, 0: none, or none that can be had, with a fault raised. */
function frameOf(p: u32, selector: u32, write: u32): u32 {
  const page = (selector >>> 12) & 15
  if ((selector & 4) == 0) return load<u32>(p + (page << 2), PV_GDT_FRAMES)
  const cell = p + PV_LDT_FRAMES + (page << 2)
  let frame = load<u32>(cell)
  if (frame != 0) return frame
  frame = hostPvLdt(p, page)
  if (frame != 0) {
    store<u32>(cell, frame)
    return frame
  }
  const linear = load<u64>(p, PV_LDT_BASE) + (selector & 0xfff8)
  if (!isCanonical(linear)) raise(p, GP, (selector & 0xfff8) | 4)
  else {
    store<u64>(p, linear, CR2)
    raise(p, PF, write)
  }
  return 0
}

/** The descriptor of `selector`, which lies in its table; a fault is seen by EXC. */
export function pvDescriptor(p: u32, selector: u32): u64 {
  const offset = selector & 0xfff8
  if ((selector & 4) == 0 && offset >= FIRST_RESERVED)
    return offset < FIRST_RESERVED + RESERVED ? load<u64>(p + (offset - FIRST_RESERVED), PV_RESERVED_GDT) : 0
  const frame = frameOf(p, selector, 0)
  return frame == 0 ? 0 : load<u64>(M_RAM + (frame << 12) + (offset & 0xfff))
}

/** Store the byte of a descriptor that has its type. */
export function pvSetType(p: u32, selector: u32, type: u32): i32 {
  const offset = selector & 0xfff8
  if ((selector & 4) == 0 && offset >= FIRST_RESERVED) return 0
  const frame = frameOf(p, selector, 2)
  if (frame == 0) return 0
  physWrite(p, (<u64>frame << 12) + (offset & 0xfff) + 5, 1, type)
  return 0
}

/**
 * Stacks of far transfers and exceptions. A stack is (mask, base, attributes, limit, pointer); the mask of the pointer
 * is ALL in 64-bit mode, where base, attributes and limit mean nothing. What is pushed goes through the TLB bank of
 * the CPL that is set, so a caller that switches to an inner stack sets CPL first.
 */
import {
  ATTR_DB, MODE, MODE_B, MODE_LONG, RSP, SEG_BASE, SEG_SELECTOR, TR_BASE,
} from './layout'
import { SEG_SS, SEG_TR, SS, TS } from './bits'
import { isCanonical, slowLoad, STACK, sysLoad } from './access'
import { physWrite } from './physical'
import { alignmentChecked, currentBank } from './tlb'
import { translateWrite } from './translate'
import { WALK_FAULT } from './walk'
import { attrIn, fault, faulted, inSegment, limitIn } from './segments'

/** Stack pointer mask of 64-bit mode. */
export const ALL: u64 = ~(<u64>0)

/** Mask of the stack pointer in the mode that runs. */
export function currentMask(p: u32): u64 {
  const mode = load<u32>(p, MODE)
  if (mode & MODE_LONG) return ALL
  return mode & MODE_B ? 0xffffffff : 0xffff
}

/** Mask that a stack segment's attributes give. */
// @ts-ignore: decorator
@inline
export function maskOf(attr: u32): u64 {
  return attr & ATTR_DB ? 0xffffffff : 0xffff
}

/** The stack pointer `sp` in a register that holds `old`: 16-bit stacks leave the upper part. */
// @ts-ignore: decorator
@inline
export function merged(mask: u64, old: u64, sp: u64): u64 {
  return mask == 0xffff ? (old & ~mask) | (sp & mask) : sp & mask
}

/** The word `size` bytes wide that lies `above` the stack pointer; a fault is seen by EXC. */
export function readStack(p: u32, above: u32, size: u32): u64 {
  const mask = currentMask(p)
  const sp = (load<u64>(p, RSP) + above) & mask
  if (mask == ALL) return slowLoad(p, sp, size | STACK)
  if (!inSegment(attrIn(p, SEG_SS), limitIn(p, SEG_SS), sp, size)) {
    fault(p, SS, 0)
    return 0
  }
  return slowLoad(p, (sp + load<u64>(p, SEG_BASE + SEG_SS * 8)) & 0xffffffff, size | STACK)
}

/** Whether `count` pushes of `size` bytes below `sp` stay in the stack. */
export function frameFits(mask: u64, attr: u32, limit: u32, sp: u64, size: u32, count: u32): bool {
  if (mask == ALL) return isCanonical(sp - 1) && isCanonical(sp - size * count)
  for (let i: u32 = 1; i <= count; i++) if (!inSegment(attr, limit, (sp - i * size) & mask, size)) return false
  return true
}

/** Store a word at stack pointer `sp`: 0, or 1 after a fault. */
export function storeStack(p: u32, mask: u64, base: u64, sp: u64, size: u32, value: u64): i32 {
  const wrap = mask == ALL ? ALL : 0xffffffff
  const linear = mask == ALL ? sp : (base + (sp & mask)) & wrap
  const bank = currentBank(p)
  const offset = <u32>linear & 0xfff
  if (alignmentChecked(p) && (offset & (size - 1)) != 0) return fault(p, 17, 0)
  const first = translateWrite(p, linear, bank)
  if (first == WALK_FAULT) return 1
  let second: u64 = 0
  const low = min(size, 0x1000 - offset)
  if (low != size) {
    second = translateWrite(p, (linear + low) & wrap, bank)
    if (second == WALK_FAULT) return 1
  }
  physWrite(p, first | offset, low, value)
  if (low != size) physWrite(p, second, size - low, value >>> (low << 3))
  return 0
}

/** Linear address of the field of the TSS at `offset` if `size` bytes of it exist, else 0 with #TS raised. */
function tssField(p: u32, offset: u32, size: u32, ext: u32): bool {
  if (offset + size - 1 <= limitIn(p, SEG_TR)) return true
  fault(p, TS, (load<u32>(p, SEG_SELECTOR + SEG_TR * 4) & 0xfffc) | ext)
  return false
}

/** RSP for an inner level (`ist` 0) or of an interrupt stack, from the 64-bit TSS. */
export function tss64Stack(p: u32, cpl: u32, ist: u32, ext: u32): u64 {
  const offset = ist != 0 ? 28 + ist * 8 : 4 + cpl * 8
  if (!tssField(p, offset, 8, ext)) return 0
  return sysLoad(p, load<u64>(p, TR_BASE) + offset, 8)
}

/** SS << 32 | ESP for an inner level, from a 32-bit or 16-bit TSS. */
export function tssStack(p: u32, cpl: u32, ext: u32): u64 {
  const wide = (attrIn(p, SEG_TR) & 8) != 0
  const offset = wide ? 4 + cpl * 8 : 2 + cpl * 4
  if (!tssField(p, offset, wide ? 6 : 4, ext)) return 0
  const at = load<u64>(p, TR_BASE) + offset
  const sp = sysLoad(p, at, wide ? 4 : 2)
  if (faulted(p)) return 0
  const ss = sysLoad(p, at + (wide ? 4 : 2), 2)
  return sp | (ss << 32)
}

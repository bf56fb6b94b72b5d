/**
 * Segment registers and descriptors (SDM Vol. 3A 3.4, 5.2-5.7). Bases of ES, CS, SS and DS as loaded are kept in
 * DESC_BASE and copied to SEG_BASE by `updateMode`, because 64-bit mode ignores them but they must be back when
 * compatibility mode is entered. In real mode a load changes selector and base only, so that limits loaded in
 * protected mode stay ("unreal" mode).
 */
import {
  ATTR_DB, ATTR_DPL, ATTR_G, ATTR_L, ATTR_NULL, ATTR_P, ATTR_S, CPL, CR0, DESC_BASE, EFER, EXC, GDTR_BASE,
  GDTR_LIMIT, LDTR_BASE, LEAVE, LEAVE_CODE, LEAVE_EVENT, MODE, MODE_B, MODE_D, MODE_FLAT, MODE_LONG, SEG_ATTR,
  SEG_BASE, SEG_LIMIT, SEG_SELECTOR, SHADOW,
} from './layout'
import { CR0_PE, EFER_LMA, GP, NP, SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_LDTR, SEG_SS, SS } from './bits'
import { raise } from './faults'
import { sysLoad, sysStore } from './access'
import { isPv } from './pv'
import { pvDescriptor, pvSetType } from './pv-descriptors'
import { flushExec, setBank } from './tlb'

/** Whether an exception waits to be delivered: how to ask after a call that returns a value. */
// @ts-ignore: decorator
@inline
export function faulted(p: u32): bool {
  return load<i32>(p, EXC) >= 0
}

/** Raise `vector` with an error code and say so. */
export function fault(p: u32, vector: i32, error: u32): i32 {
  raise(p, vector, error)
  return 1
}

// @ts-ignore: decorator
@inline
export function isProtected(p: u32): bool {
  return (load<u64>(p, CR0) & CR0_PE) != 0
}

// @ts-ignore: decorator
@inline
export function isLongActive(p: u32): bool {
  return (load<u64>(p, EFER) & EFER_LMA) != 0
}

// @ts-ignore: decorator
@inline
export function is64Bit(p: u32): bool {
  return (load<u32>(p, MODE) & MODE_LONG) != 0
}

// @ts-ignore: decorator
@inline
export function selectorOf(p: u32, seg: u32): u32 {
  return load<u32>(p + (seg << 2), SEG_SELECTOR)
}

// @ts-ignore: decorator
@inline
export function limitIn(p: u32, seg: u32): u32 {
  return load<u32>(p + (seg << 2), SEG_LIMIT)
}

// @ts-ignore: decorator
@inline
export function attrIn(p: u32, seg: u32): u32 {
  return load<u32>(p + (seg << 2), SEG_ATTR)
}

/** Attributes, base and limit of a descriptor. */
// @ts-ignore: decorator
@inline
export function attrOf(descriptor: u64): u32 {
  return (<u32>(descriptor >>> 40) & 0xff) | (<u32>(descriptor >>> 44) & 0xf00)
}

export function baseOf(descriptor: u64): u64 {
  return ((descriptor >>> 16) & 0xffffff) | ((descriptor >>> 32) & 0xff000000)
}

export function limitOf(descriptor: u64): u32 {
  const raw = (<u32>descriptor & 0xffff) | (<u32>(descriptor >>> 32) & 0xf0000)
  return <u32>(descriptor >>> 40) & (ATTR_G << 4) ? (raw << 12) | 0xfff : raw
}

// @ts-ignore: decorator
@inline
export function dplOf(attr: u32): u32 {
  return (attr & ATTR_DPL) >>> 5
}

export function isCode(attr: u32): bool {
  return (attr & (ATTR_S | 8)) == (ATTR_S | 8)
}

export function isConforming(attr: u32): bool {
  return (attr & 4) != 0
}

export function isWritableData(attr: u32): bool {
  return (attr & (ATTR_S | 0xa)) == (ATTR_S | 2)
}

// @ts-ignore: decorator
@inline
export function isNull(selector: u32): bool {
  return (selector & 0xfffc) == 0
}

/** Whether bytes [offset, offset + size) lie in a segment. */
export function inSegment(attr: u32, limit: u32, offset: u64, size: u32): bool {
  const last = offset + size - 1
  if (attr & ATTR_NULL) return false
  if ((attr & (ATTR_S | 0xc)) == (ATTR_S | 4)) return offset > <u64>limit && last <= (attr & ATTR_DB ? 0xffffffff : 0xffff)
  return last <= <u64>limit
}

/** A linear address as system structures are addressed: 32 bits outside long mode. */
// @ts-ignore: decorator
@inline
export function wrap(p: u32, linear: u64): u64 {
  return isLongActive(p) ? linear : linear & 0xffffffff
}

/** Whether descriptor table entry `selector` of `size` bytes lies in its table. */
export function inTable(p: u32, selector: u32, size: u32): bool {
  const last = (selector & 0xfff8) + size - 1
  if (selector & 4) return (attrIn(p, SEG_LDTR) & ATTR_NULL) == 0 && last <= limitIn(p, SEG_LDTR)
  return last <= load<u32>(p, GDTR_LIMIT)
}

/** Linear address of a descriptor. */
export function descriptorAddress(p: u32, selector: u32): u64 {
  return wrap(p, (selector & 4 ? load<u64>(p, LDTR_BASE) : load<u64>(p, GDTR_BASE)) + (selector & 0xfff8))
}

/** The descriptor of a selector in its table; a fault is seen by EXC. */
export function loadDescriptor(p: u32, selector: u32): u64 {
  return isPv(p) ? pvDescriptor(p, selector) : sysLoad(p, descriptorAddress(p, selector), 8)
}

/** The descriptor of a selector that is not null; outside its table: `vector` with the selector, `ext` as EXT bit. */
export function readDescriptor(p: u32, selector: u32, vector: i32, ext: u32): u64 {
  if (!inTable(p, selector, 8)) {
    raise(p, vector, (selector & 0xfffc) | ext)
    return 0
  }
  return loadDescriptor(p, selector)
}

/** Set the accessed bit of a code or data descriptor in its table. */
export function markAccessed(p: u32, selector: u32, descriptor: u64): i32 {
  const type = <u32>(descriptor >>> 40) & 0xff
  if (type & 1) return 0
  if (isPv(p)) return pvSetType(p, selector, type | 1)
  return sysStore(p, descriptorAddress(p, selector) + 5, 1, type | 1)
}

/** Commit a segment register (not LDTR, TR). The caller ends with `updateMode`. */
export function setSegment(p: u32, seg: u32, selector: u32, descriptor: u64): void {
  setSegmentParts(p, seg, selector, baseOf(descriptor), limitOf(descriptor), attrOf(descriptor) | 1)
}

export function setSegmentParts(p: u32, seg: u32, selector: u32, base: u64, limit: u32, attr: u32): void {
  store<u32>(p + (seg << 2), selector, SEG_SELECTOR)
  store<u32>(p + (seg << 2), limit, SEG_LIMIT)
  store<u32>(p + (seg << 2), attr, SEG_ATTR)
  if (seg < SEG_FS) store<u64>(p + (seg << 3), base, DESC_BASE)
  else store<u64>(p + (seg << 3), base, SEG_BASE)
}

/** Commit a null selector. SS keeps the privilege level as its DPL. */
export function setNull(p: u32, seg: u32, selector: u32): void {
  setSegmentParts(p, seg, selector, 0, 0, seg == SEG_SS ? ATTR_NULL | ((selector & 3) << 5) : ATTR_NULL)
}

/** Commit a real-mode load. */
export function setReal(p: u32, seg: u32, selector: u32): void {
  const unusable = (attrIn(p, seg) & ATTR_NULL) != 0
  setSegmentParts(p, seg, selector, <u64>selector << 4, unusable ? 0xffff : limitIn(p, seg), unusable ? 0x93 : attrIn(p, seg))
}

/** Change CPL, and with it the TLB bank. */
// @ts-ignore: decorator
@inline
export function setCpl(p: u32, cpl: u32): void {
  if (load<u32>(p, CPL) == cpl) return
  store<u32>(p, cpl, CPL)
  setBank(p)
}

/** Whether a segment register reaches all 4 GiB with no check that could fail; `type` under `mask` is asked for. */
// @ts-ignore: decorator
@inline
function isFlat(p: u32, seg: u32, mask: u32, type: u32): bool {
  return load<u64>(p + (seg << 3), DESC_BASE) == 0 && limitIn(p, seg) == 0xffffffff &&
    (attrIn(p, seg) & (ATTR_NULL | ATTR_P | ATTR_S | mask)) == (ATTR_P | ATTR_S | type)
}

/**
 * Recompute MODE and the bases that depend on it, after CS, SS, DS, ES or EFER.LMA changed. FLAT promises that a load
 * or store through ES, SS, DS and a load through CS needs no segment check; a store through CS is not covered.
 */
export function updateMode(p: u32): void {
  let mode: u32
  const cs = attrIn(p, SEG_CS)
  if ((cs & ATTR_L) != 0 && isLongActive(p)) {
    mode = MODE_LONG | MODE_B | MODE_FLAT
    for (let seg: u32 = 0; seg < SEG_FS; seg++) store<u64>(p + (seg << 3), 0, SEG_BASE)
  } else {
    mode = cs & ATTR_DB ? MODE_D : 0
    if (attrIn(p, SEG_SS) & ATTR_DB) mode |= MODE_B
    if (isFlat(p, SEG_ES, 0xe, 2) && isFlat(p, SEG_SS, 0xe, 2) && isFlat(p, SEG_DS, 0xe, 2) && isFlat(p, SEG_CS, 0xa, 0xa))
      mode |= MODE_FLAT
    for (let seg: u32 = 0; seg < SEG_FS; seg++) store<u64>(p + (seg << 3), load<u64>(p + (seg << 3), DESC_BASE), SEG_BASE)
  }
  if (load<u32>(p, MODE) == mode) return
  store<u32>(p, mode, MODE)
  flushExec(p)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_CODE, LEAVE)
}

/**
 * MOV and POP to ES, SS, DS, FS or GS. A load of SS inhibits interrupts and #DB until after the next instruction, which
 * the run loop therefore executes by itself.
 */
export function loadSegment(p: u32, seg: u32, selector: u32): i32 {
  if (loadSegmentFar(p, seg, selector)) return 1
  if (seg == SEG_SS) {
    store<u32>(p, 2, SHADOW)
    store<u32>(p, load<u32>(p, LEAVE) | LEAVE_EVENT, LEAVE)
  }
  return 0
}

/** The same without the shadow: LDS, LES, LSS, LFS, LGS. */
export function loadSegmentFar(p: u32, seg: u32, selector: u32): i32 {
  selector &= 0xffff
  if (!isProtected(p)) setReal(p, seg, selector)
  else if (isNull(selector)) {
    // SS may be null in 64-bit mode below CPL 3 (SDM Vol. 3A 5.7.1).
    const cpl = load<u32>(p, CPL)
    if (seg == SEG_SS && (!is64Bit(p) || cpl == 3 || selector != cpl)) return fault(p, GP, 0)
    setNull(p, seg, selector)
  } else {
    const descriptor = readDescriptor(p, selector, GP, 0)
    if (faulted(p)) return 1
    const attr = attrOf(descriptor)
    if (seg == SEG_SS) {
      if (checkStack(p, selector, attr, load<u32>(p, CPL), GP, 0)) return 1
    } else if (checkData(p, selector, attr)) return 1
    if (markAccessed(p, selector, descriptor)) return 1
    setSegment(p, seg, selector, descriptor)
  }
  if (seg < SEG_FS) updateMode(p)
  return 0
}

/** SS for privilege level `cpl`: writable data of that DPL and RPL, else `vector`; present, else #SS. */
export function checkStack(p: u32, selector: u32, attr: u32, cpl: u32, vector: i32, ext: u32): i32 {
  const error = (selector & 0xfffc) | ext
  if ((selector & 3) != cpl || !isWritableData(attr) || dplOf(attr) != cpl) return fault(p, vector, error)
  return attr & ATTR_P ? 0 : fault(p, SS, error)
}

function checkData(p: u32, selector: u32, attr: u32): i32 {
  const error = selector & 0xfffc
  if ((attr & ATTR_S) == 0 || (attr & 0xa) == 8) return fault(p, GP, error)
  if (!isCode(attr) || !isConforming(attr)) {
    const dpl = dplOf(attr)
    if ((selector & 3) > dpl || load<u32>(p, CPL) > dpl) return fault(p, GP, error)
  }
  return attr & ATTR_P ? 0 : fault(p, NP, error)
}

/** After a return to an outer level: make null what the new level may not use (SDM Vol. 2, IRET, RET). */
export function dropInnerSegments(p: u32): void {
  dropIfInner(p, SEG_ES)
  dropIfInner(p, SEG_DS)
  dropIfInner(p, SEG_FS)
  dropIfInner(p, SEG_FS + 1)
}

// @ts-ignore: decorator
@inline
function dropIfInner(p: u32, seg: u32): void {
  const attr = attrIn(p, seg)
  if ((attr & ATTR_NULL) == 0 && ((isCode(attr) && isConforming(attr)) || dplOf(attr) >= load<u32>(p, CPL))) return
  store<u32>(p + (seg << 2), 0, SEG_SELECTOR)
  store<u32>(p + (seg << 2), attr | ATTR_NULL, SEG_ATTR)
}

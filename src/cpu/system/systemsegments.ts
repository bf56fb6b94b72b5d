/** LDTR and TR, and the instructions that ask about descriptors: LAR, LSL, VERR, VERW (SDM Vol. 2). */
import {
  ATTR_NULL, ATTR_P, ATTR_S, ATTR_TYPE, CPL, LDTR_BASE, SEG_ATTR, SEG_LIMIT, SEG_SELECTOR, TR_BASE,
} from './layout'
import { FLAG_ZF, GP, NP, SEG_LDTR, SEG_TR, UD } from './bits'
import { raise, raiseNoError } from './faults'
import { isCanonical, sysLoad, sysStore } from './access'
import { getFlags, setFlags } from './flags'
import {
  attrOf, baseOf, descriptorAddress, dplOf, fault, faulted, inTable, isCode, isConforming, isLongActive,
  isNull, isProtected, isWritableData, limitOf, loadDescriptor,
} from './segments'

/**
 * LLDT and LTR share this: the system descriptor of a selector in the GDT, 16 bytes in long mode (its upper half must
 * be of type 0 and the base canonical), of a type in the bit set `types`. The low half, or 0 with a fault raised;
 * the base in *base.
 */
function systemDescriptor(p: u32, selector: u32, types: u32, base: u32): u64 {
  const long = isLongActive(p)
  const error = selector & 0xfffc
  if ((selector & 4) != 0 || !inTable(p, selector, long ? 16 : 8)) {
    raise(p, GP, error)
    return 0
  }
  const at = descriptorAddress(p, selector)
  const low = sysLoad(p, at, 8)
  if (faulted(p)) return 0
  const attr = attrOf(low)
  let high: u64 = 0
  if (long) {
    high = sysLoad(p, at + 8, 8)
    if (faulted(p)) return 0
  }
  const whole = baseOf(low) | (high << 32)
  if ((attr & ATTR_S) != 0 || ((types >>> (attr & ATTR_TYPE)) & 1) == 0 || ((high >>> 40) & 0x1f) != 0 || !isCanonical(whole)) {
    raise(p, GP, error)
    return 0
  }
  if ((attr & ATTR_P) == 0) {
    raise(p, NP, error)
    return 0
  }
  store<u64>(base, whole)
  return low
}

export function lldt(p: u32, selector: u32): i32 {
  if (needProtectedCpl0(p)) return 1
  selector &= 0xffff
  if (isNull(selector)) {
    store<u64>(p, 0, LDTR_BASE)
    setSystem(p, SEG_LDTR, selector, 0, ATTR_NULL)
    return 0
  }
  const low = systemDescriptor(p, selector, 1 << 2, p + LDTR_BASE)
  if (faulted(p)) return 1
  setSystem(p, SEG_LDTR, selector, limitOf(low), attrOf(low))
  return 0
}

export function ltr(p: u32, selector: u32): i32 {
  if (needProtectedCpl0(p)) return 1
  selector &= 0xffff
  if (isNull(selector)) return fault(p, GP, 0)
  const old = load<u64>(p, TR_BASE)
  const low = systemDescriptor(p, selector, isLongActive(p) ? 1 << 9 : (1 << 9) | (1 << 1), p + TR_BASE)
  if (faulted(p)) return 1
  // The descriptor becomes busy.
  if (sysStore(p, descriptorAddress(p, selector) + 5, 1, ((low >>> 40) & 0xff) | 2)) {
    store<u64>(p, old, TR_BASE)
    return 1
  }
  setSystem(p, SEG_TR, selector, limitOf(low), attrOf(low) | 2)
  return 0
}

function setSystem(p: u32, seg: u32, selector: u32, limit: u32, attr: u32): void {
  store<u32>(p + (seg << 2), selector, SEG_SELECTOR)
  store<u32>(p + (seg << 2), limit, SEG_LIMIT)
  store<u32>(p + (seg << 2), attr, SEG_ATTR)
}

/** What exists in protected mode only: #UD in real mode. */
function needProtected(p: u32): i32 {
  if (isProtected(p)) return 0
  raiseNoError(p, UD)
  return 1
}

/** LLDT, LTR: the same, and #GP(0) unless CPL is 0. */
export function needProtectedCpl0(p: u32): i32 {
  if (needProtected(p)) return 1
  return load<u32>(p, CPL) == 0 ? 0 : fault(p, GP, 0)
}

// System descriptor types that LAR and LSL accept, as bit sets; in long mode those of 64-bit descriptors only.
const LAR_TYPES: u32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12)
const LAR_LONG_TYPES: u32 = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12)
const LSL_TYPES: u32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11)
const LSL_LONG_TYPES: u32 = (1 << 2) | (1 << 9) | (1 << 11)

/** The descriptor if it may be seen from here, else 0 (never a visible one: its type would be reserved). */
function visible(p: u32, selector: u32, types: u32): u64 {
  selector &= 0xffff
  if (isNull(selector) || !inTable(p, selector, 8)) return 0
  const descriptor = loadDescriptor(p, selector)
  if (faulted(p)) return 0
  const attr = attrOf(descriptor)
  if ((attr & ATTR_S) == 0) {
    if (((types >>> (attr & ATTR_TYPE)) & 1) == 0) return 0
  } else if (isCode(attr) && isConforming(attr)) return descriptor
  const dpl = dplOf(attr)
  return (selector & 3) > dpl || load<u32>(p, CPL) > dpl ? 0 : descriptor
}

function setZero(p: u32, zero: bool): void {
  setFlags(p, zero ? getFlags(p) | FLAG_ZF : getFlags(p) & ~FLAG_ZF)
}

/** Write `value` to the register slot `p + slot` as an operand of `size` bytes. */
function writeRegister(p: u32, slot: u32, size: u32, value: u32): void {
  if (size == 2) store<u16>(p + slot, <u16>value)
  else store<u64>(p + slot, <u64>value)
}

/** LAR: access rights of `selector` to register slot `slot`, ZF = it was visible. */
export function lar(p: u32, selector: u32, slot: u32, size: u32): i32 {
  if (needProtected(p)) return 1
  const descriptor = visible(p, selector, isLongActive(p) ? LAR_LONG_TYPES : LAR_TYPES)
  if (faulted(p)) return 1
  if (descriptor != 0) writeRegister(p, slot, size, <u32>(descriptor >>> 32) & 0xffff00)
  setZero(p, descriptor != 0)
  return 0
}

/** LSL: limit in bytes. */
export function lsl(p: u32, selector: u32, slot: u32, size: u32): i32 {
  if (needProtected(p)) return 1
  const descriptor = visible(p, selector, isLongActive(p) ? LSL_LONG_TYPES : LSL_TYPES)
  if (faulted(p)) return 1
  if (descriptor != 0) writeRegister(p, slot, size, limitOf(descriptor))
  setZero(p, descriptor != 0)
  return 0
}

/** VERR: ZF = the segment may be read from here. */
export function verr(p: u32, selector: u32): i32 {
  if (needProtected(p)) return 1
  const attr = attrOf(visible(p, selector, 0))
  if (faulted(p)) return 1
  setZero(p, (attr & ATTR_S) != 0 && (attr & 0xa) != 8)
  return 0
}

/** VERW: ZF = the segment may be written from here. */
export function verw(p: u32, selector: u32): i32 {
  if (needProtected(p)) return 1
  const attr = attrOf(visible(p, selector, 0))
  if (faulted(p)) return 1
  setZero(p, isWritableData(attr))
  return 0
}

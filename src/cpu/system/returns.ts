/**
 * IRET and far RET (SDM Vol. 2). The stack is read with the privilege of the code that runs. A return to virtual-8086
 * mode raises #GP(0), a task return (NT set) #GP with the back link: neither mode exists here. RF is not kept, see
 * flags.ts.
 */
import {
  ATTR_DB, ATTR_L, ATTR_P, CPL, NMI_BLOCKED, NMI_PENDING, RIP, RSP, SYSFLAGS, TR_BASE,
} from './layout'
import { FLAG_NT, FLAG_VM, GP, NP, SEG_CS, SEG_SS } from './bits'
import { isCanonical, sysLoad } from './access'
import { isPv } from './pv'
import { changeableFlags, needEvent, writeEflags } from './flags'
import {
  attrOf, checkStack, dplOf, dropInnerSegments, fault, faulted, is64Bit, isCode, isConforming, isLongActive, isNull,
  isProtected, limitIn, limitOf, markAccessed, readDescriptor, setCpl, setNull, setReal, setSegment, updateMode,
} from './segments'
import { ALL, currentMask, maskOf, merged, readStack } from './stack'

/** IRET, IRETD, IRETQ: operand `size` 2, 4, 8. NMIs are unblocked even if it faults (SDM Vol. 3A 6.7.1). */
export function iret(p: u32, size: u32): i32 {
  if (load<u32>(p, NMI_BLOCKED) != 0 && !isPv(p)) {
    store<u32>(p, 0, NMI_BLOCKED)
    if (load<u32>(p, NMI_PENDING) != 0) needEvent(p)
  }
  if (!isProtected(p)) return returnReal(p, size, 0, true)
  if (load<u32>(p, SYSFLAGS) & FLAG_NT) {
    if (isLongActive(p)) return fault(p, GP, 0)
    const link = <u32>sysLoad(p, load<u64>(p, TR_BASE), 2)
    return faulted(p) ? 1 : fault(p, GP, link & 0xfffc)
  }
  return returnProtected(p, size, 0, true)
}

/** Far RET: operand `size` 2, 4, 8; `release` bytes of parameters are dropped. */
export function farReturn(p: u32, size: u32, release: u32): i32 {
  return isProtected(p) ? returnProtected(p, size, release, false) : returnReal(p, size, release, false)
}

function returnReal(p: u32, size: u32, release: u32, withFlags: bool): i32 {
  const rip = readStack(p, 0, size)
  if (faulted(p)) return 1
  const selector = <u32>readStack(p, size, size) & 0xffff
  if (faulted(p)) return 1
  let popped = size * 2
  if (withFlags) {
    const flags = <u32>readStack(p, popped, size)
    if (faulted(p)) return 1
    if (rip > <u64>limitIn(p, SEG_CS)) return fault(p, GP, 0)
    popped += size
    writeEflags(p, flags, changeableFlags(p, size))
  } else if (rip > <u64>limitIn(p, SEG_CS)) return fault(p, GP, 0)
  const sp = load<u64>(p, RSP)
  store<u64>(p, merged(currentMask(p), sp, sp + popped + release), RSP)
  setReal(p, SEG_CS, selector)
  updateMode(p)
  store<u64>(p, rip, RIP)
  return 0
}

/** The code segment of a return: non-conforming of the RPL's level or conforming of a level not above it. */
export function checkReturnCode(p: u32, selector: u32, attr: u32): i32 {
  const error = selector & 0xfffc
  const rpl = selector & 3
  const dpl = dplOf(attr)
  if (!isCode(attr) || (isConforming(attr) ? dpl > rpl : dpl != rpl)) return fault(p, GP, error)
  if (isLongActive(p) && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB)) return fault(p, GP, error)
  return attr & ATTR_P ? 0 : fault(p, NP, error)
}

function returnProtected(p: u32, size: u32, release: u32, withFlags: bool): i32 {
  const cpl = load<u32>(p, CPL)
  const long = isLongActive(p)

  let rip = readStack(p, 0, size)
  if (faulted(p)) return 1
  // Two bytes of the selector are read, whatever the size (seen on hardware).
  const selector = <u32>readStack(p, size, 2)
  if (faulted(p)) return 1
  let popped = size * 2
  let flags: u32 = 0
  if (withFlags) {
    flags = <u32>readStack(p, popped, size)
    if (faulted(p)) return 1
    popped += size
    if ((flags & FLAG_VM) != 0 && size == 4 && cpl == 0 && !long) return fault(p, GP, 0)
  }
  popped += release

  if (isNull(selector)) return fault(p, GP, 0)
  const code = readDescriptor(p, selector, GP, 0)
  if (faulted(p)) return 1
  const level = selector & 3
  if (level < cpl) return fault(p, GP, selector & 0xfffc)
  const attr = attrOf(code)
  if (checkReturnCode(p, selector, attr)) return 1
  const to64 = long && (attr & ATTR_L) != 0
  // To compatibility mode only the lower half of a 64-bit address counts (seen on hardware).
  if (!to64) rip &= 0xffffffff

  // SS:RSP comes along to an outer level, and always with IRET in 64-bit mode.
  const outer = level != cpl
  const withStack = outer || (withFlags && is64Bit(p))
  let sp: u64 = 0
  let stack: u64 = 0
  let stackSelector: u32 = 0
  if (withStack) {
    sp = readStack(p, popped, size)
    if (faulted(p)) return 1
    stackSelector = <u32>readStack(p, popped + size, size) & 0xffff
    if (faulted(p)) return 1
    if (isNull(stackSelector)) {
      if (!to64 || level == 3 || stackSelector != level) return fault(p, GP, 0)
    } else {
      stack = readDescriptor(p, stackSelector, GP, 0)
      if (faulted(p)) return 1
      if (checkStack(p, stackSelector, attrOf(stack), level, GP, 0)) return 1
    }
  }
  if (to64 ? !isCanonical(rip) : rip > <u64>limitOf(code)) return fault(p, GP, 0)
  if (markAccessed(p, selector, code)) return 1
  if (withStack && !isNull(stackSelector) && markAccessed(p, stackSelector, stack)) return 1

  const old = load<u64>(p, RSP)
  if (withStack) {
    const mask = to64 ? ALL : maskOf(attrOf(stack))
    store<u64>(p, merged(mask, old, outer ? sp + release : sp), RSP)
    if (isNull(stackSelector)) setNull(p, SEG_SS, stackSelector)
    else setSegment(p, SEG_SS, stackSelector, stack)
  } else store<u64>(p, merged(currentMask(p), old, old + popped), RSP)
  const changeable = withFlags ? changeableFlags(p, size) : 0
  setCpl(p, level)
  setSegment(p, SEG_CS, selector, code)
  if (outer) dropInnerSegments(p)
  if (withFlags) writeEflags(p, flags, changeable)
  updateMode(p)
  store<u64>(p, rip, RIP)
  return 0
}

/**
 * Far JMP and CALL: to code segments and through call gates (SDM Vol. 2; Vol. 3A 5.8). `size` is the operand size in
 * bytes. A task gate or TSS raises #GP with its selector, in long mode because the architecture says so, elsewhere
 * because hardware task switches are left out.
 */
import {
  ATTR_DB, ATTR_L, ATTR_P, ATTR_S, ATTR_TYPE, CPL, DESC_BASE, RIP, RSP, SEG_BASE,
} from './layout'
import { GP, NP, SEG_CS, SEG_SS, SS, TS } from './bits'
import { isCanonical, sysLoad } from './access'
import {
  attrIn, attrOf, baseOf, checkStack, descriptorAddress, dplOf, fault, faulted, inSegment, inTable, isCode,
  isConforming, isLongActive, isNull, isProtected, limitIn, limitOf, markAccessed, readDescriptor, selectorOf, setCpl,
  setNull, setReal, setSegment, updateMode,
} from './segments'
import { ALL, currentMask, frameFits, maskOf, merged, readStack, storeStack, tss64Stack, tssStack } from './stack'

const CALL_GATE_16: u32 = 4
const CALL_GATE: u32 = 12 // 32-bit, 64-bit in long mode

export function farJump(p: u32, selector: u32, offset: u64, size: u32): i32 {
  return transfer(p, selector & 0xffff, offset, size, false, 0)
}

/** Far CALL; `next` is the return address. */
export function farCall(p: u32, selector: u32, offset: u64, size: u32, next: u64): i32 {
  return transfer(p, selector & 0xffff, offset, size, true, next)
}

function transfer(p: u32, selector: u32, offset: u64, size: u32, call: bool, next: u64): i32 {
  if (!isProtected(p)) return transferReal(p, selector, offset, size, call, next)
  if (isNull(selector)) return fault(p, GP, 0)
  const descriptor = readDescriptor(p, selector, GP, 0)
  if (faulted(p)) return 1
  const attr = attrOf(descriptor)
  if (attr & ATTR_S) return toSegment(p, selector, descriptor, offset, size, call, next)
  const type = attr & ATTR_TYPE
  if (type == CALL_GATE || (type == CALL_GATE_16 && !isLongActive(p))) return toGate(p, selector, descriptor, call, next)
  return fault(p, GP, selector & 0xfffc)
}

function transferReal(p: u32, selector: u32, offset: u64, size: u32, call: bool, next: u64): i32 {
  if (offset > <u64>limitIn(p, SEG_CS)) return fault(p, GP, 0)
  if (call && pushReturn(p, size, next)) return 1
  setReal(p, SEG_CS, selector)
  updateMode(p)
  store<u64>(p, offset, RIP)
  return 0
}

/** Push CS and the return address on the stack as it is. */
function pushReturn(p: u32, size: u32, next: u64): i32 {
  const mask = currentMask(p)
  if (storeReturn(p, mask, load<u64>(p, SEG_BASE + SEG_SS * 8), size, next)) return 1
  dropStack(p, mask, size * 2)
  return 0
}

/** The same without moving the stack pointer, whose width and base are given. */
function storeReturn(p: u32, mask: u64, base: u64, size: u32, next: u64): i32 {
  const sp = load<u64>(p, RSP)
  if (!frameFits(mask, attrIn(p, SEG_SS), limitIn(p, SEG_SS), sp, size, 2)) return fault(p, SS, 0)
  return storeStack(p, mask, base, sp - size, size, selectorOf(p, SEG_CS)) ||
    storeStack(p, mask, base, sp - size * 2, size, next)
}

function dropStack(p: u32, mask: u64, bytes: u32): void {
  const sp = load<u64>(p, RSP)
  store<u64>(p, merged(mask, sp, sp - bytes), RSP)
}

/** Whether `offset` may be executed in a code segment: else #GP(0). */
function checkTarget(p: u32, code: u64, offset: u64): i32 {
  const attr = attrOf(code)
  const good = isLongActive(p) && (attr & ATTR_L) != 0 ? isCanonical(offset) : offset <= <u64>limitOf(code)
  return good ? 0 : fault(p, GP, 0)
}

function toSegment(p: u32, selector: u32, code: u64, offset: u64, size: u32, call: bool, next: u64): i32 {
  const attr = attrOf(code)
  const error = selector & 0xfffc
  const cpl = load<u32>(p, CPL)
  const dpl = dplOf(attr)
  if (!isCode(attr)) return fault(p, GP, error)
  if (isConforming(attr) ? dpl > cpl : dpl != cpl || (selector & 3) > cpl) return fault(p, GP, error)
  if (isLongActive(p) && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB)) return fault(p, GP, error)
  if ((attr & ATTR_P) == 0) return fault(p, NP, error)
  // To compatibility mode only the lower half of a 64-bit offset counts (seen on hardware).
  if ((attr & ATTR_L) == 0) offset &= 0xffffffff
  // The return address is written before the target is checked, on the stack as the target's mode has it (both seen on
  // hardware).
  const to64 = isLongActive(p) && (attr & ATTR_L) != 0
  const mask = to64 ? ALL : maskOf(attrIn(p, SEG_SS))
  if (call && storeReturn(p, mask, to64 ? 0 : load<u64>(p, DESC_BASE + SEG_SS * 8), size, next)) return 1
  if (checkTarget(p, code, offset)) return 1
  if (markAccessed(p, selector, code)) return 1
  if (call) dropStack(p, mask, size * 2)
  enterCode(p, selector, code, cpl, offset)
  return 0
}

function enterCode(p: u32, selector: u32, code: u64, cpl: u32, offset: u64): void {
  setSegment(p, SEG_CS, (selector & 0xfffc) | cpl, code)
  updateMode(p)
  store<u64>(p, offset, RIP)
}

function toGate(p: u32, gateSelector: u32, gate: u64, call: bool, next: u64): i32 {
  const long = isLongActive(p)
  const cpl = load<u32>(p, CPL)
  const gateAttr = attrOf(gate)
  const gateError = gateSelector & 0xfffc
  const gateDpl = dplOf(gateAttr)
  if (gateDpl < cpl || gateDpl < (gateSelector & 3)) return fault(p, GP, gateError)
  let offset = gate & 0xffff
  if (gateAttr & 8) offset |= (gate >>> 48) << 16
  if (long) {
    // The second half must not look like a descriptor.
    if (!inTable(p, gateSelector, 16)) return fault(p, GP, gateError)
    const high = sysLoad(p, descriptorAddress(p, gateSelector) + 8, 8)
    if (faulted(p)) return 1
    if ((high >>> 40) & 0x1f) return fault(p, GP, gateError)
    offset |= high << 32
  }
  if ((gateAttr & ATTR_P) == 0) return fault(p, NP, gateError)

  const selector = <u32>(gate >>> 16) & 0xffff
  const error = selector & 0xfffc
  if (isNull(selector)) return fault(p, GP, 0)
  const code = readDescriptor(p, selector, GP, 0)
  if (faulted(p)) return 1
  const attr = attrOf(code)
  const dpl = dplOf(attr)
  const inner = call && !isConforming(attr) && dpl < cpl
  if (!isCode(attr) || dpl > cpl || (!call && !isConforming(attr) && dpl != cpl)) return fault(p, GP, error)
  if (long && (attr & (ATTR_L | ATTR_DB)) != ATTR_L) return fault(p, GP, error)
  if ((attr & ATTR_P) == 0) return fault(p, NP, error)

  const size: u32 = long ? 8 : gateAttr & 8 ? 4 : 2
  if (inner) {
    const failed = long ? callInnerLong(p, selector, code, offset, next)
      : callInner(p, selector, code, offset, next, size, <u32>(gate >>> 32) & 31)
    return failed
  }
  if (checkTarget(p, code, offset)) return 1
  if (markAccessed(p, selector, code)) return 1
  if (call && pushGateReturn(p, long, size, next)) return 1
  enterCode(p, selector, code, cpl, offset)
  return 0
}

/** A 64-bit gate pushes on a 64-bit stack also when compatibility mode calls. */
function pushGateReturn(p: u32, long: bool, size: u32, next: u64): i32 {
  if (!long) return pushReturn(p, size, next)
  const sp = load<u64>(p, RSP)
  if (!frameFits(ALL, 0, 0, sp, 8, 2)) return fault(p, SS, 0)
  if (storeStack(p, ALL, 0, sp - 8, 8, selectorOf(p, SEG_CS))) return 1
  if (storeStack(p, ALL, 0, sp - 16, 8, next)) return 1
  store<u64>(p, sp - 16, RSP)
  return 0
}

function callInnerLong(p: u32, selector: u32, code: u64, offset: u64, next: u64): i32 {
  const cpl = load<u32>(p, CPL)
  const level = dplOf(attrOf(code))
  const sp = tss64Stack(p, level, 0, 0)
  if (faulted(p)) return 1
  if (!frameFits(ALL, 0, 0, sp, 8, 4)) return fault(p, SS, 0)
  if (checkTarget(p, code, offset)) return 1
  setCpl(p, level)
  if (
    markAccessed(p, selector, code) ||
    storeStack(p, ALL, 0, sp - 8, 8, selectorOf(p, SEG_SS)) ||
    storeStack(p, ALL, 0, sp - 16, 8, load<u64>(p, RSP)) ||
    storeStack(p, ALL, 0, sp - 24, 8, selectorOf(p, SEG_CS)) ||
    storeStack(p, ALL, 0, sp - 32, 8, next)
  ) {
    setCpl(p, cpl)
    return 1
  }
  store<u64>(p, sp - 32, RSP)
  setNull(p, SEG_SS, level)
  enterCode(p, selector, code, level, offset)
  return 0
}

/** To an inner level outside long mode: stack from the TSS, `parameters` words copied from the old one. */
function callInner(p: u32, selector: u32, code: u64, offset: u64, next: u64, size: u32, parameters: u32): i32 {
  const cpl = load<u32>(p, CPL)
  const level = dplOf(attrOf(code))
  const found = tssStack(p, level, 0)
  if (faulted(p)) return 1
  const sp = found & 0xffffffff
  const stackSelector = <u32>(found >>> 32)
  if (isNull(stackSelector)) return fault(p, TS, 0)
  const stack = readDescriptor(p, stackSelector, TS, 0)
  if (faulted(p)) return 1
  const attr = attrOf(stack)
  if (checkStack(p, stackSelector, attr, level, TS, 0)) return 1
  const mask = maskOf(attr)
  const base = baseOf(stack)
  if (!frameFits(mask, attr, limitOf(stack), sp, size, 4 + parameters)) return fault(p, SS, stackSelector & 0xfffc)
  if (checkTarget(p, code, offset)) return 1
  if (markAccessed(p, stackSelector, stack) || markAccessed(p, selector, code)) return 1

  const oldSp = load<u64>(p, RSP)
  let at = sp
  setCpl(p, level)
  let failed = storeStack(p, mask, base, at - size, size, selectorOf(p, SEG_SS)) ||
    storeStack(p, mask, base, at - size * 2, size, oldSp)
  at -= size * 2
  for (let i = parameters; i != 0 && !failed; i--) {
    // Parameters are read as the caller, who pushed them.
    setCpl(p, cpl)
    const word = readStack(p, (i - 1) * size, size)
    failed = <i32>faulted(p)
    setCpl(p, level)
    at -= size
    if (!failed) failed = storeStack(p, mask, base, at, size, word)
  }
  if (
    failed ||
    storeStack(p, mask, base, at - size, size, selectorOf(p, SEG_CS)) ||
    storeStack(p, mask, base, at - size * 2, size, next)
  ) {
    setCpl(p, cpl)
    return 1
  }
  store<u64>(p, merged(mask, sp, at - size * 2), RSP)
  setSegment(p, SEG_SS, stackSelector, stack)
  enterCode(p, selector, code, level, offset)
  return 0
}

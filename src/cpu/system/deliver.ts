/**
 * Exceptions and interrupts through the IDT (SDM Vol. 3A chapter 6). Everything is read, checked and pushed before
 * registers change, so a fault on the way finds the state of the interrupted instruction.
 *
 * Task gates: hardware task switches are left out; a task gate raises #GP with its TSS selector.
 */
import {
  ATTR_DB, ATTR_L, ATTR_P, CPL, CR0, DR6, DR7, EXC, EXC_ERROR, EXC_HAS_ERROR, EXIT, EXIT_SHUTDOWN, IDTR_BASE,
  IDTR_LIMIT, LEAVE, LEAVE_HOST, NMI_BLOCKED, NMI_PENDING, RIP, RSP, SEG_BASE, SHADOW, SYSFLAGS, TF_AFTER,
} from './layout'
import {
  DB, DF, FLAG_AC, FLAG_IF, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, GP, NMI, NP, PF, SEG_CS, SEG_SS, SS, TS,
} from './bits'
import { raiseNoError } from './faults'
import { isCanonical, sysLoad } from './access'
import { readEflags } from './flags'
import { inKernel, isPv, isPv32 } from './pv'
import { pvHypercall32 } from './pv-call'
import { pvDeliver, pvEvents, pvInt1, pvSoftInterrupt } from './pv-frame'
import { setBank } from './tlb'
import {
  attrIn, attrOf, baseOf, checkStack, dplOf, fault, faulted, inSegment, isCode, isConforming, isLongActive, isNull,
  isProtected, limitIn, limitOf, markAccessed, readDescriptor, selectorOf, setCpl, setNull, setReal, setSegment,
  updateMode, wrap,
} from './segments'
import { ALL, currentMask, frameFits, maskOf, merged, storeStack, tss64Stack, tssStack } from './stack'

const DR6_BS: u64 = 1 << 14
const DR7_GD: u64 = 1 << 13

/** In EXC_ERROR with #DB: it is a trap, so RF is not set in the image. */
const TRAP: i32 = 1

/** The software interrupt by which 32-bit Xen PV kernels make hypercalls. */
const HYPERCALL: i32 = 0x82

/** Gates that lead out of here need no error code. */
const NO_ERROR: i64 = -1

/**
 * Deliver the exception in EXC at RIP. A fault during delivery is delivered instead, or makes a double fault (SDM
 * Vol. 3A table 6-5), and one during that delivery shuts the processor down.
 */
export function deliver(p: u32): void {
  if (isPv(p)) return pvDeliver(p)
  let vector = load<i32>(p, EXC)
  for (;;) {
    const hasError = load<i32>(p, EXC_HAS_ERROR) != 0
    const error: i64 = hasError ? <i64>load<i32>(p, EXC_ERROR) : NO_ERROR
    const image = isFault(vector) && !(vector == DB && load<i32>(p, EXC_ERROR) == TRAP) ? FLAG_RF : 0
    store<i32>(p, -1, EXC)
    if (enter(p, vector, load<u64>(p, RIP), image, error, false) == 0) {
      if (vector == DB) store<u64>(p, load<u64>(p, DR7) & ~DR7_GD, DR7)
      return
    }
    const next = load<i32>(p, EXC)
    if (vector == DF) {
      shutdown(p)
      return
    }
    if (makesDouble(vector, next)) {
      vector = DF
      fault(p, DF, 0)
    } else vector = next
  }
}

function shutdown(p: u32): void {
  store<i32>(p, -1, EXC)
  store<u32>(p, EXIT_SHUTDOWN, EXIT)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_HOST, LEAVE)
}

/** Exceptions whose image has RF set: faults, not traps (#BP, #OF) nor aborts (#DF, #MC). */
function isFault(vector: i32): bool {
  return vector != 3 && vector != 4 && vector != DF && vector != 18
}

function isContributory(vector: i32): bool {
  return vector == 0 || (vector >= TS && vector <= GP)
}

function makesDouble(first: i32, second: i32): bool {
  if (first == PF) return second == PF || isContributory(second)
  return isContributory(first) && isContributory(second)
}

/** An external interrupt. */
export function deliverInterrupt(p: u32, vector: i32): void {
  if (enter(p, vector, load<u64>(p, RIP), 0, NO_ERROR, false)) deliver(p)
}

/** The waiting non-maskable interrupt; IRET ends the blocking of the next. */
export function deliverNmi(p: u32): void {
  if (isPv(p)) return pvEvents(p)
  store<u32>(p, 0, NMI_PENDING)
  store<u32>(p, 1, NMI_BLOCKED)
  deliverInterrupt(p, NMI)
}

/**
 * After an instruction that began with `flags` and did not fault: the single-step trap, #DB with DR6.BS. It goes by TF
 * before the instruction; by TF after it for INT n, SYSCALL and SYSRET (so that a handler is not stepped, and a return
 * by SYSRET traps before the next instruction; it raises that trap itself); MOV and POP to SS put it off (SDM Vol. 3A 6.8.3, 17.3.1.4).
 */
export function endStep(p: u32, flags: u32): void {
  if (load<u32>(p, SHADOW) == 2) return
  if (((load<u32>(p, TF_AFTER) != 0 ? load<u32>(p, SYSFLAGS) : flags) & FLAG_TF) == 0) return
  raiseStep(p)
  deliver(p)
}

/** Raise the single-step trap; RIP must be that of the next instruction when it is delivered. */
export function raiseStep(p: u32): void {
  store<u64>(p, load<u64>(p, DR6) | DR6_BS, DR6)
  raiseNoError(p, DB)
  store<i32>(p, TRAP, EXC_ERROR)
}

/** INT n, INT3, INTO: the gate's DPL counts. */
export function softInterrupt(p: u32, vector: i32, next: u64): i32 {
  if (isPv(p)) return isPv32(p) && vector == HYPERCALL && inKernel(p) ? pvHypercall32(p, next) : pvSoftInterrupt(p, vector, next)
  if (enter(p, vector, next, 0, NO_ERROR, true)) return 1
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** INT1: like an event from outside, its gate's DPL does not count (SDM Vol. 2, INT n). */
export function int1(p: u32, next: u64): i32 {
  if (isPv(p)) return pvInt1(p, next)
  if (enter(p, DB, next, 0, NO_ERROR, false)) return 1
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** Enter the handler of `vector`: `rip` is pushed, `image` is or-ed to the flags pushed, `error` NO_ERROR or a code. */
function enter(p: u32, vector: i32, rip: u64, image: u32, error: i64, soft: bool): i32 {
  const failed = !isProtected(p) ? enterReal(p, vector, rip)
    : isLongActive(p) ? enterLong(p, vector, rip, image, error, soft)
    : enterProtected(p, vector, rip, image, error, soft)
  if (failed == 0) store<u32>(p, 0, SHADOW)
  return failed
}

/** What every protected-mode gate clears; interrupt gates (even types) IF too. */
// @ts-ignore: decorator
@inline
function clearFlags(p: u32, type: u32): void {
  const clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (type & 1 ? 0 : FLAG_IF)
  store<u32>(p, load<u32>(p, SYSFLAGS) & ~clear, SYSFLAGS)
}

/** Real mode: the vector table at IDTR (SDM Vol. 3A 20.1.4). No error codes. */
function enterReal(p: u32, vector: i32, rip: u64): i32 {
  const at = <u32>vector * 4
  if (at + 3 > load<u32>(p, IDTR_LIMIT)) return fault(p, GP, 0)
  const entry = <u32>sysLoad(p, load<u64>(p, IDTR_BASE) + at, 4)
  if (faulted(p)) return 1
  const mask = currentMask(p)
  const base = load<u64>(p, SEG_BASE + SEG_SS * 8)
  const sp = load<u64>(p, RSP)
  if (!frameFits(mask, attrIn(p, SEG_SS), limitIn(p, SEG_SS), sp, 2, 3)) return fault(p, SS, 0)
  if ((entry & 0xffff) > limitIn(p, SEG_CS)) return fault(p, GP, 0)
  if (storeStack(p, mask, base, sp - 2, 2, readEflags(p))) return 1
  if (storeStack(p, mask, base, sp - 4, 2, selectorOf(p, SEG_CS))) return 1
  if (storeStack(p, mask, base, sp - 6, 2, rip)) return 1
  store<u64>(p, merged(mask, sp, sp - 6), RSP)
  store<u32>(p, load<u32>(p, SYSFLAGS) & ~(FLAG_TF | FLAG_IF | FLAG_AC | FLAG_RF), SYSFLAGS)
  setBank(p)
  setReal(p, SEG_CS, entry >>> 16)
  updateMode(p)
  store<u64>(p, entry & 0xffff, RIP)
  return 0
}

/** The privilege level in which a gate's code segment runs, or 4 with a fault raised. */
function targetLevel(p: u32, selector: u32, attr: u32, ext: u32): u32 {
  const error = (selector & 0xfffc) | ext
  const cpl = load<u32>(p, CPL)
  const dpl = dplOf(attr)
  if (!isCode(attr) || dpl > cpl || (isLongActive(p) && (attr & (ATTR_L | ATTR_DB)) != ATTR_L)) {
    fault(p, GP, error)
    return 4
  }
  if ((attr & ATTR_P) == 0) {
    fault(p, NP, error)
    return 4
  }
  return isConforming(attr) ? cpl : dpl
}

/** Long mode: 16-byte gates, always 64-bit code, SS:RSP always pushed (SDM Vol. 3A 6.14). */
function enterLong(p: u32, vector: i32, rip: u64, image: u32, error: i64, soft: bool): i32 {
  const ext: u32 = soft ? 0 : 1
  const gateError = ((<u32>vector) << 3) | 2 | ext
  const cpl = load<u32>(p, CPL)

  const at = <u32>vector * 16
  if (at + 15 > load<u32>(p, IDTR_LIMIT)) return fault(p, GP, gateError)
  const low = sysLoad(p, load<u64>(p, IDTR_BASE) + at, 8)
  if (faulted(p)) return 1
  const high = sysLoad(p, load<u64>(p, IDTR_BASE) + at + 8, 8)
  if (faulted(p)) return 1
  const gate = attrOf(low)
  if ((gate & 0x1e) != 0xe || (soft && dplOf(gate) < cpl)) return fault(p, GP, gateError)
  if ((gate & ATTR_P) == 0) return fault(p, NP, gateError)

  const selector = <u32>(low >>> 16) & 0xffff
  if (isNull(selector)) return fault(p, GP, ext)
  const code = readDescriptor(p, selector, GP, ext)
  if (faulted(p)) return 1
  const level = targetLevel(p, selector, attrOf(code), ext)
  if (level > 3) return 1

  const ist = <u32>(low >>> 32) & 7
  const oldSp = load<u64>(p, RSP)
  let sp = oldSp
  if (ist != 0 || level != cpl) {
    sp = tss64Stack(p, level, ist, ext)
    if (faulted(p)) return 1
  }
  sp &= ~(<u64>15)
  const count: u32 = error == NO_ERROR ? 5 : 6
  if (!frameFits(ALL, 0, 0, sp, 8, count)) return fault(p, SS, ext)
  const target = (low & 0xffff) | ((low >>> 48) << 16) | (high << 32)
  if (!isCanonical(target)) return fault(p, GP, ext)

  setCpl(p, level)
  if (
    markAccessed(p, selector, code) ||
    storeStack(p, ALL, 0, sp - 8, 8, selectorOf(p, SEG_SS)) ||
    storeStack(p, ALL, 0, sp - 16, 8, oldSp) ||
    storeStack(p, ALL, 0, sp - 24, 8, readEflags(p) | image) ||
    storeStack(p, ALL, 0, sp - 32, 8, selectorOf(p, SEG_CS)) ||
    storeStack(p, ALL, 0, sp - 40, 8, rip) ||
    (error != NO_ERROR && storeStack(p, ALL, 0, sp - 48, 8, <u64>error) != 0)
  ) {
    setCpl(p, cpl)
    return 1
  }
  store<u64>(p, sp - 8 * count, RSP)
  if (level != cpl) setNull(p, SEG_SS, level)
  clearFlags(p, gate)
  setSegment(p, SEG_CS, (selector & 0xfffc) | level, code)
  updateMode(p)
  store<u64>(p, target, RIP)
  return 0
}

/** Protected mode: 8-byte interrupt and trap gates of 16 or 32 bits. */
function enterProtected(p: u32, vector: i32, rip: u64, image: u32, error: i64, soft: bool): i32 {
  const ext: u32 = soft ? 0 : 1
  const gateError = ((<u32>vector) << 3) | 2 | ext
  const cpl = load<u32>(p, CPL)

  const at = <u32>vector * 8
  if (at + 7 > load<u32>(p, IDTR_LIMIT)) return fault(p, GP, gateError)
  const descriptor = sysLoad(p, wrap(p, load<u64>(p, IDTR_BASE) + at), 8)
  if (faulted(p)) return 1
  const gate = attrOf(descriptor)
  const task = (gate & 0x1f) == 5
  if (((gate & 0x16) != 6 && !task) || (soft && dplOf(gate) < cpl)) return fault(p, GP, gateError)
  if ((gate & ATTR_P) == 0) return fault(p, NP, gateError)
  const selector = <u32>(descriptor >>> 16) & 0xffff
  if (task) return fault(p, GP, (selector & 0xfffc) | ext)

  if (isNull(selector)) return fault(p, GP, ext)
  const code = readDescriptor(p, selector, GP, ext)
  if (faulted(p)) return 1
  const level = targetLevel(p, selector, attrOf(code), ext)
  if (level > 3) return 1

  // The stack: SS:ESP as it is, or the inner level's.
  const inner = level != cpl
  const size: u32 = gate & 8 ? 4 : 2
  const count: u32 = (inner ? 5 : 3) + (error == NO_ERROR ? 0 : 1)
  const oldSp = load<u64>(p, RSP)
  let sp = oldSp
  let mask = currentMask(p)
  let base = load<u64>(p, SEG_BASE + SEG_SS * 8)
  let stack: u64 = 0
  let stackSelector: u32 = 0
  if (inner) {
    const found = tssStack(p, level, ext)
    if (faulted(p)) return 1
    sp = found & 0xffffffff
    stackSelector = <u32>(found >>> 32)
    if (isNull(stackSelector)) return fault(p, TS, ext)
    stack = readDescriptor(p, stackSelector, TS, ext)
    if (faulted(p)) return 1
    const attr = attrOf(stack)
    if (checkStack(p, stackSelector, attr, level, TS, ext)) return 1
    mask = maskOf(attr)
    base = baseOf(stack)
    if (!frameFits(mask, attr, limitOf(stack), sp, size, count)) return fault(p, SS, (stackSelector & 0xfffc) | ext)
  } else if (!frameFits(mask, attrIn(p, SEG_SS), limitIn(p, SEG_SS), sp, size, count)) return fault(p, SS, ext)
  const target = (descriptor & 0xffff) | (size == 4 ? (descriptor >>> 48) << 16 : 0)
  if (!inSegment(attrOf(code), limitOf(code), target, 1)) return fault(p, GP, ext)

  setCpl(p, level)
  let top = sp
  if (inner) {
    if (
      markAccessed(p, stackSelector, stack) ||
      storeStack(p, mask, base, sp - size, size, selectorOf(p, SEG_SS)) ||
      storeStack(p, mask, base, sp - size * 2, size, oldSp)
    ) {
      setCpl(p, cpl)
      return 1
    }
    top = sp - size * 2
  }
  if (
    markAccessed(p, selector, code) ||
    storeStack(p, mask, base, top - size, size, readEflags(p) | image) ||
    storeStack(p, mask, base, top - size * 2, size, selectorOf(p, SEG_CS)) ||
    storeStack(p, mask, base, top - size * 3, size, rip) ||
    (error != NO_ERROR && storeStack(p, mask, base, top - size * 4, size, <u64>error) != 0)
  ) {
    setCpl(p, cpl)
    return 1
  }
  store<u64>(p, merged(mask, inner ? sp : oldSp, sp - size * count), RSP)
  if (inner) setSegment(p, SEG_SS, stackSelector, stack)
  clearFlags(p, gate)
  setSegment(p, SEG_CS, (selector & 0xfffc) | level, code)
  updateMode(p)
  store<u64>(p, target, RIP)
  return 0
}

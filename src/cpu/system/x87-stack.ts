/**
 * The x87 register stack, its status word and its exceptions (SDM Vol. 1 8.1, 8.5): how every x87 instruction begins
 * and ends.
 *
 * A record of an x87 instruction holds the 11 bits of FOP in its IMM field. Like current Intel processors (CPUID
 * leaf 7, EBX bits 6 and 13) FOP and FDP change only at an unmasked exception and FCS and FDS are 0.
 */
import {
  FCW, FDP, FIP, FOP, FP_FLAGS, FPR, FPU_TRAP, FSW, FTW, MODE, MODE_LONG, PAGE_LINEAR, R_BASE, R_IMM,
  R_OFFSET_LENGTH, RECORD, SEG_BASE,
} from './layout'
import { raiseNoError } from './faults'
import { indefiniteExtended } from './softfloat-extended'
import { IE } from './softfloat-round'

export const SF: u32 = 0x40
export const ES: u32 = 0x80
export const C0: u32 = 0x100
export const C1: u32 = 0x200
export const C2: u32 = 0x400
export const C3: u32 = 0x4000
export const BUSY: u32 = 0x8000
/** IE, DE and ZE keep the operation from being done. */
const BEFORE: u32 = 7

/**
 * For FDP, procedures are told the address `ea` of a memory operand: linear, which is canonical, or an offset in a
 * segment plus OFFSET.
 */
export const NO_OPERAND: u64 = -1
const OFFSET: u64 = 1 << 62

@inline
export function registerAt(p: u32, i: u32): u32 {
  return p + FPR + ((load<u32>(p + FSW) >> 11) + i & 7) * 16
}

@inline
export function isEmpty(p: u32, i: u32): bool {
  return (load<u32>(p + FTW) >> ((load<u32>(p + FSW) >> 11) + i & 7) & 1) == 0
}

@inline
export function setTag(p: u32, i: u32, full: u32): void {
  const bit: u32 = (load<u32>(p + FSW) >> 11) + i & 7
  store<u32>(p + FTW, load<u32>(p + FTW) & ~(1 << bit) | full << bit)
}

/** Adds `n` to TOP. */
@inline
export function turn(p: u32, n: u32): void {
  const fsw = load<u32>(p + FSW)
  store<u32>(p + FSW, fsw & ~0x3800 | fsw + (n << 11) & 0x3800)
}

@inline
export function clearC1(p: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C1)
}

@inline
export function pop(p: u32): void {
  setTag(p, 0, 0)
  turn(p, 1)
}

/** What faults before an x87 instruction: #NM for CR0.EM or CR0.TS, else #MF for a pending unmasked exception. */
export function x87Fault(p: u32): i32 {
  if ((load<u32>(p + FPU_TRAP) & 3) != 0) {
    raiseNoError(p, 7)
    return 1
  }
  return pendingFault(p)
}

/** The same for instructions that do not wait. */
export function x87NoWaitFault(p: u32): i32 {
  if ((load<u32>(p + FPU_TRAP) & 3) == 0) return 0
  raiseNoError(p, 7)
  return 1
}

/** The same for MMX, for which EM means #UD. */
export function mmxFault(p: u32): i32 {
  const trap = load<u32>(p + FPU_TRAP)
  if ((trap & 3) != 0) {
    raiseNoError(p, (trap & 1) != 0 ? 6 : 7)
    return 1
  }
  return pendingFault(p)
}

/** With CR0.NE = 0 hardware asserts FERR#, for the PIC's IRQ 13; #MF is delivered here whatever NE says. */
function pendingFault(p: u32): i32 {
  if ((load<u32>(p + FSW) & ES) == 0) return 0
  raiseNoError(p, 16)
  return 1
}

/** Begins a non-control instruction: notes its address. */
@inline
export function begin(p: u32): void {
  const linear = load<u64>(p + PAGE_LINEAR) + <u64>(load<u16>(load<u32>(p + RECORD) + R_OFFSET_LENGTH) >> 4)
  const offset = linear - load<u64>(p + SEG_BASE + 8)
  store<u64>(p + FIP, (load<u32>(p + MODE) & MODE_LONG) != 0 ? offset : offset & 0xffffffff)
}

/** Marks that an unmasked exception is pending and which instruction raised it. */
function pend(p: u32, ea: u64): void {
  const record = load<u32>(p + RECORD)
  store<u32>(p + FSW, load<u32>(p + FSW) | ES | BUSY)
  store<u32>(p + FOP, load<u32>(record + R_IMM) & 0x7ff)
  if (ea == NO_OPERAND) return
  if (ea >> 62 == 1) ea ^= OFFSET
  else ea -= load<u64>(p + SEG_BASE + (load<u8>(record + R_BASE) & 7) * 8)
  store<u64>(p + FDP, ea)
}

/** Stack overflow (`c1` = C1) or underflow (0). Returns whether the exception is masked, so that the NaN is written. */
export function stackFault(p: u32, c1: u32, ea: u64): bool {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~C1 | c1 | SF | IE)
  if ((load<u32>(p + FCW) & IE) != 0) return true
  pend(p, ea)
  return false
}

/** Writes the indefinite to register ST(i) after a masked stack fault. */
export function writeIndefinite(p: u32, i: u32): void {
  v128.store(registerAt(p, i), indefiniteExtended())
  setTag(p, i, 1)
}

/**
 * Moves the gathered exceptions into FSW, C1 with them. Returns whether the instruction is to be completed: not if IE,
 * DE or ZE is unmasked. `late` are those that also keep it from completing: OE and UE when the destination is memory.
 */
export function accept(p: u32, late: u32, ea: u64): bool {
  const flags = load<u32>(p + FP_FLAGS)
  const fsw = load<u32>(p + FSW) & ~C1
  if (flags == 0) {
    store<u32>(p + FSW, fsw)
    return true
  }
  store<u32>(p + FP_FLAGS, 0)
  const unmasked = flags & ~load<u32>(p + FCW) & 0x3f
  if ((unmasked & BEFORE) != 0) {
    store<u32>(p + FSW, fsw | flags & BEFORE)
    pend(p, ea)
    return false
  }
  store<u32>(p + FSW, fsw | flags)
  if (unmasked == 0) return true
  pend(p, ea)
  return (unmasked & late) == 0
}

/** Ends an instruction whose result goes to the register at `dst`, which is in use, and which pops `pops` times. */
@inline
export function finish(p: u32, dst: u32, result: v128, pops: u32, ea: u64): void {
  if (!accept(p, 0, ea)) return
  v128.store(dst, result)
  if (pops != 0) pop(p)
}

/** Whether a push would overflow; if so the whole instruction is dealt with. */
@inline
export function pushFaults(p: u32, ea: u64): bool {
  if (isEmpty(p, 7)) return false
  if (stackFault(p, C1, ea)) {
    turn(p, 7)
    writeIndefinite(p, 0)
  }
  return true
}

/** Pushes a result. */
@inline
export function push(p: u32, result: v128): void {
  turn(p, 7)
  v128.store(registerAt(p, 0), result)
  setTag(p, 0, 1)
}

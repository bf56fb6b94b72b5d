/**
 * Xen PV: SYSCALL and SYSENTER. SYSCALL in guest kernel mode is a hypercall, everywhere else a call of the guest's
 * kernel. The requests that a context switch consists of are done here, the others by the host.
 */
import {
  ATTR_L, CR0, EXC, KERNEL_GS_BASE, MODE, MODE_LONG, PV_COUNTS, PV_FLAGS, PV_HOT_FPU_TASKSWITCH,
  PV_HOT_SET_SEGMENT_BASE, PV_HOT_STACK_SWITCH, PV_KERNEL_SP, PV_KERNEL_SS, PV_SYSCALL, PV_SYSCALL32, PV_SYSCALL32_CS, PV_SYSENTER, PV_SYSENTER_CS,
  PV_SYSENTER_MASKS, PV_WATCHED, R11, RAX, RBX, RCX, RDI, RECORD, RIP, RSI, RSP, R_OFFSET_LENGTH, SEG_BASE, SYSFLAGS,
  TF_AFTER,
} from './layout'
import { CR0_TS, FLAG_DF, FLAG_IF, GP, SEG_FS, SEG_GS, UD } from './bits'
import { isCanonical } from './access'
import { updateTraps } from './control'
import { readEflags } from './flags'
import { hostHypercall, hostPvNote } from './host'
import { inKernel, isPv32, trapCs, trapInfo } from './pv'
import { bounce, KERNEL_CS, KERNEL_SS, pvEvents, sysretSegments, USER_CS32 } from './pv-frame'
import { hypercallIret } from './pv-iret'
import { isNull, loadSegmentFar } from './segments'

const STACK_SWITCH: u32 = 3
const FPU_TASKSWITCH: u32 = 5
const IRET: u32 = 23
const SET_SEGMENT_BASE: u32 = 25
const EINVAL: i64 = 22

/** The host's kind of hypercall by SYSCALL. */
const SYSCALL: i32 = 2
const AGAIN: i32 = 2

const NO_ERROR: i64 = -1
/** User data of a 32-bit domain. */
const USER_SS32: u32 = 0xe033
const TI_MASKS: u32 = 4
const SYSCALL_MASKS: u32 = 1 << 4 // VGCF_syscall_disables_events

export function pvSyscall(p: u32, next: u64): i32 {
  const long = (load<u32>(p, MODE) & MODE_LONG) != 0
  store<u64>(p, next, RCX)
  store<u64>(p, <u64>readEflags(p), R11)
  if (long && inKernel(p)) pvHypercall(p, next)
  else callKernel(p, next, long)
  return 0
}

/** A system call of the guest's: to its registered callback, or #UD without one. */
function callKernel(p: u32, next: u64, long: bool): void {
  let to = load<u32>(p, PV_SYSCALL32_CS)
  let address = long ? load<u64>(p, PV_SYSCALL) : load<u64>(p, PV_SYSCALL32)
  let masks = (load<u32>(p, PV_FLAGS) & SYSCALL_MASKS) != 0
  let rip = next
  const flags = readEflags(p)
  const called = isPv32(p) ? !isNull(to) : address != 0
  if (!called) {
    const trap = trapInfo(p, UD)
    address = load<u64>(trap, 8)
    to = trapCs(trap)
    masks = (load<u8>(trap, 1) & TI_MASKS) != 0
    rip -= 2
  }
  bounce(p, to, address, masks, NO_ERROR, rip, long ? KERNEL_CS : USER_CS32, flags, load<u64>(p, RSP), KERNEL_SS)
  if (called) {
    store<u32>(p, load<u32>(p, SYSFLAGS) & ~FLAG_DF, SYSFLAGS)
    store<u64>(p, <u64>readEflags(p), R11)
  }
  pvEvents(p)
  store<u32>(p, 1, TF_AFTER)
}

/** SYSENTER says nothing of where it came from. */
export function pvSysenter(p: u32): i32 {
  let address = load<u64>(p, PV_SYSENTER)
  let masks = load<u32>(p, PV_SYSENTER_MASKS) != 0
  let error = NO_ERROR
  let to = load<u32>(p, PV_SYSENTER_CS)
  if (isPv32(p) ? isNull(to) : address == 0) {
    const trap = trapInfo(p, GP)
    address = load<u64>(trap, 8)
    to = trapCs(trap)
    masks = (load<u8>(trap, 1) & TI_MASKS) != 0
    error = 0
  }
  bounce(p, to, address, masks, error, 0, 3, readEflags(p) | FLAG_IF, 0, isPv32(p) ? USER_SS32 : KERNEL_SS)
  pvEvents(p)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

function pvHypercall(p: u32, next: u64): void {
  sysretSegments(p, ATTR_L)
  hypercall(p, next, load<u64>(p, RDI), load<u64>(p, RSI))
}

/** INT 0x82 of a 32-bit guest kernel, whose next instruction is at `next`: a hypercall. */
export function pvHypercall32(p: u32, next: u64): i32 {
  if (hypercall(p, next, load<u32>(p, RBX), load<u32>(p, RCX))) store<u32>(p, 1, TF_AFTER)
  return 0
}

/** With its first arguments. False: the guest does not go on behind it. */
function hypercall(p: u32, next: u64, first: u64, second: u64): bool {
  store<u64>(p, next, RIP)
  const narrow = isPv32(p)
  const number = load<u32>(p, RAX)
  if (number == IRET) {
    if (load<u32>(p, PV_WATCHED) != 0) hostPvNote(p, number, 0)
    hypercallIret(p)
    return false
  }
  if (number == STACK_SWITCH) {
    pvStackSwitch(p, <u32>first, second)
    finish(p, number, PV_HOT_STACK_SWITCH, 0)
  } else if (number == FPU_TASKSWITCH) {
    pvTaskSwitch(p, <u32>first)
    finish(p, number, PV_HOT_FPU_TASKSWITCH, 0)
  } else if (number == SET_SEGMENT_BASE && !narrow) {
    finish(p, number, PV_HOT_SET_SEGMENT_BASE, setSegmentBase(p, <u32>first, second))
  } else {
    // A long operation that stops in the middle is called again.
    if (hostHypercall(p, SYSCALL) == AGAIN)
      store<u64>(p, next - <u64>(load<u16>(load<u32>(p, RECORD), R_OFFSET_LENGTH) & 15), RIP)
    store<i32>(p, -1, EXC)
    if (!narrow) store<u64>(p, load<u64>(p, RIP), RCX)
  }
  pvEvents(p)
  return true
}

function finish(p: u32, number: u32, hot: u32, result: i64): void {
  store<u64>(p, <u64>result, RAX)
  store<u32>(p + (hot << 2), load<u32>(p + (hot << 2), PV_COUNTS) + 1, PV_COUNTS)
  if (load<u32>(p, PV_WATCHED) != 0) hostPvNote(p, number, <i32>result)
}

/** The guest kernel's stack for entries from user mode. */
export function pvStackSwitch(p: u32, ss: u32, sp: u64): void {
  const level: u32 = isPv32(p) ? max(ss & 3, 1) : 3
  store<u32>(p, ((ss & ~3) | level) & 0xffff, PV_KERNEL_SS)
  store<u64>(p, sp, PV_KERNEL_SP)
}

/** CR0.TS as the guest has it. */
export function pvTaskSwitch(p: u32, set: u32): void {
  const cr0 = load<u64>(p, CR0) & ~CR0_TS
  store<u64>(p, set != 0 ? cr0 | CR0_TS : cr0, CR0)
  updateTraps(p)
}

/** `which`: 0 FS, 1 user GS, 2 kernel GS, 3 user GS by selector. In guest kernel mode: the user's GS base is the other one. */
export function setSegmentBase(p: u32, which: u32, base: u64): i64 {
  if (which == 3) {
    loadUserGs(p, <u32>base & 0xffff)
    return 0
  }
  if (which > 3 || !isCanonical(base)) return -EINVAL
  if (which == 0) store<u64>(p, base, SEG_BASE + SEG_FS * 8)
  else if (which == 1) store<u64>(p, base, KERNEL_GS_BASE)
  else store<u64>(p, base, SEG_BASE + SEG_GS * 8)
  return 0
}

/** A selector that cannot be loaded becomes null. */
function loadUserGs(p: u32, selector: u32): void {
  const kernel = load<u64>(p, SEG_BASE + SEG_GS * 8)
  if (loadSegmentFar(p, SEG_GS, selector > 3 ? selector | 3 : selector) != 0) {
    store<i32>(p, -1, EXC)
    loadSegmentFar(p, SEG_GS, 0)
  }
  store<u64>(p, load<u64>(p, SEG_BASE + SEG_GS * 8), KERNEL_GS_BASE)
  store<u64>(p, kernel, SEG_BASE + SEG_GS * 8)
}

/**
 * Xen PV: frames on the guest kernel's stack (create_bounce_frame, test_all_events), and what brings them: exceptions,
 * software interrupts, NMIs, event upcalls.
 *
 * From low to high addresses: RCX, R11, the error code if there is one, RIP, CS with the saved upcall mask, RFLAGS, RSP,
 * SS. The handler begins as SYSRET leaves it.
 */
import {
  ATTR_DB, ATTR_DPL, ATTR_G, ATTR_L, ATTR_P, ATTR_S, CR0, CR2, DR6, EXC, EXC_ERROR, EXC_HAS_ERROR, M_RAM, NMI_BLOCKED,
  NMI_PENDING, PAGE_RAM, PV_CRASH_BAD_STACK, PV_CRASH_FRAME_FAULT, PV_CRASH_NO_HANDLER, PV_EVENT, PV_EVENT_CS,
  PV_ERROR, PV_FAILSAFE, PV_FLAGS, PV_IOPL, PV_KERNEL_SP, PV_VECTOR, R11, RCX, RECORD, RIP, RSP, R_OFFSET_LENGTH, SEG_ATTR, SEG_SELECTOR, SHADOW, SYSFLAGS, TF_AFTER,
} from './layout'
import {
  CR0_TS, DB, FLAG_AC, FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, GP, NMI, PF, SEG_CS, SEG_SS, UD,
} from './bits'
import { isCanonical } from './access'
import { raise } from './faults'
import { readEflags } from './flags'
import { codeMarks, pageKind } from './physical'
import {
  crash, imageFor, inKernel, isPv32, setGuestCr2, toggleMode, trapCs, trapInfo, vcpuInfo, XEN_END, XEN_START,
} from './pv'
import { forcedEmulation } from './pv-forced'
import { bounce32, failsafe32 } from './pv-frame32'
import { faulted, selectorOf, setSegmentParts, updateMode } from './segments'
import { ALL, storeStack } from './stack'
import { currentBank, setBank } from './tlb'
import { translateWrite } from './translate'
import { updateTraps } from './control'
import { WALK_FAULT } from './walk'

export const KERNEL_CS: u32 = 0xe033
export const KERNEL_SS: u32 = 0xe02b
export const USER_CS32: u32 = 0xe023
const CODE: u32 = 0xb | ATTR_S | ATTR_P | ATTR_G | ATTR_DPL
const DATA: u32 = 0x3 | ATTR_S | ATTR_P | ATTR_G | ATTR_DB | ATTR_DPL

const NM: i32 = 7
const INT3: i32 = 3
const INTO: i32 = 4
const INT80: i32 = 0x80
const NO_ERROR: i64 = -1
const DR6_FIXED: u64 = 0xffff0ff0
const DR6_BS: u64 = 1 << 14

/** VGCF_failsafe_disables_events. */
const FAILSAFE_MASKS: u32 = 1 << 3
/** trap_info.flags: mask events on entry. */
const TI_MASKS: u32 = 4

// struct vcpu_info
const PENDING: u32 = 0
const MASK: u32 = 1

/** The segments that SYSRET leaves; `size` is ATTR_L, or ATTR_DB for compatibility mode. */
export function sysretSegments(p: u32, size: u32): void {
  const cs = size == ATTR_L ? KERNEL_CS : USER_CS32
  if (
    load<u32>(p, SEG_SELECTOR + SEG_CS * 4) == cs && load<u32>(p, SEG_ATTR + SEG_CS * 4) == (CODE | size) &&
    load<u32>(p, SEG_SELECTOR + SEG_SS * 4) == KERNEL_SS && load<u32>(p, SEG_ATTR + SEG_SS * 4) == DATA
  ) return
  setSegmentParts(p, SEG_CS, cs, 0, 0xffffffff, CODE | size)
  setSegmentParts(p, SEG_SS, KERNEL_SS, 0, 0xffffffff, DATA)
  updateMode(p)
}

/** Host address at which `words` words that end below `sp` may be stored at once, 0: one after the other. */
function plainStack(p: u32, sp: u64, words: u32): u32 {
  const low = sp - (words << 3)
  if (((low ^ (sp - 1)) & ~(<u64>0xfff)) != 0) return 0
  if (low - XEN_START < XEN_END - XEN_START) return 0
  const found = translateWrite(p, low, currentBank(p))
  if (found == WALK_FAULT) {
    store<i32>(p, -1, EXC)
    return 0
  }
  if (pageKind(found >>> 12) != PAGE_RAM || codeMarks(<u32>(found >>> 12)) != 0) return 0
  return M_RAM + <u32>(found | (low & 0xfff))
}

// @ts-ignore: decorator
@inline
function put(p: u32, at: u32, low: u64, word: u32, value: u64): i32 {
  if (at != 0) {
    store<u64>(at + (word << 3), value)
    return 0
  }
  return storeStack(p, ALL, 0, low + (word << 3), 8, value)
}

/**
 * Enter the guest kernel at `address` with a frame that holds `rip`, `cs`, `flags`, `rsp` and `ss`; `error` is a code
 * or NO_ERROR. Without address, or without a stack, the domain is crashed. `to`: the handler's CS in 32-bit domains.
 */
export function bounce(
  p: u32, to: u32, address: u64, masks: bool, error: i64, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32,
): void {
  if (isPv32(p)) return bounce32(p, to, address, masks, error, rip, cs, flags, rsp, ss)
  let sp = rsp
  if (inKernel(p)) cs &= 0xfffc
  else {
    toggleMode(p)
    sp = load<u64>(p, PV_KERNEL_SP)
  }
  sp &= ~(<u64>15)
  if (sp > XEN_START && sp < XEN_END + 64) return crash(p, PV_CRASH_BAD_STACK)

  const info = vcpuInfo(p)
  const mask = <u32>load<u8>(info, MASK)
  const words: u32 = error == NO_ERROR ? 7 : 8
  const low = sp - (words << 3)
  const at = plainStack(p, sp, words)
  const top = words - 5
  if (
    put(p, at, low, top + 4, ss) ||
    put(p, at, low, top + 3, rsp) ||
    put(p, at, low, top + 2, imageFor(p, flags, mask)) ||
    put(p, at, low, top + 1, <u64>(cs & 0xffff) | (<u64>mask << 32)) ||
    put(p, at, low, top, rip) ||
    (error != NO_ERROR && put(p, at, low, 2, <u64>error & 0xffffffff) != 0) ||
    put(p, at, low, 1, load<u64>(p, R11)) ||
    put(p, at, low, 0, load<u64>(p, RCX))
  ) {
    store<i32>(p, -1, EXC)
    return crash(p, PV_CRASH_FRAME_FAULT)
  }
  if (masks) store<u8>(info, 1, MASK)
  if (address == 0) return crash(p, PV_CRASH_NO_HANDLER)

  begin(p, address, low)
}

/** Go on in the guest's kernel at `address` with a stack that begins at `low`, as SYSRET does. */
function begin(p: u32, address: u64, low: u64): void {
  const old = load<u32>(p, SYSFLAGS)
  const next = (old & ~(FLAG_AC | FLAG_VM | FLAG_RF | FLAG_NT | FLAG_TF | FLAG_IOPL)) | FLAG_IF
  store<u32>(p, next, SYSFLAGS)
  if ((old ^ next) & FLAG_AC) setBank(p)
  store<u64>(p, low, RSP)
  store<u64>(p, address, RIP)
  store<u64>(p, address, RCX)
  store<u64>(p, <u64>readEflags(p), R11)
  sysretSegments(p, ATTR_L)
  store<u32>(p, 0, SHADOW)
}

/**
 * The failsafe callback, whose frame has DS, ES, FS and GS too, between R11 and RIP: `selectors`, from the low bits up, as
 * they were asked for.
 */
export function failsafe(p: u32, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32, selectors: u64): void {
  if (isPv32(p)) {
    failsafe32(p, rip, cs, flags, rsp, ss, selectors)
    return pvEvents(p)
  }
  let sp = rsp
  if (inKernel(p)) cs &= 0xfffc
  else {
    toggleMode(p)
    sp = load<u64>(p, PV_KERNEL_SP)
  }
  sp &= ~(<u64>15)
  const info = vcpuInfo(p)
  const mask = <u64>load<u8>(info, MASK)
  const low = sp - 88
  if (
    guestWord(p, low + 80, ss) ||
    guestWord(p, low + 72, rsp) ||
    guestWord(p, low + 64, imageFor(p, flags, <u32>mask)) ||
    guestWord(p, low + 56, <u64>(cs & 0xffff) | (mask << 32)) ||
    guestWord(p, low + 48, rip) ||
    guestWord(p, low + 40, selectors >>> 48) ||
    guestWord(p, low + 32, (selectors >>> 32) & 0xffff) ||
    guestWord(p, low + 24, (selectors >>> 16) & 0xffff) ||
    guestWord(p, low + 16, selectors & 0xffff) ||
    guestWord(p, low + 8, load<u64>(p, R11)) ||
    guestWord(p, low, load<u64>(p, RCX))
  ) {
    store<i32>(p, -1, EXC)
    return crash(p, PV_CRASH_FRAME_FAULT)
  }
  if (load<u32>(p, PV_FLAGS) & FAILSAFE_MASKS) store<u8>(info, 1, MASK)
  begin(p, load<u64>(p, PV_FAILSAFE), low)
  pvEvents(p)
}

function guestWord(p: u32, at: u64, value: u64): i32 {
  if (!isCanonical(at) || at - XEN_START < XEN_END - XEN_START) return 1
  return storeStack(p, ALL, 0, at, 8, value)
}

/** A frame for what the vCPU executes: RIP and `image` or-ed to its flags, entering at `address`. */
function bounceHere(p: u32, to: u32, address: u64, masks: bool, error: i64, image: u32): void {
  bounce(
    p, to, address, masks, error, load<u64>(p, RIP), selectorOf(p, SEG_CS), readEflags(p) | image, load<u64>(p, RSP),
    selectorOf(p, SEG_SS),
  )
}

/** The handler that the trap table has for `vector`. */
export function bounceTrap(p: u32, vector: i32, error: i64, image: u32): void {
  store<i32>(p, vector, PV_VECTOR)
  store<i32>(p, <i32>error, PV_ERROR)
  const trap = trapInfo(p, vector)
  bounceHere(p, trapCs(trap), load<u64>(trap, 8), (load<u8>(trap, 1) & TI_MASKS) != 0, error, image)
}

/** Whether an NMI or the event upcall is due; `bounceDue` gives it its frame. */
// @ts-ignore: decorator
@inline
export function eventDue(p: u32): bool {
  const info = vcpuInfo(p)
  return (load<u8>(info, PENDING) != 0 && load<u8>(info, MASK) == 0) ||
    (load<u32>(p, NMI_PENDING) != 0 && load<u32>(p, NMI_BLOCKED) == 0)
}

/** On every return to the guest: the NMI, then the upcall, each with a frame of its own. */
export function pvEvents(p: u32): void {
  if (eventDue(p))
    returnTo(p, load<u64>(p, RIP), selectorOf(p, SEG_CS), readEflags(p), load<u64>(p, RSP), selectorOf(p, SEG_SS))
}

/** The same for a guest that is about to be entered with these registers; false: nothing is due. */
export function returnTo(p: u32, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32): bool {
  let done = false
  if (load<u32>(p, NMI_PENDING) != 0 && load<u32>(p, NMI_BLOCKED) == 0) {
    store<u32>(p, 0, NMI_PENDING)
    const trap = trapInfo(p, NMI)
    const address = load<u64>(trap, 8)
    if (address != 0) {
      store<u32>(p, 1, NMI_BLOCKED)
      bounce(p, trapCs(trap), address, (load<u8>(trap, 1) & TI_MASKS) != 0, NO_ERROR, rip, cs, flags, rsp, ss)
      done = true
    }
  }
  const info = vcpuInfo(p)
  if (load<u8>(info, PENDING) == 0 || load<u8>(info, MASK) != 0) return done
  const to = load<u32>(p, PV_EVENT_CS)
  if (done) bounceHere(p, to, load<u64>(p, PV_EVENT), true, NO_ERROR, 0)
  else bounce(p, to, load<u64>(p, PV_EVENT), true, NO_ERROR, rip, cs, flags, rsp, ss)
  return true
}

/** Faults' images have RF set; traps' (#DB as a trap, #BP, #OF) do not. */
function imageOf(p: u32, vector: i32): u32 {
  if (vector == DB) return load<i32>(p, EXC_ERROR) == 1 ? 0 : FLAG_RF
  return vector == INT3 || vector == INTO ? 0 : FLAG_RF
}

/** Deliver the exception in EXC at RIP. */
export function pvDeliver(p: u32): void {
  if (load<i32>(p, EXC) == UD) {
    store<i32>(p, -1, EXC)
    if (forcedEmulation(p)) {
      if (!faulted(p)) return pvEvents(p)
    } else store<i32>(p, UD, EXC)
  }
  pvFault(p, load<u64>(p, RIP), selectorOf(p, SEG_CS), readEflags(p), load<u64>(p, RSP), selectorOf(p, SEG_SS))
}

/** The exception in EXC for a guest with these registers. */
export function pvFault(p: u32, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32): void {
  const vector = load<i32>(p, EXC)
  let error: i64 = load<i32>(p, EXC_HAS_ERROR) != 0 ? <i64>load<i32>(p, EXC_ERROR) : NO_ERROR
  const image = imageOf(p, vector)
  store<i32>(p, vector, PV_VECTOR)
  store<i32>(p, <i32>error, PV_ERROR)
  store<i32>(p, -1, EXC)
  if (vector == PF) {
    setGuestCr2(p, load<u64>(p, CR2))
    error = (error & ~4) | (inKernel(p) ? 0 : 4)
  }
  if (vector == NM) {
    store<u64>(p, load<u64>(p, CR0) & ~CR0_TS, CR0)
    updateTraps(p)
  }
  const trap = trapInfo(p, vector)
  const masks = (load<u8>(trap, 1) & TI_MASKS) != 0
  bounce(p, trapCs(trap), load<u64>(trap, 8), masks, error, rip, cs, flags | image, rsp, ss)
  pvEvents(p)
}

/** INT n, INT3, INTO, whose next instruction is at `next`. */
export function pvSoftInterrupt(p: u32, vector: i32, next: u64): i32 {
  const trap = trapInfo(p, vector)
  const direct = vector == INT3 || vector == INTO || (vector == INT80 && load<u64>(trap, 8) != 0)
  const level = <u32>load<u8>(trap, 1) & 3
  if (!direct && level < (inKernel(p) ? 1 : 3)) {
    raise(p, GP, (vector << 3) | 2)
    return 1
  }
  // All others are #GP first, and Xen takes the instruction for one of two bytes.
  const length = <u64>(load<u16>(load<u32>(p, RECORD), R_OFFSET_LENGTH) & 15)
  store<u64>(p, direct ? next : next - length + 2, RIP)
  bounceTrap(p, vector, NO_ERROR, direct ? 0 : FLAG_RF)
  pvEvents(p)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** INT1: a trap whose next instruction is at `next`. */
export function pvInt1(p: u32, next: u64): i32 {
  store<u64>(p, next, RIP)
  bounceTrap(p, DB, NO_ERROR, 0)
  pvEvents(p)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** The single-step trap of an emulated instruction. */
export function stepEmulated(p: u32): void {
  if ((load<u32>(p, SYSFLAGS) & FLAG_TF) == 0) return
  store<u64>(p, load<u64>(p, DR6) | DR6_FIXED | DR6_BS, DR6)
  bounceTrap(p, DB, NO_ERROR, 0)
}

/**
 * Xen PV: hypercall 23, by which guest kernels return. What the frame asks for is loaded last, as the hypervisor's own
 * IRETQ does it: if that faults, the guest takes the exception where it would have gone.
 */
import {
  ATTR_DB, ATTR_L, CPL, EXC, NMI_BLOCKED, PV_COUNTS, PV_CRASH_IRET_FRAME, PV_CRASH_IRET_RING, PV_CRASH_NO_USER_TABLE,
  PV_IOPL, PV_KERNEL_SP, PV_KERNEL_SS, PV_USER_ROOT, R11, RAX, RCX, RIP, RSP, SEG_SELECTOR, TF_AFTER,
} from './layout'
import {
  FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, GP, SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS,
} from './bits'
import { isCanonical, slowLoad, slowStore } from './access'
import { raiseStep } from './deliver'
import { writeEflags } from './flags'
import { physRead } from './physical'
import {
  crash, hasArchitecturalIopl, isPv32, toggleMode, trapCs, trapInfo, vcpuInfo, XEN32_START, XEN_END, XEN_START,
} from './pv'
import { pvFault, returnTo, sysretSegments, USER_CS32 } from './pv-frame'
import {
  attrOf, checkStack, dropInnerSegments, fault, faulted, isNull, limitOf, markAccessed, readDescriptor, setCpl,
  setSegment, updateMode,
} from './segments'
import { checkReturnCode } from './returns'
import { currentBank } from './tlb'
import { translateRead } from './translate'
import { WALK_FAULT } from './walk'

const IN_SYSCALL: u64 = 0x100 // VGCF_in_syscall
const INFO_MASK: u32 = 1
const TI_MASKS: u32 = 4
/** Of a frame to virtual-8086 mode: the error code's place, EIP to SS, and ES, DS, FS and GS. */
const VM86_WORDS: u32 = 10
/** All bits of EFLAGS that a return can set. */
const RETURNED: u32 = 0x00257fd5

// The frame.
const FRAME_RAX: u32 = 0
const FRAME_R11: u32 = 1
const FRAME_RCX: u32 = 2
const FRAME_FLAGS: u32 = 3
const FRAME_RIP: u32 = 4
const FRAME_CS: u32 = 5
const FRAME_RFLAGS: u32 = 6
const FRAME_RSP: u32 = 7
const FRAME_SS: u32 = 8
const FRAME_BYTES: u64 = 72

/** A word of the frame at `sp`. */
function word(p: u32, sp: u64, index: u32): u64 {
  const linear = sp + (index << 3)
  const frame = translateRead(p, linear, currentBank(p))
  if (frame == WALK_FAULT) return 0
  const offset = <u32>linear & 0xfff
  if (offset <= 0xff8) return physRead(p, frame | offset, 8)
  const low = 0x1000 - offset
  const second = translateRead(p, linear + low, currentBank(p))
  if (second == WALK_FAULT) return 0
  return physRead(p, frame | offset, low) | (physRead(p, second, 8 - low) << (low << 3))
}

/** Where guests may have anything: outside the hypervisor's addresses. */
function accessible(sp: u64): bool {
  const end = sp + FRAME_BYTES - 1
  if (!isCanonical(sp) || !isCanonical(end)) return false
  return !(end >= XEN_START && sp < XEN_END) && end >= sp
}

/** Returns with the guest's next instruction, or its handler's, in RIP. */
export function hypercallIret(p: u32): void {
  if (isPv32(p)) return iret32(p)
  const at = load<u64>(p, RSP)
  if (!accessible(at)) return crash(p, PV_CRASH_IRET_FRAME)
  const rax = word(p, at, FRAME_RAX)
  const r11 = word(p, at, FRAME_R11)
  const rcx = word(p, at, FRAME_RCX)
  const how = word(p, at, FRAME_FLAGS)
  const rip = word(p, at, FRAME_RIP)
  const oldCs = <u32>word(p, at, FRAME_CS)
  const rflags = <u32>word(p, at, FRAME_RFLAGS)
  const rsp = word(p, at, FRAME_RSP)
  const ss = (<u32>word(p, at, FRAME_SS) | 3) & 0xffff
  if (faulted(p)) {
    store<i32>(p, -1, EXC)
    return crash(p, PV_CRASH_IRET_FRAME)
  }
  if ((oldCs & 3) == 3) {
    if (load<u64>(p, PV_USER_ROOT) == 0) return crash(p, PV_CRASH_NO_USER_TABLE)
    toggleMode(p)
  }
  store<u32>(p, load<u32>(p, PV_COUNTS) + 1, PV_COUNTS)
  if (hasArchitecturalIopl(p)) store<u32>(p, rflags & FLAG_IOPL, PV_IOPL)
  const cs = (oldCs | 3) & 0xffff
  const flags = (rflags & ~(FLAG_IOPL | FLAG_VM)) | FLAG_IF
  const syscall = (how & IN_SYSCALL) != 0
  if (!syscall) {
    store<u64>(p, r11, R11)
    store<u64>(p, rcx, RCX)
  }
  store<u64>(p, rax, RAX)
  store<u8>(vcpuInfo(p), (rflags & FLAG_IF) == 0 ? 1 : 0, INFO_MASK)
  store<u32>(p, 0, NMI_BLOCKED)
  // Flags that a frame takes from here are these.
  writeEflags(p, flags, RETURNED)
  if (returnTo(p, rip, cs, flags, rsp, ss)) {
    store<u32>(p, 1, TF_AFTER)
    return
  }
  if (syscall) {
    store<u64>(p, <u64>flags | 2, R11)
    store<u64>(p, rip, RCX)
    if (isCanonical(rip)) {
      sysretSegments(p, cs == USER_CS32 ? ATTR_DB : ATTR_L)
      store<u64>(p, cs == USER_CS32 ? rip & 0xffffffff : rip, RIP)
      store<u64>(p, rsp, RSP)
      store<u32>(p, 1, TF_AFTER)
      if (flags & FLAG_TF) raiseStep(p)
      return
    }
  }
  if (enterSegments(p, rip, cs, rsp, ss)) pvFault(p, rip, cs, flags, rsp, ss)
}

/** Of a 32-bit domain: EAX, EIP, CS, EFLAGS and, to an outer ring, ESP and SS at ESP (arch/x86/pv/iret.c, compat_iret). */
function iret32(p: u32): void {
  const sp = load<u64>(p, RSP) & 0xffffffff
  const eax = word32(p, sp, 0)
  const rip = word32(p, sp, 1)
  const cs = <u32>word32(p, sp, 2) & 0xffff
  const eflags = <u32>word32(p, sp, 3)
  if (faulted(p)) {
    store<i32>(p, -1, EXC)
    return crash(p, PV_CRASH_IRET_FRAME)
  }
  if (eflags & FLAG_VM) return refuse8086(p, sp, eax, eflags)
  let rsp = sp + 16
  let ss = load<u32>(p, SEG_SELECTOR + SEG_SS * 4)
  if ((cs & 3) == 0) return crash(p, PV_CRASH_IRET_RING)
  if ((cs & 3) != 1) {
    rsp = word32(p, sp, 4)
    ss = <u32>word32(p, sp, 5) & 0xffff
    if (faulted(p)) {
      store<i32>(p, -1, EXC)
      return crash(p, PV_CRASH_IRET_FRAME)
    }
  }
  go32(p, eax, rip, cs, eflags, rsp, ss)
}

/** Return there, with the upcall mask that EFLAGS.IF says. */
function go32(p: u32, eax: u64, rip: u64, cs: u32, eflags: u32, rsp: u64, ss: u32): void {
  store<u32>(p, load<u32>(p, PV_COUNTS) + 1, PV_COUNTS)
  if (hasArchitecturalIopl(p)) store<u32>(p, eflags & FLAG_IOPL, PV_IOPL)
  const flags = (eflags & ~FLAG_IOPL) | FLAG_IF
  store<u64>(p, eax, RAX)
  store<u8>(vcpuInfo(p), (eflags & FLAG_IF) == 0 ? 1 : 0, INFO_MASK)
  store<u32>(p, 0, NMI_BLOCKED)
  writeEflags(p, flags, RETURNED)
  if (returnTo(p, rip, cs, flags, rsp, ss)) store<u32>(p, 1, TF_AFTER)
  else if (enterSegments(p, rip, cs, rsp, ss)) pvFault(p, rip, cs, flags, rsp, ss)
}

/**
 * There is no virtual-8086 mode to return to: #GP on its first instruction, with the whole frame, of which the segments
 * are a part, on the kernel's stack.
 */
function refuse8086(p: u32, sp: u64, eax: u64, eflags: u32): void {
  const to = (load<u64>(p, PV_KERNEL_SP) - 4 * VM86_WORDS) & 0xffffffff
  // They may overlap.
  for (let i: u32 = 1; i < VM86_WORDS && to != sp; i++) {
    const index = to < sp ? i : VM86_WORDS - i
    put32(p, to, index, word32(p, sp, index))
  }
  put32(p, to, 0, 0)
  if (faulted(p)) {
    store<i32>(p, -1, EXC)
    return crash(p, PV_CRASH_IRET_FRAME)
  }
  const trap = trapInfo(p, GP)
  const cleared = FLAG_VM | FLAG_RF | FLAG_NT | FLAG_TF | ((load<u8>(trap, 1) & TI_MASKS) != 0 ? FLAG_IF : 0)
  go32(p, eax, load<u64>(trap, 8), trapCs(trap), eflags & ~cleared, to, load<u32>(p, PV_KERNEL_SS))
}

function put32(p: u32, sp: u64, index: u32, value: u64): void {
  const linear = (sp + (index << 2)) & 0xffffffff
  if (faulted(p)) return
  if (linear < XEN32_START) slowStore(p, linear, 4, value)
  else fault(p, GP, 0)
}

/** A word of a 32-bit domain's frame, which Xen reads without its segment. */
function word32(p: u32, sp: u64, index: u32): u64 {
  const linear = (sp + (index << 2)) & 0xffffffff
  return linear < XEN32_START ? slowLoad(p, linear, 4) : <u64>fault(p, GP, 0)
}

/** IRETQ from the hypervisor, but for RFLAGS: 0, or 1 with a fault raised and nothing changed. */
export function enterSegments(p: u32, rip: u64, cs: u32, rsp: u64, ss: u32): i32 {
  if (isNull(cs)) return fault(p, GP, 0)
  const code = readDescriptor(p, cs, GP, 0)
  if (faulted(p) || checkReturnCode(p, cs, attrOf(code))) return 1
  const to64 = (attrOf(code) & ATTR_L) != 0
  if (isNull(ss)) return fault(p, GP, 0)
  const stack = readDescriptor(p, ss, GP, 0)
  if (faulted(p) || checkStack(p, ss, attrOf(stack), cs & 3, GP, 0)) return 1
  const target = to64 ? rip : rip & 0xffffffff
  if (to64 ? !isCanonical(target) : target > <u64>limitOf(code)) return fault(p, GP, 0)
  if (markAccessed(p, cs, code) || markAccessed(p, ss, stack)) return 1
  const outer = (cs & 3) > load<u32>(p, CPL)
  setCpl(p, cs & 3)
  setSegment(p, SEG_CS, cs, code)
  setSegment(p, SEG_SS, ss, stack)
  if (outer) dropInnerSegments(p)
  updateMode(p)
  store<u64>(p, to64 ? rsp : rsp & 0xffffffff, RSP)
  store<u64>(p, target, RIP)
  // A null selector loses its RPL on the way to an outer level.
  zeroNull(p, SEG_ES)
  zeroNull(p, SEG_DS)
  zeroNull(p, SEG_FS)
  zeroNull(p, SEG_GS)
  return 0
}

// @ts-ignore: decorator
@inline
function zeroNull(p: u32, seg: u32): void {
  if (load<u32>(p + (seg << 2), SEG_SELECTOR) < 4) store<u32>(p + (seg << 2), 0, SEG_SELECTOR)
}

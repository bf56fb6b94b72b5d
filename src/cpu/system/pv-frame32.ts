/**
 * Xen PV, 32 bits: frames on the guest kernel's stack (x86_64/compat/entry.S, compat_create_bounce_frame). From low to
 * high addresses: the error code if there is one, EIP, CS with the saved upcall mask in bits 16 to 23, EFLAGS and, from
 * an outer ring, ESP and SS. The handler begins as IRET from the hypervisor leaves it.
 */
import {
  PV_CRASH_BAD_STACK, PV_CRASH_FRAME_FAULT, PV_CRASH_NO_HANDLER, PV_FAILSAFE, PV_FAILSAFE_CS, PV_FLAGS, PV_KERNEL_SP,
  PV_KERNEL_SS, EXC, RIP, RSP, SHADOW, SYSFLAGS,
} from './layout'
import {
  FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM, GP, SEG_CS, SEG_SS,
} from './bits'
import { crash, imageFor, vcpuInfo } from './pv'
import { checkReturnCode } from './returns'
import {
  attrOf, baseOf, checkStack, faulted, isNull, limitOf, markAccessed, readDescriptor, setCpl, setSegment,
  updateMode,
} from './segments'
import { storeStack } from './stack'

const WIDE: u64 = 0xffffffff
const OUTER: u32 = 2
const INFO_MASK: u32 = 1
const FAILSAFE_MASKS: u32 = 1 << 3
/** Error codes are 0 or more. */
const NONE: i64 = 0

function abandon(p: u32, reason: u32): void {
  store<i32>(p, -1, EXC)
  crash(p, reason)
}

/** As `bounce`, to the handler at `to`:`address`. */
export function bounce32(
  p: u32, to: u32, address: u64, masks: bool, error: i64, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32,
): void {
  const outer = (cs & OUTER) != 0
  const stack = outer ? load<u32>(p, PV_KERNEL_SS) : ss
  let sp = (outer ? load<u64>(p, PV_KERNEL_SP) : rsp) & WIDE
  const info = vcpuInfo(p)
  const mask = <u32>load<u8>(info, INFO_MASK)
  // The hypervisor pushes.
  setCpl(p, 1)
  const segment = isNull(stack) ? 0 : readDescriptor(p, stack, GP, 0)
  if (faulted(p) || segment == 0) return abandon(p, PV_CRASH_BAD_STACK)
  const base = baseOf(segment)
  if (outer) {
    sp -= 8
    if (push(p, base, sp, <u32>rsp) || push(p, base, sp + 4, ss & 0xffff)) return abandon(p, PV_CRASH_FRAME_FAULT)
  }
  sp -= 12
  if (
    push(p, base, sp + 4, (cs & 0xffff) | (mask << 16)) ||
    push(p, base, sp + 8, imageFor(p, flags, mask)) ||
    push(p, base, sp, <u32>rip)
  ) return abandon(p, PV_CRASH_FRAME_FAULT)
  if (error >= NONE) {
    sp -= 4
    if (push(p, base, sp, <u32>error)) return abandon(p, PV_CRASH_FRAME_FAULT)
  }
  if (masks) store<u8>(info, 1, INFO_MASK)
  enter(p, to, address, stack, segment, sp & WIDE)
}

// @ts-ignore: decorator
@inline
function push(p: u32, base: u64, sp: u64, value: u32): i32 {
  return storeStack(p, WIDE, base, sp, 4, value)
}

/** IRET to the handler. What it refuses would come back to this stack again and again. */
function enter(p: u32, to: u32, address: u64, stack: u32, segment: u64, sp: u64): void {
  if (isNull(to)) return crash(p, PV_CRASH_NO_HANDLER)
  const code = readDescriptor(p, to, GP, 0)
  if (
    faulted(p) || checkReturnCode(p, to, attrOf(code)) || checkStack(p, stack, attrOf(segment), to & 3, GP, 0) ||
    (address & WIDE) > <u64>limitOf(code) || markAccessed(p, to, code) || markAccessed(p, stack, segment)
  ) return abandon(p, PV_CRASH_NO_HANDLER)
  const flags = load<u32>(p, SYSFLAGS) & ~(FLAG_VM | FLAG_RF | FLAG_NT | FLAG_TF | FLAG_IOPL)
  store<u32>(p, flags | FLAG_IF, SYSFLAGS)
  setCpl(p, to & 3)
  setSegment(p, SEG_CS, to, code)
  setSegment(p, SEG_SS, stack, segment)
  updateMode(p)
  store<u64>(p, sp, RSP)
  store<u64>(p, address & WIDE, RIP)
  store<u32>(p, 0, SHADOW)
}

/** The failsafe callback, whose frame has DS, ES, FS and GS at its low end (arch/x86/domain.c, load_segments). */
export function failsafe32(p: u32, rip: u64, cs: u32, flags: u32, rsp: u64, ss: u32, selectors: u64): void {
  const outer = (cs & 3) != 1
  let sp = (outer ? load<u64>(p, PV_KERNEL_SP) : rsp) & WIDE
  const info = vcpuInfo(p)
  const mask = <u32>load<u8>(info, INFO_MASK)
  setCpl(p, 1)
  if (outer) {
    sp -= 8
    if (push(p, 0, sp + 4, ss) || push(p, 0, sp, <u32>rsp)) return abandon(p, PV_CRASH_FRAME_FAULT)
  }
  sp -= 28
  if (
    push(p, 0, sp + 24, imageFor(p, flags, mask)) ||
    push(p, 0, sp + 20, (cs & 0xffff) | (mask << 16)) ||
    push(p, 0, sp + 16, <u32>rip) ||
    push(p, 0, sp + 12, <u32>(selectors >>> 48)) ||
    push(p, 0, sp + 8, <u32>(selectors >>> 32) & 0xffff) ||
    push(p, 0, sp + 4, <u32>(selectors >>> 16) & 0xffff) ||
    push(p, 0, sp, <u32>selectors & 0xffff)
  ) return abandon(p, PV_CRASH_FRAME_FAULT)
  if (load<u32>(p, PV_FLAGS) & FAILSAFE_MASKS) store<u8>(info, 1, INFO_MASK)
  const stack = load<u32>(p, PV_KERNEL_SS)
  const segment = isNull(stack) ? 0 : readDescriptor(p, stack, GP, 0)
  if (faulted(p) || segment == 0) return abandon(p, PV_CRASH_BAD_STACK)
  enter(p, load<u32>(p, PV_FAILSAFE_CS), load<u64>(p, PV_FAILSAFE), stack, segment, sp & WIDE)
}

/**
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM Vol. 2; AMD64 APM Vol. 3). They load flat segments without looking at
 * descriptors. Intel has SYSCALL and SYSRET in 64-bit mode only and SYSENTER in every protected mode; AMD has SYSCALL
 * in every protected mode and SYSENTER outside long mode only.
 */
import {
  AMD, ATTR_DB, ATTR_DPL, ATTR_G, ATTR_L, ATTR_P, ATTR_S, CPL, CSTAR, EFER, FMASK, KERNEL_GS_BASE, LSTAR, MODE, MODE_LONG, R11, RCX, RDX,
  RIP, RSP, SEG_BASE, SEG_SELECTOR, STAR, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, SYSFLAGS, TF_AFTER,
} from './layout'
import { EFER_SCE, FLAGS_16, FLAG_AC, FLAG_ID, FLAG_IF, FLAG_TF, FLAG_VM, GP, SEG_CS, SEG_GS, SEG_SS, UD } from './bits'
import { raiseNoError } from './faults'
import { isCanonical } from './access'
import { raiseStep } from './deliver'
import { readEflags, writeEflags } from './flags'
import { isPv } from './pv'
import { pvSyscall, pvSysenter } from './pv-call'
import { fault, isLongActive, isProtected, setCpl, setSegmentParts, updateMode } from './segments'

const CODE: u32 = 0xb | ATTR_S | ATTR_P | ATTR_G // execute, read, accessed
const DATA: u32 = 0x3 | ATTR_S | ATTR_P | ATTR_G | ATTR_DB // read, write, accessed
/** Flags that exist, without RF and VM. */
const FLAGS_ALL: u32 = FLAGS_16 | FLAG_AC | FLAG_ID

/** Flat CS and SS for level `cpl`; `size` is ATTR_L or ATTR_DB. */
function setFlat(p: u32, cs: u32, ss: u32, cpl: u32, size: u32): void {
  setSegmentParts(p, SEG_CS, cs, 0, 0xffffffff, CODE | size | (cpl << 5))
  setSegmentParts(p, SEG_SS, ss, 0, 0xffffffff, DATA | (cpl << 5))
  setCpl(p, cpl)
  updateMode(p)
}

// @ts-ignore: decorator
@inline
function isAmd(p: u32): bool {
  return load<u32>(p, AMD) != 0
}

function missing(p: u32): i32 {
  raiseNoError(p, UD)
  return 1
}

function notHere(p: u32): bool {
  if ((load<u64>(p, EFER) & EFER_SCE) == 0) return true
  return isAmd(p) ? !isProtected(p) : (load<u32>(p, MODE) & MODE_LONG) == 0
}

export function syscall(p: u32, next: u64): i32 {
  if (notHere(p)) return missing(p)
  if (isPv(p)) return pvSyscall(p, next)
  if (!isLongActive(p)) return syscallLegacy(p, next)
  const handler = load<u32>(p, MODE) & MODE_LONG ? LSTAR : CSTAR
  store<u64>(p, next, RCX)
  store<u64>(p, <u64>readEflags(p), R11)
  const base = <u32>(load<u64>(p, STAR) >>> 32)
  setFlat(p, base & 0xfffc, (base + 8) & 0xffff, 0, ATTR_L)
  writeEflags(p, 0, <u32>load<u64>(p, FMASK) & FLAGS_ALL)
  store<u64>(p, load<u64>(p + handler), RIP)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** AMD, outside long mode: STAR has the handler's address, and only IF is cleared. */
function syscallLegacy(p: u32, next: u64): i32 {
  const star = load<u64>(p, STAR)
  const base = <u32>(star >>> 32)
  store<u64>(p, next, RCX)
  setFlat(p, base & 0xfffc, (base + 8) & 0xffff, 0, ATTR_DB)
  writeEflags(p, 0, FLAG_IF | FLAG_VM)
  store<u64>(p, star & 0xffffffff, RIP)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/**
 * `size` 8: to 64-bit mode, 4: to compatibility mode (or, with AMD, 32-bit mode). AMD leaves the hidden part of SS as
 * it was, and a return address that is not canonical to the next fetch.
 */
export function sysret(p: u32, size: u32): i32 {
  if (notHere(p)) return missing(p)
  if (load<u32>(p, CPL) != 0) return fault(p, GP, 0)
  const amd = isAmd(p)
  const rip = load<u64>(p, RCX)
  if (size == 8 && !amd && !isCanonical(rip)) return fault(p, GP, 0)
  const base = <u32>(load<u64>(p, STAR) >>> 48)
  const cs = ((base + (size == 8 ? 16 : 0)) & 0xffff) | 3
  const ss = ((base + 8) & 0xffff) | 3
  const mode = size == 8 ? ATTR_L : ATTR_DB
  if (amd) {
    setSegmentParts(p, SEG_CS, cs, 0, 0xffffffff, CODE | mode | ATTR_DPL)
    store<u32>(p, ss, SEG_SELECTOR + SEG_SS * 4)
    setCpl(p, 3)
    updateMode(p)
  } else setFlat(p, cs, ss, 3, mode)
  if (isLongActive(p)) writeEflags(p, <u32>load<u64>(p, R11), FLAGS_ALL)
  else writeEflags(p, FLAG_IF, FLAG_IF)
  store<u32>(p, 1, TF_AFTER)
  if (load<u32>(p, SYSFLAGS) & FLAG_TF) raiseStep(p)
  store<u64>(p, size == 8 ? rip : rip & 0xffffffff, RIP)
  return 0
}

export function sysenter(p: u32): i32 {
  if (isAmd(p) && isLongActive(p)) return missing(p)
  if (isPv(p)) return pvSysenter(p)
  const cs = <u32>load<u64>(p, SYSENTER_CS) & 0xfffc
  if (!isProtected(p) || cs == 0) return fault(p, GP, 0)
  const long = isLongActive(p)
  const mask: u64 = long ? ~(<u64>0) : 0xffffffff
  store<u32>(p, load<u32>(p, SYSFLAGS) & ~(FLAG_IF | FLAG_VM), SYSFLAGS)
  setFlat(p, cs, (cs + 8) & 0xffff, 0, long ? ATTR_L : ATTR_DB)
  store<u64>(p, load<u64>(p, SYSENTER_ESP) & mask, RSP)
  store<u64>(p, load<u64>(p, SYSENTER_EIP) & mask, RIP)
  return 0
}

/** `size` 8 (REX.W): to 64-bit mode. */
export function sysexit(p: u32, size: u32): i32 {
  if (isAmd(p) && isLongActive(p)) return missing(p)
  const base = <u32>load<u64>(p, SYSENTER_CS) & 0xfffc
  if (!isProtected(p) || base == 0 || load<u32>(p, CPL) != 0) return fault(p, GP, 0)
  const rip = load<u64>(p, RDX)
  const rsp = load<u64>(p, RCX)
  const wide = size == 8
  if (wide && (!isCanonical(rip) || !isCanonical(rsp))) return fault(p, GP, 0)
  const cs = base + (wide ? 32 : 16)
  setFlat(p, (cs & 0xffff) | 3, ((cs + 8) & 0xffff) | 3, 3, wide ? ATTR_L : ATTR_DB)
  store<u64>(p, wide ? rsp : rsp & 0xffffffff, RSP)
  store<u64>(p, wide ? rip : rip & 0xffffffff, RIP)
  return 0
}

export function swapgs(p: u32): i32 {
  if (load<u32>(p, CPL) != 0) return fault(p, GP, 0)
  const base = load<u64>(p, SEG_BASE + SEG_GS * 8)
  store<u64>(p, load<u64>(p, KERNEL_GS_BASE), SEG_BASE + SEG_GS * 8)
  store<u64>(p, base, KERNEL_GS_BASE)
  return 0
}

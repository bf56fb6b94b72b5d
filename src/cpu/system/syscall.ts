/**
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM Vol. 2) as Intel's processors do them: SYSCALL and SYSRET in 64-bit
 * mode only, SYSENTER and SYSEXIT in every protected mode. They load flat segments without looking at descriptors.
 */
import {
  ATTR_DB, ATTR_G, ATTR_L, ATTR_P, ATTR_S, CPL, EFER, FMASK, KERNEL_GS_BASE, LSTAR, MODE, MODE_LONG, R11, RCX, RDX,
  RIP, RSP, SEG_BASE, STAR, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, SYSFLAGS, TF_AFTER,
} from './layout'
import { EFER_SCE, FLAGS_16, FLAG_AC, FLAG_ID, FLAG_IF, FLAG_TF, FLAG_VM, GP, SEG_CS, SEG_GS, SEG_SS, UD } from './bits'
import { raiseNoError } from './faults'
import { isCanonical } from './access'
import { raiseStep } from './deliver'
import { readEflags, writeEflags } from './flags'
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

function notHere(p: u32): bool {
  return (load<u64>(p, EFER) & EFER_SCE) == 0 || (load<u32>(p, MODE) & MODE_LONG) == 0
}

export function syscall(p: u32, next: u64): i32 {
  if (notHere(p)) {
    raiseNoError(p, UD)
    return 1
  }
  store<u64>(p, next, RCX)
  store<u64>(p, <u64>readEflags(p), R11)
  const base = <u32>(load<u64>(p, STAR) >>> 32)
  setFlat(p, base & 0xfffc, (base + 8) & 0xffff, 0, ATTR_L)
  writeEflags(p, 0, <u32>load<u64>(p, FMASK) & FLAGS_ALL)
  store<u64>(p, load<u64>(p, LSTAR), RIP)
  store<u32>(p, 1, TF_AFTER)
  return 0
}

/** `size` 8: to 64-bit mode, 4: to compatibility mode. */
export function sysret(p: u32, size: u32): i32 {
  if (notHere(p)) {
    raiseNoError(p, UD)
    return 1
  }
  if (load<u32>(p, CPL) != 0) return fault(p, GP, 0)
  const rip = load<u64>(p, RCX)
  if (size == 8 && !isCanonical(rip)) return fault(p, GP, 0)
  const base = <u32>(load<u64>(p, STAR) >>> 48)
  const cs = ((base + (size == 8 ? 16 : 0)) & 0xffff) | 3
  setFlat(p, cs, ((base + 8) & 0xffff) | 3, 3, size == 8 ? ATTR_L : ATTR_DB)
  writeEflags(p, <u32>load<u64>(p, R11), FLAGS_ALL)
  store<u32>(p, 1, TF_AFTER)
  if (load<u32>(p, SYSFLAGS) & FLAG_TF) raiseStep(p)
  store<u64>(p, size == 8 ? rip : rip & 0xffffffff, RIP)
  return 0
}

export function sysenter(p: u32): i32 {
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

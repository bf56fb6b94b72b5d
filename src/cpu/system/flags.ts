/**
 * EFLAGS. The arithmetic bits are what the last producer left (FLAGS_KIND, FLAGS_B, FLAGS_RES) until somebody asks;
 * the rest is in SYSFLAGS. RF is never set there: instruction breakpoints, its one use, do not exist here, so it is
 * seen only in the image that a fault pushes.
 */
import {
  CPL, FK_ADC1, FK_ADD, FK_DEC, FK_EXPLICIT, FK_INC, FK_LOGIC, FK_RES, FK_SBB1, FK_SUB, FLAGS_B, FLAGS_KIND, FLAGS_RES,
  IRQ_PENDING, LEAVE, LEAVE_EVENT, SHADOW, SYSFLAGS,
} from './layout'
import {
  FLAGS_16, FLAGS_ARITHMETIC, FLAG_AC, FLAG_AF, FLAG_CF, FLAG_ID, FLAG_IF, FLAG_IOPL, FLAG_OF, FLAG_PF, FLAG_RF,
  FLAG_SF, FLAG_TF, FLAG_VM, FLAG_ZF, GP, UD,
} from './bits'
import { raise, raiseNoError } from './faults'
import { ioplPermits, isPv } from './pv'
import { setBank } from './tlb'

// @ts-ignore: decorator
@inline
function zeroSignParity(res: u64): u32 {
  return (res == 0 ? FLAG_ZF : 0) | (<u32>(res >>> 63) << 7) | (popcnt<u32>(<u32>res & 0xff) & 1 ? 0 : FLAG_PF)
}

// @ts-ignore: decorator
@inline
function signExtend(value: u64, shift: u64): u64 {
  return <u64>(<i64>(value << shift) >> shift)
}

/** CF, AF and OF of a sum or difference: `a` and `b` are the operands, `overflow` has OF in the sign's place. */
// @ts-ignore: decorator
@inline
function carries(carry: bool, a: u64, b: u64, res: u64, overflow: u64, shift: u64): u32 {
  return <u32>carry | (<u32>(a ^ b ^ res) & FLAG_AF) | (<u32>((overflow << shift) >>> 63) << 11)
}

/** CF PF AF ZF SF OF in their EFLAGS places. */
export function getFlags(p: u32): u32 {
  const kind = load<u32>(p, FLAGS_KIND)
  const res = load<u64>(p, FLAGS_RES)
  if (kind >>> 2 == FK_EXPLICIT) return <u32>res & FLAGS_ARITHMETIC
  const b = load<u64>(p, FLAGS_B)
  const common = zeroSignParity(res)
  const shift: u64 = 64 - (8 << (kind & 3)) // from the operand's sign to bit 63
  switch (kind >>> 2) {
    case FK_ADD: {
      const a = signExtend(res - b, shift)
      return common | carries(res < b, a, b, res, (a ^ res) & (b ^ res), shift)
    }
    case FK_ADC1: {
      const a = signExtend(res - b - 1, shift)
      return common | carries(res <= b, a, b, res, (a ^ res) & (b ^ res), shift)
    }
    case FK_SUB: {
      const a = signExtend(res + b, shift)
      return common | carries(a < b, a, b, res, (a ^ b) & (a ^ res), shift)
    }
    case FK_SBB1: {
      const a = signExtend(res + b + 1, shift)
      return common | carries(a <= b, a, b, res, (a ^ b) & (a ^ res), shift)
    }
    case FK_INC: {
      const a = res - 1
      return common | carries(<u32>b != 0, a, 1, res, ~a & res, shift)
    }
    case FK_DEC: {
      const a = res + 1
      return common | carries(<u32>b != 0, a, 1, res, a & ~res, shift)
    }
    case FK_RES: return common | (<u32>b & (FLAG_CF | FLAG_AF | FLAG_OF))
  }
  return common // LOGIC
}

/** Make the arithmetic bits explicit: those of `bits`. */
export function setFlags(p: u32, bits: u32): void {
  store<u32>(p, FK_EXPLICIT << 2, FLAGS_KIND)
  store<u64>(p, bits & FLAGS_ARITHMETIC, FLAGS_RES)
}

/** EFLAGS; the upper half of RFLAGS is 0. */
export function readEflags(p: u32): u32 {
  return getFlags(p) | load<u32>(p, SYSFLAGS)
}

/** Replace the bits of EFLAGS in `mask` by those of `value`. */
export function writeEflags(p: u32, value: u32, mask: u32): void {
  if (mask & FLAGS_ARITHMETIC) setFlags(p, (getFlags(p) & ~mask) | (value & mask))
  const old = load<u32>(p, SYSFLAGS)
  const next = (old & ~mask) | (value & mask & ~FLAGS_ARITHMETIC) | 2
  store<u32>(p, next, SYSFLAGS)
  const changed = old ^ next
  if (changed & FLAG_AC) setBank(p)
  if ((next & FLAG_TF) != 0 || ((changed & next & FLAG_IF) != 0 && load<u32>(p, IRQ_PENDING) != 0)) needEvent(p)
}

/** Have the run loop look for events at the next boundary. */
export function needEvent(p: u32): void {
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_EVENT, LEAVE)
}

/** What POPF and IRET of an operand size may change at the present CPL and IOPL. */
export function changeableFlags(p: u32, size: u32): u32 {
  const cpl = load<u32>(p, CPL)
  let mask: u32 = size == 2 ? FLAGS_16 : FLAGS_16 | FLAG_AC | FLAG_ID
  if (cpl != 0) {
    mask &= ~FLAG_IOPL
    if (cpl > ioPrivilege(p)) mask &= ~FLAG_IF
  }
  return mask
}

// @ts-ignore: decorator
@inline
function ioPrivilege(p: u32): u32 {
  return (load<u32>(p, SYSFLAGS) & FLAG_IOPL) >>> 12
}

/** POPF, POPFD, POPFQ of `value`. Without virtual-8086 mode it cannot fault. */
export function popf(p: u32, value: u64, size: u32): i32 {
  writeEflags(p, <u32>value, changeableFlags(p, size))
  return 0
}

/** What PUSHF pushes. */
export function pushfImage(p: u32): u32 {
  return readEflags(p) & ~(FLAG_RF | FLAG_VM)
}

export function cli(p: u32): i32 {
  if (load<u32>(p, CPL) > ioPrivilege(p)) return refuse(p)
  store<u32>(p, load<u32>(p, SYSFLAGS) & ~FLAG_IF, SYSFLAGS)
  return 0
}

/** The next instruction is executed by itself: the run loop must know when the shadow has passed. */
export function sti(p: u32): i32 {
  if (load<u32>(p, CPL) > ioPrivilege(p)) return refuse(p)
  const old = load<u32>(p, SYSFLAGS)
  if ((old & FLAG_IF) == 0) {
    store<u32>(p, old | FLAG_IF, SYSFLAGS)
    store<u32>(p, 1, SHADOW)
    needEvent(p)
  }
  return 0
}

/** Xen PV: without effect where the virtual IOPL permits it. */
function refuse(p: u32): i32 {
  if (isPv(p) && ioplPermits(p)) return 0
  raise(p, GP, 0)
  return 1
}

function changeAc(p: u32, bits: u32): i32 {
  if (load<u32>(p, CPL) != 0) {
    raiseNoError(p, UD)
    return 1
  }
  store<u32>(p, (load<u32>(p, SYSFLAGS) & ~FLAG_AC) | bits, SYSFLAGS)
  setBank(p)
  return 0
}

export function clac(p: u32): i32 {
  return changeAc(p, 0)
}

export function stac(p: u32): i32 {
  return changeAc(p, FLAG_AC)
}

/**
 * Loads and stores that missed the TLB, cross a page, or meet MMIO, ROM or decoded code. They check everything before
 * they touch anything: a store that faults has written nothing. `size` is a byte count, plus STACK for an access
 * through SS or a push or pop, whose non-canonical address is #SS(0) instead of #GP(0) (SDM Vol. 1 3.3.7.1). A caller
 * sees a load's fault by EXC.
 */
import { EFER, MODE, MODE_LONG, PAGE_RAM, SCRATCH } from './layout'
import { AC, EFER_LMA, GP, SS } from './bits'
import { raise } from './faults'
import { isPvKernel } from './pv'
import { pvMayStore, pvStore } from './pv-store'
import { codeMarks, hostAddress, pageKind, physCopyIn, physCopyOut, physRead, physWrite } from './physical'
import { alignmentChecked, currentBank, implicitBank } from './tlb'
import { translateRead, translateWrite } from './translate'
import { WALK_FAULT } from './walk'

/** Flag in `size`: a stack access. */
export const STACK: i32 = 0x100
const SIZE: i32 = 0xff

/** probeWrite's answer after a fault. */
export const PROBE_FAULT: u32 = 0xffffffff

const WRAP_32: u64 = 0xffffffff
const WRAP_64: u64 = ~(<u64>0)

// @ts-ignore: decorator
@inline
export function isCanonical(linear: u64): bool {
  return <u64>(<i64>(linear << 16) >> 16) == linear
}

/** Whether [linear, linear + length) is no address in 64-bit mode: then #SS(0) or #GP(0) is raised. */
// @ts-ignore: decorator
@inline
function refuseNonCanonical(p: u32, linear: u64, length: u32, stack: bool): bool {
  if (isCanonical(linear) && isCanonical(linear + length - 1)) return false
  raise(p, stack ? SS : GP, 0)
  return true
}

/** Mask of linear addresses in the code that runs. */
// @ts-ignore: decorator
@inline
function wrap(p: u32): u64 {
  return load<u32>(p, MODE) & MODE_LONG ? WRAP_64 : WRAP_32
}

// @ts-ignore: decorator
@inline
function implicitWrap(p: u32): u64 {
  return load<u64>(p, EFER) & EFER_LMA ? WRAP_64 : WRAP_32
}

/** #AC(0) for operands of 2, 4 and 8 bytes (SDM Vol. 3A 6.15); on Intel's processors it comes before page faults. */
// @ts-ignore: decorator
@inline
function refuseUnaligned(p: u32, linear: u64, size: i32): bool {
  if (!alignmentChecked(p) || size > 8 || (<i32>linear & (size - 1)) == 0) return false
  raise(p, AC, 0)
  return true
}

function read(p: u32, linear: u64, size: i32, bank: u32, mask: u64, explicit: bool): u64 {
  if (explicit && refuseUnaligned(p, linear, size)) return 0
  const offset = linear & 0xfff
  const first = translateRead(p, linear, bank)
  if (first == WALK_FAULT) return 0
  if (offset + size <= 0x1000) return physRead(p, first | offset, size)
  const low = <i32>(0x1000 - offset)
  const second = translateRead(p, (linear + low) & mask, bank)
  if (second == WALK_FAULT) return 0
  return physRead(p, first | offset, low) | (physRead(p, second, size - low) << (low << 3))
}

function write(p: u32, linear: u64, size: i32, value: u64, bank: u32, mask: u64, explicit: bool): i32 {
  if (explicit && refuseUnaligned(p, linear, size)) return 1
  const offset = linear & 0xfff
  const first = translateWrite(p, linear, bank)
  if (first == WALK_FAULT) return isPvKernel(p) ? pvStore(p, linear, size, value) : 1
  if (offset + size <= 0x1000) {
    physWrite(p, first | offset, size, value)
    return 0
  }
  const low = <i32>(0x1000 - offset)
  const second = translateWrite(p, (linear + low) & mask, bank)
  if (second == WALK_FAULT) return 1
  physWrite(p, first | offset, low, value)
  physWrite(p, second, size - low, value >>> (low << 3))
  return 0
}

/** Load 1 to 8 bytes, zero-extended; 0 after a fault. */
export function slowLoad(p: u32, linear: u64, size: i32): u64 {
  const mask = wrap(p)
  const n = size & SIZE
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, n, (size & STACK) != 0)) return 0
  return read(p, linear, n, currentBank(p), mask, true)
}

/** Store the low 1 to 8 bytes of `value`: 0, or 1 after a fault. */
export function slowStore(p: u32, linear: u64, size: i32, value: u64): i32 {
  const mask = wrap(p)
  const n = size & SIZE
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, n, (size & STACK) != 0)) return 1
  return write(p, linear, n, value, currentBank(p), mask, true)
}

/** An implicit supervisor load of 1 to 8 bytes (descriptor tables, TSS), whatever CPL and AC are. */
export function sysLoad(p: u32, linear: u64, size: i32): u64 {
  const mask = implicitWrap(p)
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, size, false)) return 0
  return read(p, linear & mask, size, implicitBank(p), mask, false)
}

/** An implicit supervisor store: 0, or 1 after a fault. */
export function sysStore(p: u32, linear: u64, size: i32, value: u64): i32 {
  const mask = implicitWrap(p)
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, size, false)) return 1
  return write(p, linear & mask, size, value, implicitBank(p), mask, false)
}

/**
 * Make sure that a store of `size` (up to 64) bytes cannot fault. The host address if it may be done right there, 0 if
 * it must be done by slowStore or storeBytes (two pages, MMIO, ROM, decoded code), PROBE_FAULT after a fault.
 */
export function probeWrite(p: u32, linear: u64, size: i32): u32 {
  const mask = wrap(p)
  const n = size & SIZE
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, n, (size & STACK) != 0)) return PROBE_FAULT
  if (refuseUnaligned(p, linear, n)) return PROBE_FAULT
  const bank = currentBank(p)
  const offset = linear & 0xfff
  const first = translateWrite(p, linear, bank)
  // The store itself may be emulated.
  if (first == WALK_FAULT) return isPvKernel(p) && pvMayStore(p, linear, n) ? 0 : PROBE_FAULT
  if (offset + n > 0x1000)
    return translateWrite(p, (linear + 0x1000 - offset) & mask, bank) == WALK_FAULT ? PROBE_FAULT : 0
  if (pageKind(first >>> 12) != PAGE_RAM || codeMarks(<u32>(first >>> 12)) != 0) return 0
  return hostAddress(first | offset)
}

/** Load up to 4096 bytes to host address `target`: 0, or 1 after a fault, with nothing copied. */
export function loadBytes(p: u32, linear: u64, length: u32, stack: bool, target: u32): i32 {
  const mask = wrap(p)
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, length, stack)) return 1
  const bank = currentBank(p)
  const offset = linear & 0xfff
  const low = min(length, 0x1000 - <u32>offset)
  const first = translateRead(p, linear, bank)
  if (first == WALK_FAULT) return 1
  if (low != length) {
    const second = translateRead(p, (linear + low) & mask, bank)
    if (second == WALK_FAULT) return 1
    physCopyOut(p, target + low, second, length - low)
  }
  physCopyOut(p, target, first | offset, low)
  return 0
}

/** Store up to 4096 bytes from host address `source`: 0, or 1 after a fault, with nothing written. */
export function storeBytes(p: u32, linear: u64, length: u32, stack: bool, source: u32): i32 {
  const mask = wrap(p)
  if (mask == WRAP_64 && refuseNonCanonical(p, linear, length, stack)) return 1
  const bank = currentBank(p)
  const offset = linear & 0xfff
  const low = min(length, 0x1000 - <u32>offset)
  const first = translateWrite(p, linear, bank)
  if (first == WALK_FAULT) return 1
  if (low != length) {
    const second = translateWrite(p, (linear + low) & mask, bank)
    if (second == WALK_FAULT) return 1
    physCopyIn(p, second, source + low, length - low)
  }
  physCopyIn(p, first | offset, source, low)
  return 0
}

/** Load 16 bytes to SCRATCH: 0, or 1 after a fault. */
export function slowLoad16(p: u32, linear: u64, size: i32): i32 {
  return loadBytes(p, linear, 16, (size & STACK) != 0, p + SCRATCH)
}

/** Store the 16 bytes at SCRATCH: 0, or 1 after a fault. */
export function slowStore16(p: u32, linear: u64, size: i32): i32 {
  return storeBytes(p, linear, 16, (size & STACK) != 0, p + SCRATCH)
}

/** Small privileged and system instructions: time, halt, random numbers, FS and GS bases (SDM Vol. 2). */
import {
  CPL, CR4, EXIT, EXIT_HALT, EXIT_PAUSE, HOST_HI, HOST_LO, LEAVE, LEAVE_HOST, PAUSE_EXITS, RAX, RCX, RDX, SEG_BASE, TSC_AUX,
} from './layout'
import { CR4_FSGSBASE, CR4_TSD, FLAG_CF, GP, UD } from './bits'
import { raiseNoError } from './faults'
import { hostRandom, hostRdpmc } from './host'
import { isCanonical } from './access'
import { setFlags } from './flags'
import { readTsc } from './msr'
import { isPvKernel } from './pv'
import { fault, is64Bit } from './segments'

export function rdtsc(p: u32): i32 {
  if (load<u32>(p, CPL) != 0 && (load<u64>(p, CR4) & CR4_TSD) != 0 && !isPvKernel(p)) return fault(p, GP, 0)
  const tsc = readTsc(p)
  store<u64>(p, tsc & 0xffffffff, RAX)
  store<u64>(p, tsc >>> 32, RDX)
  return 0
}

export function rdtscp(p: u32): i32 {
  if (rdtsc(p)) return 1
  store<u64>(p, <u64>load<u32>(p, TSC_AUX), RCX)
  return 0
}

/** RDPMC: the processor has no counters; the host may have some, for code of any privilege. */
export function rdpmc(p: u32): i32 {
  if (hostRdpmc(p, load<u32>(p, RCX)) == 0) return fault(p, GP, 0)
  store<u64>(p, <u64>load<u32>(p, HOST_LO), RAX)
  store<u64>(p, <u64>load<u32>(p, HOST_HI), RDX)
  return 0
}

export function hlt(p: u32): i32 {
  if (load<u32>(p, CPL) != 0) return fault(p, GP, 0)
  store<u32>(p, EXIT_HALT, EXIT)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_HOST, LEAVE)
  return 0
}

/** PAUSE: a vCPU that waits for another one lets it have its turn. */
export function pause(p: u32): void {
  if (load<u32>(p, PAUSE_EXITS) == 0) return
  store<u32>(p, EXIT_PAUSE, EXIT)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_HOST, LEAVE)
}

/** RDRAND, RDSEED to the register slot at offset `slot`: always a number, CF = 1. */
export function rdrand(p: u32, slot: u32, size: u32): void {
  const low = <u64><u32>hostRandom(p)
  if (size == 2) store<u16>(p + slot, <u16>low)
  else if (size == 4) store<u64>(p + slot, low)
  else store<u64>(p + slot, low | (<u64><u32>hostRandom(p) << 32))
  setFlags(p, FLAG_CF)
}

/** RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE exist in 64-bit mode with CR4.FSGSBASE. */
function checkFsGsBase(p: u32): i32 {
  if (is64Bit(p) && (load<u64>(p, CR4) & CR4_FSGSBASE) != 0) return 0
  raiseNoError(p, UD)
  return 1
}

/** Base of segment `seg` (4 FS, 5 GS) to the register slot at offset `slot`. */
export function readBase(p: u32, seg: u32, slot: u32, size: u32): i32 {
  if (checkFsGsBase(p)) return 1
  const base = load<u64>(p + (seg << 3), SEG_BASE)
  store<u64>(p + slot, size == 4 ? base & 0xffffffff : base)
  return 0
}

/** `value` (zero-extended if the operand has 32 bits) to the base of segment `seg`. */
export function writeBase(p: u32, seg: u32, value: u64): i32 {
  if (checkFsGsBase(p)) return 1
  if (!isCanonical(value)) return fault(p, GP, 0)
  store<u64>(p + (seg << 3), value, SEG_BASE)
  return 0
}

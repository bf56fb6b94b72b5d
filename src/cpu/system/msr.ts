/** RDMSR and WRMSR (SDM Vol. 4). The MSRs that the core works with are here; the host answers for the rest. */
import {
  AMD, CPL, CR0, CSTAR, EFER, FMASK, HOST_HI, HOST_LO, KERNEL_GS_BASE, LSTAR, PAT, RAX, RCX, RDX, SEG_BASE, STAR,
  SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, TSC_AUX, TSC_OFFSET,
} from './layout'
import { CR0_PG, EFER_AIBRSE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, GP, SEG_FS, SEG_GS } from './bits'
import { hostRdmsr, hostTsc, hostWrmsr } from './host'
import { isCanonical } from './access'
import { isPvKernel } from './pv'
import { flushAll } from './tlb'
import { fault } from './segments'

const MSR_TSC: u32 = 0x10
const MSR_TSC_ADJUST: u32 = 0x3b
const MSR_SYSENTER_CS: u32 = 0x174
const MSR_SYSENTER_ESP: u32 = 0x175
const MSR_SYSENTER_EIP: u32 = 0x176
const MSR_PAT: u32 = 0x277
const MSR_EFER: u32 = 0xc0000080
const MSR_STAR: u32 = 0xc0000081
const MSR_LSTAR: u32 = 0xc0000082
const MSR_CSTAR: u32 = 0xc0000083
const MSR_FMASK: u32 = 0xc0000084
const MSR_FS_BASE: u32 = 0xc0000100
const MSR_GS_BASE: u32 = 0xc0000101
const MSR_KERNEL_GS_BASE: u32 = 0xc0000102
const MSR_TSC_AUX: u32 = 0xc0000103

/** The time stamp counter as the guest sees it. */
export function readTsc(p: u32): u64 {
  return <u64>hostTsc(p) + load<u64>(p, TSC_OFFSET)
}

/** Offset in the state block of an MSR that is a plain cell, or 0. */
function cell(index: u32): u32 {
  switch (index) {
    case MSR_TSC_ADJUST: return TSC_OFFSET
    case MSR_SYSENTER_CS: return SYSENTER_CS
    case MSR_SYSENTER_ESP: return SYSENTER_ESP
    case MSR_SYSENTER_EIP: return SYSENTER_EIP
    case MSR_PAT: return PAT
    case MSR_EFER: return EFER
    case MSR_STAR: return STAR
    case MSR_LSTAR: return LSTAR
    case MSR_CSTAR: return CSTAR
    case MSR_FMASK: return FMASK
    case MSR_FS_BASE: return SEG_BASE + SEG_FS * 8
    case MSR_GS_BASE: return SEG_BASE + SEG_GS * 8
    case MSR_KERNEL_GS_BASE: return KERNEL_GS_BASE
    case MSR_TSC_AUX: return TSC_AUX
  }
  return 0
}

/** RDMSR: MSR ECX to EDX:EAX. */
export function rdmsr(p: u32): i32 {
  if (load<u32>(p, CPL) != 0) {
    if (!isPvKernel(p)) return fault(p, GP, 0)
    if (!pvHolds(load<u32>(p, RCX))) return readHost(p, load<u32>(p, RCX))
  }
  const index = load<u32>(p, RCX)
  const offset = cell(index)
  if (offset != 0) setResult(p, load<u64>(p + offset))
  else if (index == MSR_TSC) setResult(p, readTsc(p))
  else return readHost(p, index)
  return 0
}

function readHost(p: u32, index: u32): i32 {
  if (hostRdmsr(p, index) == 0) return fault(p, GP, 0)
  store<u64>(p, <u64>load<u32>(p, HOST_LO), RAX)
  store<u64>(p, <u64>load<u32>(p, HOST_HI), RDX)
  return 0
}

/** Those that Xen reads and writes for a PV guest as the processor has them. */
function pvHolds(index: u32): bool {
  return index == MSR_FS_BASE || index == MSR_GS_BASE || index == MSR_KERNEL_GS_BASE || index == MSR_TSC_AUX
}

function setResult(p: u32, value: u64): void {
  store<u64>(p, value & 0xffffffff, RAX)
  store<u64>(p, value >>> 32, RDX)
}

/** WRMSR: EDX:EAX to MSR ECX. */
export function wrmsr(p: u32): i32 {
  const index = load<u32>(p, RCX)
  const value = <u64>load<u32>(p, RAX) | (<u64>load<u32>(p, RDX) << 32)
  if (load<u32>(p, CPL) != 0) {
    if (!isPvKernel(p)) return fault(p, GP, 0)
    if (!pvHolds(index)) return writeHost(p, index, value)
  }
  if (index == MSR_EFER) return writeEfer(p, value)
  const offset = cell(index)
  if (offset != 0) {
    if (!acceptable(index, value)) return fault(p, GP, 0)
    store<u64>(p + offset, index == MSR_SYSENTER_CS ? value & 0xffffffff : value)
  } else if (index == MSR_TSC) store<u64>(p, value - <u64>hostTsc(p), TSC_OFFSET)
  else return writeHost(p, index, value)
  return 0
}

function writeHost(p: u32, index: u32, value: u64): i32 {
  store<u32>(p, <u32>value, HOST_LO)
  store<u32>(p, <u32>(value >>> 32), HOST_HI)
  return hostWrmsr(p, index) == 0 ? fault(p, GP, 0) : 0
}

function acceptable(index: u32, value: u64): bool {
  switch (index) {
    case MSR_FMASK:
    case MSR_TSC_AUX: return value >>> 32 == 0
    case MSR_PAT: return isPat(value)
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE: return isCanonical(value)
  }
  return true
}

/** Each byte is a memory type: UC, WC, WT, WP, WB, UC- are 0, 1, 4, 5, 6, 7. */
function isPat(value: u64): bool {
  for (let i = 0; i < 8; i++, value >>>= 8) {
    const type = <u32>value & 0xff
    if (type > 7 || type == 2 || type == 3) return false
  }
  return true
}

/** LMA is read-only; LME may not change while paging is on. */
function writeEfer(p: u32, value: u64): i32 {
  const old = load<u64>(p, EFER)
  let known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE
  if (load<u32>(p, AMD) != 0) known |= EFER_AIBRSE
  if (value & ~known) return fault(p, GP, 0)
  const next = (value & ~EFER_LMA) | (old & EFER_LMA)
  if (((next ^ old) & EFER_LME) != 0 && (load<u64>(p, CR0) & CR0_PG) != 0) return fault(p, GP, 0)
  store<u64>(p, next, EFER)
  if ((next ^ old) & EFER_NXE) flushAll(p)
  return 0
}

/**
 * Control and debug registers, and the instructions about them (SDM Vol. 3A 2.5, 17.2; Vol. 2 MOV CR, MOV DR, LMSW,
 * CLTS, INVLPG, INVPCID, XSETBV). Breakpoints set in debug registers do not strike: they are left out.
 */
import {
  CPL, CR0, CR2, CR3, CR4, DR0, DR6, DR7, EFER, EXC_ERROR, FPU_TRAP, MAXPHYADDR, MODE, MODE_LONG, RAX, RCX, RDX,
  PV_CR4, SEG_ATTR, SIMD_TRAP, XCR0, GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT,
} from './layout'
import {
  CR0_AM, CR0_CD, CR0_EM, CR0_ET, CR0_MP, CR0_NE, CR0_NW, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_FSGSBASE,
  CR4_MCE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE, CR4_PAE, CR4_PCE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP,
  CR4_TSD, CR4_UMIP, DB, EFER_LMA, EFER_LME, GP, SEG_TR, UD,
} from './bits'
import { raiseNoError } from './faults'
import { hostReadCr8, hostWriteCr8 } from './host'
import { isCanonical, slowLoad } from './access'
import { flushAll, flushNonGlobal, flushPage, flushPcid, resetTlb, setBank, switchAddressSpace } from './tlb'
import { loadPdptes } from './walk'
import { isPv, isPvKernel } from './pv'
import { pvGetDebug, pvReadCr, pvSetDebug, pvWriteCr } from './pv-emulate'
import { fault, faulted, isProtected, updateMode } from './segments'

const CR0_BITS: u64 = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG
const CR4_BITS: u64 = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
  CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP
const CR3_NO_FLUSH: u64 = 1 << 63
const HIGH: u64 = 0xffffffff00000000

const DR6_FIXED: u64 = 0xffff0ff0
const DR6_BITS: u64 = 0xe00f
const DR6_BD: u64 = 1 << 13
const DR7_FIXED: u64 = 0x400
const DR7_BITS: u64 = 0xffff23ff
const DR7_GD: u64 = 1 << 13

/** Xen ignores it where the guest's kernel asks for it. */
export function wbinvd(p: u32): i32 {
  return isPvKernel(p) ? 0 : needCpl0(p)
}

function undefined_(p: u32): i32 {
  raiseNoError(p, UD)
  return 1
}

/** #GP(0) unless CPL is 0. */
export function needCpl0(p: u32): i32 {
  return load<u32>(p, CPL) == 0 ? 0 : fault(p, GP, 0)
}

/** SGDT, SIDT, SMSW: #GP(0) by user-mode instruction prevention. */
export function checkUmip(p: u32): i32 {
  return load<u32>(p, CPL) != 0 && (load<u64>(p, CR4) & CR4_UMIP) != 0 ? fault(p, GP, 0) : 0
}

/** SLDT, STR: the same, and #UD in real mode. */
export function checkUmipProtected(p: u32): i32 {
  return isProtected(p) ? checkUmip(p) : undefined_(p)
}

/** Recompute FPU_TRAP and SIMD_TRAP from CR0 and CR4. */
export function updateTraps(p: u32): void {
  const cr0 = load<u64>(p, CR0)
  let fpu: u32 = 0
  let simd: u32 = 0
  if (cr0 & CR0_EM) {
    fpu |= 1
    simd |= 1
  }
  if (cr0 & CR0_TS) {
    fpu |= cr0 & CR0_MP ? 6 : 2
    simd |= 2
  }
  if ((load<u64>(p, CR4) & CR4_OSFXSR) == 0) simd |= 1
  store<u32>(p, fpu, FPU_TRAP)
  store<u32>(p, simd, SIMD_TRAP)
}

/** After the host wrote registers behind the core's back: everything that is derived from them, and an empty TLB. */
export function refreshState(p: u32): void {
  updateTraps(p)
  updateMode(p)
  resetTlb(p)
  if (usesPdptes(p, load<u64>(p, CR0), load<u64>(p, CR4))) loadPdptes(p, load<u64>(p, CR3))
}

/** Control registers are 0, 2, 3, 4 and 8, for CPL 0. */
function checkCr(p: u32, number: u32): i32 {
  if (number > 8 || ((0x11d >>> number) & 1) == 0) return undefined_(p)
  return isPvKernel(p) && number != 8 ? 0 : needCpl0(p)
}

/** MOV from CR0, CR2, CR3, CR4, CR8 to the register slot at offset `slot`. */
export function movFromCr(p: u32, number: u32, slot: u32): i32 {
  if (checkCr(p, number)) return 1
  let value: u64
  if (isPv(p)) {
    store<u64>(p + slot, pvReadCr(p, number))
    return 0
  }
  switch (number) {
    case 0: value = load<u64>(p, CR0); break
    case 2: value = load<u64>(p, CR2); break
    case 3: value = load<u64>(p, CR3); break
    case 4: value = load<u64>(p, CR4); break
    default: value = <u64>hostReadCr8(p)
  }
  store<u64>(p + slot, value)
  return 0
}

export function movToCr(p: u32, number: u32, value: u64): i32 {
  if (checkCr(p, number)) return 1
  if (isPv(p)) return pvWriteCr(p, number, value)
  switch (number) {
    case 0: return writeCr0(p, value)
    case 2: {
      store<u64>(p, value, CR2)
      return 0
    }
    case 3: return writeCr3(p, value)
    case 4: return writeCr4(p, value)
  }
  if (value > 15) return fault(p, GP, 0)
  hostWriteCr8(p, <i32>value)
  return 0
}

function writeCr0(p: u32, source: u64): i32 {
  if (source & HIGH) return fault(p, GP, 0)
  const value = (source & CR0_BITS) | CR0_ET
  const changed = value ^ load<u64>(p, CR0)
  const cr4 = load<u64>(p, CR4)
  const efer = load<u64>(p, EFER)
  if ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) return fault(p, GP, 0)
  if ((value & CR0_NW) != 0 && (value & CR0_CD) == 0) return fault(p, GP, 0)
  if (changed & CR0_PG) {
    if (value & CR0_PG) {
      if (efer & EFER_LME) {
        // Long mode starts in compatibility mode, with PAE, and not over a 16-bit TSS (SDM Vol. 3A 10.8.5).
        const tss = load<u32>(p, SEG_ATTR + SEG_TR * 4) & 0x1f
        if ((cr4 & CR4_PAE) == 0 || (load<u32>(p, SEG_ATTR + 4) & 0x200) != 0 || tss == 1 || tss == 3) return fault(p, GP, 0)
        store<u64>(p, efer | EFER_LMA, EFER)
      }
    } else {
      if ((load<u32>(p, MODE) & MODE_LONG) != 0 || (cr4 & CR4_PCIDE) != 0) return fault(p, GP, 0)
      store<u64>(p, efer & ~EFER_LMA, EFER)
    }
  }
  if (usesPdptes(p, value, cr4) && (changed & (CR0_PG | CR0_CD | CR0_NW)) != 0 && loadPdptes(p, load<u64>(p, CR3))) return 1
  store<u64>(p, value, CR0)
  updateTraps(p)
  if (changed & (CR0_PG | CR0_WP | CR0_PE)) flushAll(p)
  if (changed & CR0_AM) setBank(p)
  if (changed & (CR0_PE | CR0_PG)) updateMode(p)
  return 0
}

/** Whether paging is PAE paging outside long mode, with these control registers. */
function usesPdptes(p: u32, cr0: u64, cr4: u64): bool {
  return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (load<u64>(p, EFER) & EFER_LMA) == 0
}

function writeCr3(p: u32, source: u64): i32 {
  const cr4 = load<u64>(p, CR4)
  let value = source
  if (load<u64>(p, EFER) & EFER_LMA) {
    if (cr4 & CR4_PCIDE) value &= ~CR3_NO_FLUSH
    if (value >>> MAXPHYADDR) return fault(p, GP, 0)
  } else if (usesPdptes(p, load<u64>(p, CR0), cr4) && loadPdptes(p, value)) return 1
  store<u64>(p, value, CR3)
  switchAddressSpace(p, value, (cr4 & CR4_PCIDE) != 0 && (source & CR3_NO_FLUSH) != 0)
  return 0
}

function writeCr4(p: u32, value: u64): i32 {
  if (value & ~CR4_BITS) return fault(p, GP, 0)
  const changed = value ^ load<u64>(p, CR4)
  const long = (load<u64>(p, EFER) & EFER_LMA) != 0
  if ((changed & CR4_PAE) != 0 && long) return fault(p, GP, 0)
  if ((changed & value & CR4_PCIDE) != 0 && (!long || (load<u64>(p, CR3) & 0xfff) != 0)) return fault(p, GP, 0)
  if (
    (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) != 0 && usesPdptes(p, load<u64>(p, CR0), value) &&
    loadPdptes(p, load<u64>(p, CR3))
  ) return 1
  store<u64>(p, value, CR4)
  updateTraps(p)
  if (changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP)) {
    flushAll(p)
    if (changed & CR4_PCIDE) switchAddressSpace(p, load<u64>(p, CR3), false)
  }
  if (changed & CR4_SMAP) setBank(p)
  return 0
}

/** LMSW: PE (which it cannot clear), MP, EM, TS. */
export function lmsw(p: u32, value: u32): i32 {
  if (needCpl0(p)) return 1
  const old = load<u64>(p, CR0)
  return writeCr0(p, (old & ~(CR0_MP | CR0_EM | CR0_TS)) | (<u64>value & 15))
}

export function clts(p: u32): i32 {
  if (!isPvKernel(p) && needCpl0(p)) return 1
  store<u64>(p, load<u64>(p, CR0) & ~CR0_TS, CR0)
  updateTraps(p)
  return 0
}

/** The debug register meant by `number`, or 8 with a fault raised. */
function debugRegister(p: u32, number: u32): u32 {
  if (number > 7) {
    raiseNoError(p, UD)
    return 8
  }
  if (number == 4 || number == 5) {
    if (load<u64>(p, CR4) & CR4_DE) {
      raiseNoError(p, UD)
      return 8
    }
    number += 2
  }
  if (isPvKernel(p)) return number
  if (needCpl0(p)) return 8
  if (load<u64>(p, DR7) & DR7_GD) {
    store<u64>(p, load<u64>(p, DR6) | DR6_BD, DR6)
    raiseNoError(p, DB)
    store<i32>(p, 0, EXC_ERROR) // a fault: see deliver.ts
    return 8
  }
  return number
}

/** MOV from DR0-DR7 to the register slot at offset `slot`. */
export function movFromDr(p: u32, number: u32, slot: u32): i32 {
  const n = debugRegister(p, number)
  if (n > 7) return 1
  if (isPv(p)) {
    store<u64>(p + slot, pvGetDebug(p, n))
    return 0
  }
  store<u64>(p + slot, n < 4 ? load<u64>(p + (n << 3), DR0) : n == 6 ? load<u64>(p, DR6) : load<u64>(p, DR7))
  return 0
}

export function movToDr(p: u32, number: u32, value: u64): i32 {
  const n = debugRegister(p, number)
  if (n > 7) return 1
  if (isPv(p)) return pvSetDebug(p, n, value) != 0 ? fault(p, GP, 0) : 0
  if (n < 4) {
    store<u64>(p + (n << 3), value, DR0)
    return 0
  }
  if (value & HIGH) return fault(p, GP, 0)
  if (n == 6) store<u64>(p, (value & DR6_BITS) | DR6_FIXED, DR6)
  else store<u64>(p, (value & DR7_BITS) | DR7_FIXED, DR7)
  return 0
}

export function invlpg(p: u32, linear: u64): i32 {
  if (needCpl0(p)) return 1
  if (isCanonical(linear)) flushPage(p, linear)
  return 0
}

/** INVPCID of `type` with the descriptor at `linear`. */
export function invpcid(p: u32, type: u64, linear: u64): i32 {
  if (needCpl0(p)) return 1
  const pcid = slowLoad(p, linear, 8)
  if (faulted(p)) return 1
  const address = slowLoad(p, linear + 8, 8)
  if (faulted(p)) return 1
  if (type > 3 || (pcid >>> 12) != 0) return fault(p, GP, 0)
  if (type < 2 && pcid != 0 && (load<u64>(p, CR4) & CR4_PCIDE) == 0) return fault(p, GP, 0)
  switch (<u32>type) {
    case 0: {
      if (!isCanonical(address)) return fault(p, GP, 0)
      flushPage(p, address)
      break
    }
    case 1: flushPcid(p, <u32>pcid); break
    case 2: flushAll(p); break
    default: flushNonGlobal(p)
  }
  return 0
}

/** LGDT (`table` 0), LIDT (1): limit and base as loaded; `size` is the operand size. */
function loadTable(p: u32, linear: u64, size: u32, base: u32, limit: u32): i32 {
  if (needCpl0(p)) return 1
  const length = slowLoad(p, linear, 2)
  if (faulted(p)) return 1
  const address = slowLoad(p, linear + 2, size == 8 ? 8 : 4)
  if (faulted(p)) return 1
  if (size == 8 && !isCanonical(address)) return fault(p, GP, 0)
  store<u64>(p + base, size == 2 ? address & 0xffffff : address)
  store<u32>(p + limit, <u32>length)
  return 0
}

/** LGDT from `linear`; operand `size` 2 (24-bit base), 4 or 8. */
export function lgdt(p: u32, linear: u64, size: u32): i32 {
  return loadTable(p, linear, size, GDTR_BASE, GDTR_LIMIT)
}

export function lidt(p: u32, linear: u64, size: u32): i32 {
  return loadTable(p, linear, size, IDTR_BASE, IDTR_LIMIT)
}

/** XGETBV: XCR0 is the only one. */
export function xgetbv(p: u32): i32 {
  if ((load<u64>(p, CR4) & CR4_OSXSAVE) == 0) return undefined_(p)
  if (load<u32>(p, RCX) != 0) return fault(p, GP, 0)
  const value = load<u64>(p, XCR0)
  store<u64>(p, value & 0xffffffff, RAX)
  store<u64>(p, value >>> 32, RDX)
  return 0
}

/** XSETBV: x87 always, SSE if wanted. */
export function xsetbv(p: u32): i32 {
  if (((isPv(p) ? load<u64>(p, PV_CR4) : load<u64>(p, CR4)) & CR4_OSXSAVE) == 0) return undefined_(p)
  if (!isPvKernel(p) && needCpl0(p)) return 1
  const value = <u64>load<u32>(p, RAX) | (<u64>load<u32>(p, RDX) << 32)
  if (load<u32>(p, RCX) != 0 || (value & 1) == 0 || (value & ~(<u64>3)) != 0) return fault(p, GP, 0)
  store<u64>(p, value, XCR0)
  return 0
}

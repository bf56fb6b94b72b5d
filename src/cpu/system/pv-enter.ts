/** Xen PV: how a vCPU begins, and its LDT. */
import {
  ATTR_NULL, ATTR_P, CPL, CR0, CR3, CR4, EFER, EXC, GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT, INDEX,
  LDTR_BASE, MXCSR, PV, PV_CR4, PV_KERNEL, PV_KERNEL_ROOT, PV_LDT_ENTS, PV_LDT_FRAMES, PV_RESERVED_GDT, PV_SLOT_EPOCHS,
  PV_USER_ROOT, RIP, RSP, SCRATCH, SEG_ATTR, SEG_BASE, SEG_LIMIT, SEG_SELECTOR, SYSFLAGS, TR_BASE, VEC0,
} from './layout'
import {
  CR0_AM, CR0_ET, CR0_MP, CR0_NE, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_MCE, CR4_OSFXSR, CR4_OSXMMEXCPT,
  CR4_OSXSAVE, CR4_PAE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, FLAG_IF, FLAG_IOPL, FLAG_VM, SEG_CS, SEG_DS, SEG_ES,
  SEG_FS, SEG_GS, SEG_LDTR, SEG_SS, SEG_TR,
} from './bits'
import { refreshState } from './control'
import { readEflags } from './flags'
import { PV32 } from './pv'
import { pvSetCr4 } from './pv-emulate'
import { failsafe, pvFault, returnTo } from './pv-frame'
import { enterSegments } from './pv-iret'
import { loadSegmentFar, selectorOf, setNull } from './segments'
import { fxLoadX87 } from './x87-image'

const XEN_CR0: u64 = CR0_PG | CR0_AM | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
const XEN_CR4: u64 = CR4_PAE | CR4_MCE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE

// Where Xen's descriptor tables lie, as SGDT, SIDT, SLDT and STR show.
const GDT_START: u64 = 0xffff820000000000
const GDT_SHIFT: u64 = 17
const LDT_OFFSET: u64 = 0x10000
const IDT_START: u64 = 0xffff82d040200000
const TSS_START: u64 = 0xffff82d040210000
const TSS_SELECTOR: u32 = 0xe040
const LDT_SELECTOR: u32 = 0xe050
const MXCSR_MASK: u32 = 0xffff

function setSystem(p: u32, seg: u32, selector: u32, limit: u32, attr: u32): void {
  store<u32>(p + (seg << 2), selector, SEG_SELECTOR)
  store<u32>(p + (seg << 2), limit, SEG_LIMIT)
  store<u32>(p + (seg << 2), attr, SEG_ATTR)
}

// @ts-ignore: decorator
@inline
function reserved(p: u32, index: u32, descriptor: u64): void {
  store<u64>(p + PV_RESERVED_GDT + (index << 3), descriptor)
}

/** The LDT in PV_LDT_BASE and PV_LDT_ENTS is another one: its pages are mapped when they are used. */
export function pvSetLdt(p: u32): void {
  memory.fill(p + PV_LDT_FRAMES, 0, 64)
  const entries = load<u32>(p, PV_LDT_ENTS)
  if (entries == 0) setSystem(p, SEG_LDTR, 0, 0, ATTR_NULL)
  else setSystem(p, SEG_LDTR, LDT_SELECTOR, entries * 8 - 1, ATTR_P | 2)
}

/**
 * Begin as PV vCPU of a 64-bit (1) or 32-bit (2) domain. The host has written RIP, RSP, the general registers, SYSFLAGS, the selectors, the bases of FS and
 * GS (the active one; the other in KERNEL_GS_BASE) and what is called PV_ but the GDT's reserved part and CR4 beyond
 * PV_CR4. Selectors that cannot be loaded become null and the failsafe callback is called.
 */
export function pvEnter(p: u32, kind: u32): void {
  const narrow = kind == PV32
  store<u32>(p, kind, PV)
  store<u32>(p, narrow ? selectorOf(p, SEG_CS) & 3 : 3, CPL)
  store<u64>(p, XEN_CR0 | (load<u64>(p, CR0) & CR0_TS), CR0)
  store<u64>(p, XEN_CR4, CR4)
  pvSetCr4(p, load<u64>(p, PV_CR4))
  store<u64>(p, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, EFER)
  store<u64>(p, narrow || load<u32>(p, PV_KERNEL) != 0 ? load<u64>(p, PV_KERNEL_ROOT) : load<u64>(p, PV_USER_ROOT), CR3)
  const area = GDT_START + (<u64>load<u32>(p, INDEX) << GDT_SHIFT)
  store<u64>(p, area, GDTR_BASE)
  store<u32>(p, 0xefff, GDTR_LIMIT)
  store<u64>(p, IDT_START, IDTR_BASE)
  store<u32>(p, 0xfff, IDTR_LIMIT)
  store<u64>(p, area + LDT_OFFSET, LDTR_BASE)
  store<u64>(p, TSS_START, TR_BASE)
  setSystem(p, SEG_TR, TSS_SELECTOR, 0x67, ATTR_P | 0xb)
  memory.fill(p + PV_RESERVED_GDT, 0, 128)
  reserved(p, 1, 0x00af9b000000ffff)
  reserved(p, 2, 0x00cf93000000ffff)
  // Rings 1 and 3; or what SYSRET wants.
  reserved(p, 3, narrow ? 0x00cfbb000000ffff : 0)
  reserved(p, 4, narrow ? 0x00cfb3000000ffff : 0x00cffb000000ffff)
  reserved(p, 5, narrow ? 0x00cffb000000ffff : 0x00cff3000000ffff)
  reserved(p, 6, narrow ? 0x00cff3000000ffff : 0x00affb000000ffff)
  reserved(p, 8, 0x00008b0000000067 | ((TSS_START & 0xffffff) << 16) | ((TSS_START & 0xff000000) << 32))
  reserved(p, 9, TSS_START >>> 32)
  reserved(p, 12, 0x0000910000000000 | <u64>load<u32>(p, INDEX))
  memory.fill(p + PV_SLOT_EPOCHS, 0, 32)
  pvSetLdt(p)
  store<u32>(p, (load<u32>(p, SYSFLAGS) & ~(FLAG_IOPL | FLAG_VM)) | FLAG_IF | 2, SYSFLAGS)
  const cs = selectorOf(p, SEG_CS)
  const ss = selectorOf(p, SEG_SS)
  refreshState(p)

  const fs = load<u64>(p, SEG_BASE + SEG_FS * 8)
  const gs = load<u64>(p, SEG_BASE + SEG_GS * 8)
  const asked = <u64>selectorOf(p, SEG_DS) | (<u64>selectorOf(p, SEG_ES) << 16) | (<u64>selectorOf(p, SEG_FS) << 32) |
    (<u64>selectorOf(p, SEG_GS) << 48)
  const failed = loadOrNull(p, SEG_FS) | loadOrNull(p, SEG_GS) | loadOrNull(p, SEG_DS) | loadOrNull(p, SEG_ES)
  // Of a 32-bit domain the descriptors say.
  if (!narrow) {
    store<u64>(p, fs, SEG_BASE + SEG_FS * 8)
    store<u64>(p, gs, SEG_BASE + SEG_GS * 8)
  }
  const rip = load<u64>(p, RIP)
  const rsp = load<u64>(p, RSP)
  const flags = readEflags(p)
  if (failed != 0) failsafe(p, rip, cs, flags, rsp, ss, asked)
  else if (!returnTo(p, rip, cs, flags, rsp, ss) && enterSegments(p, rip, cs, rsp, ss)) pvFault(p, rip, cs, flags, rsp, ss)
}

/** The x87 and SSE from the FXSAVE image at SCRATCH; one that cannot be loaded leaves them as they are. */
export function pvLoadFpu(p: u32): void {
  const image = p + SCRATCH
  const mxcsr = load<u32>(image, 24)
  if (mxcsr & ~MXCSR_MASK) return
  fxLoadX87(p, image, 1)
  store<u32>(p, mxcsr, MXCSR)
  memory.copy(p + VEC0, image + 160, 256)
}

function loadOrNull(p: u32, seg: u32): i32 {
  if (loadSegmentFar(p, seg, selectorOf(p, seg)) == 0) return 0
  store<i32>(p, -1, EXC)
  setNull(p, seg, 0)
  return 1
}

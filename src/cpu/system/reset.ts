/** State after power-up or RESET, after INIT, and where a start-up IPI begins (SDM Vol. 3A table 10-1, 9.4.4). */
import {
  AMD, ATTR_P, CODE_EPOCH, CPL, CR0, CR2, CR3, CR4, DR0, DR6, DR7, EFER, EXC, FCW, FTW, GDTR_BASE, GDTR_LIMIT,
  IDTR_BASE, IDTR_LIMIT, INDEX, LDTR_BASE, MXCSR, NMI_BLOCKED, NMI_PENDING, PAT, RAX, RDX, RIP, SEG_ATTR,
  SEG_LIMIT, SEG_SELECTOR, SHADOW, SYSFLAGS, TR_BASE, TLB_STATE, XCR0,
} from './layout'
import { CR0_CD, CR0_ET, CR0_NW, SEG_CS, SEG_LDTR, SEG_TR } from './bits'
import { refreshState } from './control'
import { setFlags } from './flags'
import { setSegmentParts, updateMode } from './segments'

const DATA: u32 = 0x93 // present, writable, accessed

/** RESET: `signature` (CPUID 1 EAX) goes to EDX. Nothing stays but what the vCPU is and the code epoch. */
export function resetVcpu(p: u32, signature: u32): void {
  const index = load<u32>(p, INDEX)
  const amd = load<u32>(p, AMD)
  const epoch = load<u32>(p, CODE_EPOCH)
  memory.fill(p, 0, TLB_STATE)
  store<u32>(p, index, INDEX)
  store<u32>(p, amd, AMD)
  store<u32>(p, epoch, CODE_EPOCH)
  store<u64>(p, CR0_CD | CR0_NW | CR0_ET, CR0)
  store<u64>(p, 0x0007040600070406, PAT)
  store<u64>(p, 1, XCR0)
  store<u32>(p, 0x40, FCW)
  store<u32>(p, 0xff, FTW)
  store<u32>(p, 0x1f80, MXCSR)
  resetCommon(p, signature)
}

/** INIT: caches, x87, SSE, MSRs, TSC and XCR0 stay as they are. */
export function initVcpu(p: u32, signature: u32): void {
  store<u64>(p, (load<u64>(p, CR0) & (CR0_CD | CR0_NW)) | CR0_ET, CR0)
  resetCommon(p, signature)
}

function resetCommon(p: u32, signature: u32): void {
  memory.fill(p + RAX, 0, 128)
  store<u64>(p, signature, RDX)
  store<u64>(p, 0xfff0, RIP)
  setFlags(p, 0)
  store<u32>(p, 2, SYSFLAGS)
  store<u64>(p, 0, CR2)
  store<u64>(p, 0, CR3)
  store<u64>(p, 0, CR4)
  store<u64>(p, 0, EFER)
  memory.fill(p + DR0, 0, 32)
  store<u64>(p, 0xffff0ff0, DR6)
  store<u64>(p, 0x400, DR7)
  for (let seg: u32 = 0; seg < 6; seg++) setSegmentParts(p, seg, 0, 0, 0xffff, DATA)
  setSegmentParts(p, SEG_CS, 0xf000, 0xffff0000, 0xffff, DATA)
  resetSystem(p, SEG_LDTR, LDTR_BASE, 2)
  resetSystem(p, SEG_TR, TR_BASE, 0xb)
  store<u64>(p, 0, GDTR_BASE)
  store<u32>(p, 0xffff, GDTR_LIMIT)
  store<u64>(p, 0, IDTR_BASE)
  store<u32>(p, 0xffff, IDTR_LIMIT)
  store<u32>(p, 0, CPL)
  store<i32>(p, -1, EXC)
  store<u32>(p, 0, SHADOW)
  store<u32>(p, 0, NMI_PENDING)
  store<u32>(p, 0, NMI_BLOCKED)
  refreshState(p)
}

function resetSystem(p: u32, seg: u32, base: u32, type: u32): void {
  store<u32>(p + (seg << 2), 0, SEG_SELECTOR)
  store<u32>(p + (seg << 2), 0xffff, SEG_LIMIT)
  store<u32>(p + (seg << 2), ATTR_P | type, SEG_ATTR)
  store<u64>(p + base, 0)
}

/** Start-up IPI after INIT: real mode at vector * 4096. */
export function startVcpu(p: u32, vector: u32): void {
  setSegmentParts(p, SEG_CS, vector << 8, <u64>vector << 12, 0xffff, DATA)
  updateMode(p)
  store<u64>(p, 0, RIP)
}

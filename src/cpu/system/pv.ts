/**
 * Xen PV: what the other procedures ask first. A vCPU of a 64-bit domain runs at CPL 3 always; whether it is in guest
 * kernel or guest user mode is PV_KERNEL. The two modes have a page table and a GS base each. A 32-bit domain's kernel
 * runs at CPL 1 of compatibility mode, its programs at CPL 3, both on one table. Names and rules are those of Xen 4.17,
 * arch/x86/pv, x86_64/entry.S and x86_64/compat/entry.S.
 */
import {
  CPL, CR3, EXIT, EXIT_STOP, KERNEL_GS_BASE, LEAVE, LEAVE_HOST, M_RAM, PV, PV_ASSIST, PV_INFO, PV_IOPL, PV_KERNEL,
  PV_KERNEL_ROOT, PV_TRAPS, PV_USER_ROOT, SEG_BASE,
} from './layout'
import { FLAG_IF, FLAG_IOPL, SEG_GS } from './bits'
import { hostPvCrash } from './host'
import { freshenRoot, switchAddressSpace } from './tlb'

/** vm_assist's bit for IOPL as the architecture has it. */
const ARCHITECTURAL_IOPL: u32 = 1 << 4

// The hypervisor's addresses.
export const XEN_START: u64 = 0xffff800000000000
export const XEN_END: u64 = 0xffff880000000000
export const XEN32_START: u64 = 0xf5800000

// @ts-ignore: decorator
@inline
export function isPv(p: u32): bool {
  return load<u32>(p, PV) != 0
}

/** Values of PV. */
export const PV64: u32 = 1
export const PV32: u32 = 2

// @ts-ignore: decorator
@inline
export function isPv32(p: u32): bool {
  return load<u32>(p, PV) == PV32
}

// @ts-ignore: decorator
@inline
export function inKernel(p: u32): bool {
  return isPv32(p) ? load<u32>(p, CPL) != 3 : load<u32>(p, PV_KERNEL) != 0
}

/** Guest kernel mode of a PV domain: what emulated privileged instructions want. */
// @ts-ignore: decorator
@inline
export function isPvKernel(p: u32): bool {
  return isPv(p) && inKernel(p)
}

/** Host address of struct vcpu_info. */
// @ts-ignore: decorator
@inline
export function vcpuInfo(p: u32): u32 {
  return M_RAM + load<u32>(p, PV_INFO)
}

/** Host address of the trap table's entry for `vector`. */
// @ts-ignore: decorator
@inline
export function trapInfo(p: u32, vector: u32): u32 {
  return p + PV_TRAPS + (vector << 4)
}

/** CS of the handler in a trap table's entry. */
// @ts-ignore: decorator
@inline
export function trapCs(trap: u32): u32 {
  return load<u16>(trap, 2)
}

export function hasArchitecturalIopl(p: u32): bool {
  return (load<u32>(p, PV_ASSIST) & ARCHITECTURAL_IOPL) != 0
}

/** Whether the virtual IOPL permits CLI, STI and all ports: guest kernels count as level 1, by assist as 0. */
export function ioplPermits(p: u32): bool {
  const level: u32 = !inKernel(p) ? 3 : hasArchitecturalIopl(p) ? 0 : 1
  return level << 12 <= load<u32>(p, PV_IOPL)
}

/** RFLAGS in a frame: IF is the upcall mask's opposite, IOPL is 0 but by assist. */
export function imageFor(p: u32, flags: u32, mask: u32): u32 {
  let image = flags & ~(FLAG_IF | FLAG_IOPL)
  if (mask == 0) image |= FLAG_IF
  return hasArchitecturalIopl(p) ? image | load<u32>(p, PV_IOPL) : image
}

/** Nothing that this vCPU does after `reason` (PV_CRASH_*) is seen. */
export function crash(p: u32, reason: u32): void {
  store<u32>(p, EXIT_STOP, EXIT)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_HOST, LEAVE)
  hostPvCrash(p, reason)
}

/** From guest kernel to guest user mode or back: page table and GS base. Nothing is flushed. */
export function toggleMode(p: u32): void {
  const gs = load<u64>(p, SEG_BASE + SEG_GS * 8)
  store<u64>(p, load<u64>(p, KERNEL_GS_BASE), SEG_BASE + SEG_GS * 8)
  store<u64>(p, gs, KERNEL_GS_BASE)
  togglePageTable(p)
}

/** Host address of the CR2 that the guest reads. */
export function guestCr2(p: u32): u32 {
  return vcpuInfo(p) + (isPv32(p) ? 8 : 16)
}

/** CR2 as the guest has it. */
export function setGuestCr2(p: u32, value: u64): void {
  if (isPv32(p)) store<u32>(guestCr2(p), <u32>value)
  else store<u64>(guestCr2(p), value)
}

/** Whether the hypervisor's addresses begin at or below a linear one. */
// @ts-ignore: decorator
@inline
export function isXenAddress(p: u32, linear: u64): bool {
  return isPv32(p) ? linear >= XEN32_START : linear - XEN_START < XEN_END - XEN_START
}

/** The other mode's page table alone. */
export function togglePageTable(p: u32): void {
  const kernel = load<u32>(p, PV_KERNEL) ^ 1
  store<u32>(p, kernel, PV_KERNEL)
  enterRoot(p, kernel != 0 ? load<u64>(p, PV_KERNEL_ROOT) : load<u64>(p, PV_USER_ROOT))
}

function enterRoot(p: u32, root: u64): void {
  store<u64>(p, root, CR3)
  switchAddressSpace(p, root, true)
}

/** MMUEXT_NEW_BASEPTR: the guest kernel's page table, at machine address `root`. */
export function pvKernelRoot(p: u32, root: u64): void {
  store<u64>(p, root, PV_KERNEL_ROOT)
  freshenRoot(p, root)
  if (isPv32(p) || inKernel(p)) enterRoot(p, root)
}

/** MMUEXT_NEW_USER_BASEPTR; 0: none. */
export function pvUserRoot(p: u32, root: u64): void {
  store<u64>(p, root, PV_USER_ROOT)
  if (root != 0) freshenRoot(p, root)
  if (!isPv32(p) && !inKernel(p)) enterRoot(p, root)
}

/** How another CPU begins: its registers and all that Xen must know of it, handed over as one structure. */
import type { Builder } from '../../builder.ts'
import { call } from '../xen.ts'
import { DESCRIPTORS, Hypercall, KERNEL_CS, KERNEL_SS } from './abi.ts'

/** vcpu_guest_context: what of it matters here. */
const Context = {
  FLAGS: 512,
  RIP: 648,
  CS: 656,
  RFLAGS: 664,
  RSP: 672,
  SS: 680,
  GDT_FRAMES: 4832,
  GDT_ENTRIES: 4960,
  KERNEL_SS: 4968,
  KERNEL_SP: 4976,
  CR3: 5008,
  EVENT: 5112,
  FAILSAFE: 5120,
  SYSCALL: 5128,
} as const
/** Of the whole structure. */
export const CONTEXT_BYTES = 5168
/** Where it has what each exception leads to: 16 bytes for each. */
export const CONTEXT_TRAPS = 720
/** VGCF_in_kernel. */
const IN_KERNEL = 4

export const startup = (k: Builder): string => `
xenpv.startup_ipi:                      ; how the CPU is when it begins
  push rbx
  mov ebx, eax
  mov dword ptr [xenpv.context+${Context.FLAGS}], ${IN_KERNEL}
  mov rax, secondary
  mov [xenpv.context+${Context.RIP}], rax
  mov word ptr [xenpv.context+${Context.CS}], ${KERNEL_CS}
  mov word ptr [xenpv.context+${Context.SS}], ${KERNEL_SS}
  mov eax, [secondary_stack]
  mov [xenpv.context+${Context.RSP}], rax
  mov [xenpv.context+${Context.KERNEL_SP}], rax
  mov word ptr [xenpv.context+${Context.KERNEL_SS}], ${KERNEL_SS}
  mov rax, [xenpv.gdt_frame]
  mov [xenpv.context+${Context.GDT_FRAMES}], rax
  mov dword ptr [xenpv.context+${Context.GDT_ENTRIES}], ${DESCRIPTORS}
  ${k.op('mmu.read_cr3')}
  mov [xenpv.context+${Context.CR3}], rax
  mov rax, xenpv.event
  mov [xenpv.context+${Context.EVENT}], rax
  mov rax, xenpv.failsafe
  mov [xenpv.context+${Context.FAILSAFE}], rax
  mov rax, xenpv.syscall
  mov [xenpv.context+${Context.SYSCALL}], rax
  ${call(k, Hypercall.VCPU_OP, 0, 'rbx', 'xenpv.context')}
  ${call(k, Hypercall.VCPU_OP, 1, 'rbx', 0)}
  pop rbx
  ret
`

/** How another CPU begins: its registers and all that Xen must know of it, handed over as one structure. */
import type { Builder } from '../../builder.ts'
import { Selector } from '../../layout.ts'
import { call } from '../xen.ts'
import { abi, DESCRIPTORS, Hypercall } from './abi.ts'

/** vcpu_guest_context.flags and VGCF_in_kernel, for 64-bit guests. */
const FLAGS = 512
const IN_KERNEL = 4

export function startup(k: Builder): string {
  const { cs, ss, context } = abi(k)
  const set = (offset: number, value: string) => `mov xax, ${value}\n  mov [xenpv.context+${offset}], xax`
  const own = k.long
    ? [
        `mov dword ptr [xenpv.context+${FLAGS}], ${IN_KERNEL}`,
        set(context.event, 'xenpv.event'),
        set(context.failsafe, 'xenpv.failsafe'),
        set(context.failsafe + 8, 'xenpv.syscall'),
      ]
    : [
        // ES and DS stand behind SS; callbacks have a selector each.
        ...[4, 8].map((after) => `mov dword ptr [xenpv.context+${context.ss + after}], ${Selector.USER_DS}`),
        ...[context.event, context.failsafe].map((at) => `mov dword ptr [xenpv.context+${at}], ${cs}`),
        set(context.event + 4, 'xenpv.event'),
        set(context.failsafe + 4, 'xenpv.failsafe'),
      ]
  return `
xenpv.startup_ipi:                      ; how the CPU is when it begins
  push xbx
  mov ebx, eax
  ${own.join('\n  ')}
  ${set(context.ip, 'secondary')}
  mov word ptr [xenpv.context+${context.cs}], ${cs}
  mov word ptr [xenpv.context+${context.ss}], ${ss}
  mov word ptr [xenpv.context+${context.kernelSs}], ${ss}
  mov eax, [secondary_stack]
  mov [xenpv.context+${context.sp}], xax
  mov [xenpv.context+${context.kernelSp}], xax
  ${set(context.gdtFrames, '[xenpv.gdt_frame]')}
  mov dword ptr [xenpv.context+${context.gdtEntries}], ${DESCRIPTORS}
  ${k.op('mmu.read_cr3')}
  mov [xenpv.context+${context.cr3}], xax
  ${call(k, Hypercall.VCPU_OP, 0, 'xbx', 'xenpv.context')}
  ${call(k, Hypercall.VCPU_OP, 1, 'xbx', 0)}
  pop xbx
  ret
`
}

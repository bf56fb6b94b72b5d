/** Descriptors, traps, system calls and the ways back. */
import type { Builder } from '../../builder.ts'
import { Selector } from '../../layout.ts'
import { call, UPCALL } from '../xen.ts'
import { DESCRIPTORS, Hypercall, KERNEL_SS } from './abi.ts'
import { CONTEXT_TRAPS } from './startup.ts'

const VECTORS = 256

export const processor = (k: Builder): string => `
xenpv.load_gdt:                         ; a page with the descriptors; there is nothing in it that CPUs do not share
  push rbx
  push rsi
  push rdi
  mov rbx, rax
  cmp qword ptr [xenpv.gdt+8], 0
  jne .xenpv_have_gdt
  mov rsi, [rbx+2]
  mov rdi, xenpv.gdt
  mov ecx, 6
  rep movsq
  mov rax, xenpv.gdt
  mov edx, 1
  call xenpv.protect
.xenpv_have_gdt:
  mov eax, xenpv.gdt
  shr eax, 12
  call xenpv.machine
  mov [xenpv.gdt_frame], rax
  ${call(k, Hypercall.SET_GDT, 'xenpv.gdt_frame', DESCRIPTORS)}
  pop rdi
  pop rsi
  pop rbx
  ret

xenpv.write_idt_entry:                  ; EDX vector, RCX gate: its privilege level; interrupts off
  mov [xenpv.trap], dl
  movzx eax, byte ptr [rcx+5]
  shr eax, 5
  and eax, 3
  or eax, 4
  mov [xenpv.trap+1], al
  mov eax, edx
  shl eax, 4
  add rax, xenpv.stubs
  mov [xenpv.trap+8], rax
  shl edx, 4
  mov rcx, [xenpv.trap]
  mov [rdx+xenpv.context+${CONTEXT_TRAPS}], rcx
  mov [rdx+xenpv.context+${CONTEXT_TRAPS + 8}], rax
  ${call(k, Hypercall.SET_TRAP_TABLE, 'xenpv.trap')}
  ret

xenpv.load_sp0:
  ${call(k, Hypercall.STACK_SWITCH, KERNEL_SS, 'rdx')}
  ret

xenpv.write_msr:                        ; how system calls arrive is Xen's business
  cmp eax, 0xc0000081
  jb native.write_msr
  cmp eax, 0xc0000084
  ja native.write_msr
  ret

xenpv.iret:                             ; flags in front of the frame; the page's code adds RCX, R11 and RAX
  push 0
  jmp xen.page+${32 * Hypercall.IRET}

; Back from a system call: RCX where, R11 flags, on the user's stack.
xenpv.sysret:
  mov [user_sp], rsp
  mov rsp, fast_stack_end
  push ${Selector.USER_DS}
  push qword ptr [user_sp]
  push r11
  push ${Selector.USER_CS64}
  push rcx
  jmp xenpv.iret

; A system call: RCX and R11 are on the stack, then the frame.
xenpv.syscall:
  pop rcx
  pop r11
  mov rcx, [rsp]
  mov r11, [rsp+16]
  mov rsp, [rsp+24]
  jmp fast_call

xenpv.event:
  pop rcx
  pop r11
  push 0
  push ${UPCALL}
  jmp trap_common

xenpv.failsafe:
  ud2

; Exceptions come with RCX and R11 in front of the frame.
align 16
xenpv.stubs:
${Array.from({ length: VECTORS }, (_, vector) => `align 16\n  pop rcx\n  pop r11\n  jmp stubs+${16 * vector}`).join('\n')}
`

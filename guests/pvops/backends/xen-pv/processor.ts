/** Descriptors, traps, system calls and the ways back. */
import type { Builder } from '../../builder.ts'
import { Selector } from '../../layout.ts'
import { call, UPCALL } from '../xen.ts'
import { abi, DESCRIPTORS, Hypercall } from './abi.ts'

const VECTORS = 256

/** Where Xen puts nothing of its own in front of the frame, exceptions come to the kernel's own stubs. */
const stubs = (k: Builder) => (k.long ? 'xenpv.stubs' : 'stubs')

export function processor(k: Builder): string {
  const { ss, context, trap } = abi(k)
  const traps = `xenpv.context+${context.traps}`
  // MSRs of how system calls arrive.
  const [first, last] = k.long ? ['0xc0000081', '0xc0000084'] : ['0x174', '0x176']
  return `
xenpv.load_gdt:                         ; a page with the descriptors; there is nothing in it that CPUs do not share
  push xbx
  push xsi
  push xdi
  mov xbx, xax
  cmp dword ptr [xenpv.gdt+8], 0
  jne .xenpv_have_gdt
  mov xsi, [xbx+2]
  mov xdi, xenpv.gdt
  mov ecx, ${k.long ? 12 : 10}          ; of 32 bits without code of 64
  rep movsd
  mov xax, xenpv.gdt
  mov edx, 1
  call xenpv.protect
.xenpv_have_gdt:
  mov eax, xenpv.gdt
  shr eax, 12
  call xenpv.machine
  mov [xenpv.gdt_frame], xax
  ${call(k, Hypercall.SET_GDT, 'xenpv.gdt_frame', DESCRIPTORS)}
  ${k.long ? '' : `mov eax, ${Selector.USER_DS}\n  mov ds, eax\n  mov es, eax`}
  pop xdi
  pop xsi
  pop xbx
  ret

xenpv.write_idt_entry:                  ; EDX vector, xCX gate: its privilege level; interrupts off
  mov [xenpv.trap], dl
  movzx eax, byte ptr [xcx+5]
  shr eax, 5
  and eax, 3
  or eax, 4
  mov [xenpv.trap+1], al
  mov eax, edx
  shl eax, 4
  add xax, ${stubs(k)}
  mov [xenpv.trap+${trap.address}], xax
  imul edx, edx, ${trap.bytes}
  mov xcx, [xenpv.trap]
  mov [xdx+${traps}], xcx
  mov [xdx+${traps}+${trap.address}], xax
  ${call(k, Hypercall.SET_TRAP_TABLE, 'xenpv.trap')}
  ret

xenpv.load_sp0:
  ${call(k, Hypercall.STACK_SWITCH, ss, 'xdx')}
  ret

xenpv.write_msr:                        ; how system calls arrive is Xen's business
  cmp eax, ${first}
  jb native.write_msr
  cmp eax, ${last}
  ja native.write_msr
  ret

xenpv.iret:                             ; 64 bits: flags in front of the frame; the page's code adds registers
  ${k.long ? 'push 0' : ''}
  jmp xen.page+${32 * Hypercall.IRET}

xenpv.event:
  ${k.long ? DROP : ''}
  push 0
  push ${UPCALL}
  jmp trap_common

xenpv.failsafe:
  ud2
${k.long ? calls64 : calls32}`
}

/** RCX and R11, which Xen puts in front of each frame of 64 bits. */
const DROP = 'pop rcx\n  pop r11'

/** System calls of 64 bits, and the stubs of exceptions. */
const calls64 = `
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
  ${DROP}
  mov rcx, [rsp]
  mov r11, [rsp+16]
  mov rsp, [rsp+24]
  jmp fast_call

align 16
xenpv.stubs:
${Array.from({ length: VECTORS }, (_, vector) => `align 16\n  ${DROP}\n  jmp stubs+${16 * vector}`).join('\n')}
`

const calls32 = `
xenpv.sysexit:                          ; EDX where, ECX with which stack
  push ${Selector.USER_DS}
  push ecx
  push 0x202
  push ${Selector.USER_CS32}
  push edx
  jmp xenpv.iret

xenpv.sysenter:                         ; a frame that says nothing
  add esp, 20
  jmp fast_call
`

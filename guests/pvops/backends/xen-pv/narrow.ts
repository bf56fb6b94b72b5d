/**
 * The same for 32 bits, where the kernel is in ring 1 and shares its page tables with ring 3: three levels of tables,
 * frames as the processor makes them, hypercalls with words of 32 bits.
 */
import type { Builder } from '../../builder.ts'
import { MAX_CPUS, Selector, SPARE, WINDOW } from '../../layout.ts'
import { tscFrequency } from '../pvclock.ts'
import { call, places, UPCALL } from '../xen.ts'
import { DESCRIPTORS, Hypercall, KERNEL_CS32, KERNEL_SS32, Mmuext, mmuext, SELF } from './abi.ts'

/** The machine-to-physical table. */
const M2P = 0xf5800000
/** start_info. */
const Start = { SHARED_INFO: 0x24, CONSOLE: 0x34, PORT: 0x38, TABLES: 0x3c, LIST: 0x44, COMMAND_LINE: 0x50 } as const
/** vcpu_guest_context. */
const Context = {
  EIP: 0x224,
  CS: 0x228,
  ESP: 0x230,
  SS: 0x234,
  ES: 0x238,
  DS: 0x23c,
  TRAPS: 0x248,
  GDT_FRAMES: 0xa50,
  GDT_ENTRIES: 0xa90,
  KERNEL_SS: 0xa94,
  KERNEL_SP: 0xa98,
  CR3: 0xaa8,
  EVENT: 0xadc,
  FAILSAFE: 0xae4,
} as const
const CONTEXT_BYTES = 2800

const readOnly = (label: string) => `mov eax, ${label}\n  mov edx, 1\n  call xenpv.protect`

export const narrowSetup = (k: Builder): string => `
; Where Xen starts a paravirtual guest: ESI start_info.
xenpv.start:
  mov [xenpv.start_info], esi
  mov byte ptr [xenpv.present], 1
  lea eax, [esi+${Start.COMMAND_LINE}]
  mov [command_line], eax
  jmp main

xenpv.probe:
  mov al, [xenpv.present]
  ret

; EAX page frame; EAX the machine's.
xenpv.machine:
  push edx
  mov edx, [xenpv.start_info]
  mov edx, [edx+${Start.LIST}]
  mov eax, [edx+eax*4]
  pop edx
  ret

; EAX the low half of a page-table entry with a page frame; with the machine's.
xenpv.entry:
  test al, 1
  je .xenpv_absent
  push edx
  mov edx, eax
  and edx, 0xfff
  shr eax, 12
  call xenpv.machine
  shl eax, 12
  or eax, edx
  pop edx
.xenpv_absent:
  ret

; The page at EAX is mapped where it is, with flags EDX.
xenpv.protect:
  push ebx
  mov ebx, eax
  or eax, edx
  call xenpv.entry
  ${call(k, Hypercall.UPDATE_VA_MAPPING, 'ebx', 'eax', 0, 2)}
  pop ebx
  ret

xenpv.arch_setup:
  push ebx
  push esi
  push edi
  mov ebx, [xenpv.start_info]
  mov eax, [ebx+${Start.SHARED_INFO}]
  or eax, 3
  ${call(k, Hypercall.UPDATE_VA_MAPPING, 'xen.shared', 'eax', 0, 2)}
  mov eax, [ebx+${Start.PORT}]
  mov [xen.console_port], eax
  mov eax, [ebx+${Start.CONSOLE}]       ; the console's page: look for its machine frame
  mov edx, [ebx+${Start.LIST}]
  xor ecx, ecx
.xenpv_find:
  cmp [edx+ecx*4], eax
  je .xenpv_found
  inc ecx
  jmp .xenpv_find
.xenpv_found:
  shl ecx, 12
  mov [xen.console], ecx
  ${call(k, Hypercall.SET_CALLBACKS, KERNEL_CS32, 'xenpv.event', KERNEL_CS32, 'xenpv.failsafe')}
  ${call(k, Hypercall.CALLBACK_OP, 0, 'xenpv.sysenter_callback')}

  ; Tables for the programme's pages and for spare memory, in the level 2 table that Xen made.
  mov edi, spare_table
  mov esi, ${SPARE >> 12}
.xenpv_spare:
  mov eax, esi
  shl eax, 12
  or eax, 3
  call xenpv.entry
  mov [edi], eax
  add edi, 8
  inc esi
  cmp esi, ${(SPARE >> 12) + 512}
  jne .xenpv_spare
  ${readOnly('spare_table')}
  ${readOnly('window_table')}
  mov eax, [ebx+${Start.TABLES}]        ; level 3, whose first entry leads to level 2: by Xen's own list
  mov eax, [eax]
  shr eax, 12
  mov eax, [${M2P}+eax*4]
  shl eax, 12
  mov edi, eax
  lea eax, [edi+${(SPARE >> 21) * 8}]
  mov edx, spare_table+7
  call xenpv.set_pte
  lea eax, [edi+${(WINDOW >> 21) * 8}]
  mov edx, window_table+7
  call xenpv.set_pte
  lea eax, [edi+${((WINDOW >> 21) + 1) * 8}]
  mov [window_pde], eax
  pop edi
  pop esi
  pop ebx
  ret

xenpv.use_user_tables:                  ; they are the kernel's
  ret

xenpv.time_init:
${tscFrequency('xenpv', `xen.shared+${places(k).time}`)}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret
`

export const narrowProcessor = (k: Builder): string => `
xenpv.load_gdt:                         ; a page with the descriptors; there is nothing in it that CPUs do not share
  push ebx
  push esi
  push edi
  mov ebx, eax
  cmp dword ptr [xenpv.gdt+8], 0
  jne .xenpv_have_gdt
  mov esi, [ebx+2]
  mov edi, xenpv.gdt
  mov ecx, 10                           ; no code of 64 bits
  rep movsd
  mov eax, xenpv.gdt
  mov edx, 1
  call xenpv.protect
.xenpv_have_gdt:
  mov eax, xenpv.gdt
  shr eax, 12
  call xenpv.machine
  mov [xenpv.gdt_frame], eax
  ${call(k, Hypercall.SET_GDT, 'xenpv.gdt_frame', DESCRIPTORS)}
  mov eax, ${Selector.USER_DS}
  mov ds, eax
  mov es, eax
  pop edi
  pop esi
  pop ebx
  ret

xenpv.write_idt_entry:                  ; EDX vector, ECX gate: its privilege level; interrupts off
  mov [xenpv.trap], dl
  movzx eax, byte ptr [ecx+5]
  shr eax, 5
  and eax, 3
  or eax, 4
  mov [xenpv.trap+1], al
  mov eax, edx
  shl eax, 4
  add eax, stubs
  mov [xenpv.trap+4], eax
  mov ecx, [xenpv.trap]
  mov [edx*8+xenpv.context+${Context.TRAPS}], ecx
  mov [edx*8+xenpv.context+${Context.TRAPS + 4}], eax
  ${call(k, Hypercall.SET_TRAP_TABLE, 'xenpv.trap')}
  ret

xenpv.load_sp0:
  mov eax, edx
  ${call(k, Hypercall.STACK_SWITCH, KERNEL_SS32, 'eax')}
  ret

xenpv.write_msr:                        ; how system calls arrive is Xen's business
  cmp eax, 0x174
  jb native.write_msr
  cmp eax, 0x176
  ja native.write_msr
  ret

xenpv.iret:                             ; the page's code adds EAX
  jmp xen.page+${32 * Hypercall.IRET}

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

xenpv.event:
  push 0
  push ${UPCALL}
  jmp trap_common

xenpv.failsafe:
  ud2
`

export const narrowStartup = (k: Builder): string => `
xenpv.startup_ipi:                      ; how the CPU is when it begins
  push ebx
  mov ebx, eax
  mov dword ptr [xenpv.context+${Context.EIP}], secondary
  mov dword ptr [xenpv.context+${Context.CS}], ${KERNEL_CS32}
  mov eax, [secondary_stack]
  mov [xenpv.context+${Context.ESP}], eax
  mov [xenpv.context+${Context.KERNEL_SP}], eax
  mov eax, ${KERNEL_SS32}
  mov [xenpv.context+${Context.SS}], eax
  mov [xenpv.context+${Context.KERNEL_SS}], eax
  mov eax, ${Selector.USER_DS}
  mov [xenpv.context+${Context.ES}], eax
  mov [xenpv.context+${Context.DS}], eax
  mov eax, [xenpv.gdt_frame]
  mov [xenpv.context+${Context.GDT_FRAMES}], eax
  mov dword ptr [xenpv.context+${Context.GDT_ENTRIES}], ${DESCRIPTORS}
  ${k.op('mmu.read_cr3')}
  mov [xenpv.context+${Context.CR3}], eax
  mov eax, ${KERNEL_CS32}
  mov [xenpv.context+${Context.EVENT}], eax
  mov [xenpv.context+${Context.FAILSAFE}], eax
  mov dword ptr [xenpv.context+${Context.EVENT + 4}], xenpv.event
  mov dword ptr [xenpv.context+${Context.FAILSAFE + 4}], xenpv.failsafe
  ${call(k, Hypercall.VCPU_OP, 0, 'ebx', 'xenpv.context')}
  ${call(k, Hypercall.VCPU_OP, 1, 'ebx', 0)}
  pop ebx
  ret
`

export const narrowMmu = (k: Builder): string => `
xenpv.read_cr2:
  call cpu_number
  shl eax, 6
  mov eax, [eax+xen.shared+8]
  ret

xenpv.set_pte:                          ; EAX where, EDX what (no frame is above 4 GiB)
  push ebx
  push eax
  shr eax, 12
  call xenpv.machine
  shl eax, 12
  pop ebx
  and ebx, 0xfff
  or eax, ebx
  mov [xenpv.update], eax
  mov eax, edx
  call xenpv.entry
  mov [xenpv.update+8], eax
  ${call(k, Hypercall.MMU_UPDATE, 'xenpv.update', 1, 0, SELF)}
  pop ebx
  ret

xenpv.alloc_pte:                        ; only read, and known as a page table
  push eax
  mov edx, 1
  call xenpv.protect
  pop eax
  mov dword ptr [xenpv.mmuext], ${Mmuext.PIN_L1}
  jmp xenpv.pin

xenpv.release_pte:
  push eax
  mov dword ptr [xenpv.mmuext], ${Mmuext.UNPIN}
  call xenpv.pin
  pop eax
  mov edx, 3
  jmp xenpv.protect

xenpv.pin:
  shr eax, 12
  call xenpv.machine
  mov [xenpv.mmuext+4], eax
  ${mmuext(k)}
  ret

xenpv.flush_tlb:
  mov dword ptr [xenpv.mmuext], ${Mmuext.FLUSH}
  ${mmuext(k)}
  ret

xenpv.flush_tlb_single:
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG}
  mov [xenpv.mmuext+4], eax
  ${mmuext(k)}
  ret

xenpv.flush_tlb_others:
  mov ecx, eax
  mov eax, 1
  shl eax, cl
  mov [xenpv.cpus], eax
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG_MULTI}
  mov [xenpv.mmuext+4], edx
  mov dword ptr [xenpv.mmuext+8], xenpv.cpus
  ${mmuext(k)}
  ret
`

export const narrowData = `
xenpv.present: db 0
align 4
xenpv.features: dd 0
xenpv.start_info: dd 0
xenpv.gdt_frame: dd 0
xenpv.cpus: dd 0
align 8
xenpv.update: dd 0, 0, 0, 0
xenpv.mmuext: dd 0, 0, 0
xenpv.trap: db 0, 0
  dw ${KERNEL_CS32}
  dd 0, 0, 0
xenpv.sysenter_callback: dw 5, 0
  dd ${KERNEL_CS32}, xenpv.sysenter
xenpv.call_ports: zero ${4 * MAX_CPUS}
xenpv.wake_ports: zero ${4 * MAX_CPUS}
align 16
xenpv.context: zero ${CONTEXT_BYTES}
align 4096
xenpv.gdt: zero 4096
spare_table: zero 4096
`

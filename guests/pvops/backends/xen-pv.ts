/**
 * Xen, as a paravirtual guest (64 bits): the kernel runs in ring 3, and everything privileged is asked for. Page tables
 * hold machine frames and are changed by hypercall; the interrupt flag is a byte in memory; exceptions, system calls and
 * events come to addresses that Xen was told. What is not the processor's is as in `xen.ts`.
 */
import type { Builder } from '../builder.ts'
import { MAX_CPUS, SPARE, Vector, WINDOW } from '../layout.ts'
import type { Backend } from './backend.ts'
import { tscFrequency } from './pvclock.ts'
import { call, places, UPCALL, xen } from './xen.ts'

const SET_TRAP_TABLE = 0
const MMU_UPDATE = 1
const SET_GDT = 2
const STACK_SWITCH = 3
const SET_CALLBACKS = 4
const UPDATE_VA_MAPPING = 14
const XEN_VERSION = 17
const IRET = 23
const VCPU_OP = 24
const MMUEXT_OP = 26
const SCHED_OP = 29
const EVENT_CHANNEL_OP = 32

const SELF = 0x7ff0
/** Selectors of Xen's own table: flat code and data of ring 3. */
const KERNEL_CS = 0xe033
const KERNEL_SS = 0xe02b
const USER_CS = 0x2b
const USER_DS = 0x23

/** mmuext_op. */
const Mmuext = { PIN_L1: 0, UNPIN: 4, FLUSH: 6, INVLPG: 7, INVLPG_MULTI: 9, NEW_USER_BASEPTR: 15 } as const

const VECTORS = 256
const ENTRIES = 9

/** vcpu_guest_context: what of it matters here. */
const Context = {
  BYTES: 5168,
  FLAGS: 512,
  RIP: 648,
  CS: 656,
  RFLAGS: 664,
  RSP: 672,
  SS: 680,
  TRAPS: 720,
  GDT_FRAMES: 4832,
  GDT_ENTRIES: 4960,
  KERNEL_SS: 4968,
  KERNEL_SP: 4976,
  CR3: 5008,
  EVENT: 5112,
  FAILSAFE: 5120,
  SYSCALL: 5128,
} as const
/** VGCF_in_kernel. */
const IN_KERNEL = 4

const ops: Readonly<Record<string, string | undefined>> = {
  'init.arch_setup': 'xenpv.arch_setup',
  'time.time_init': 'xenpv.time_init',
  'cpu.load_gdt': 'xenpv.load_gdt',
  'cpu.load_idt': undefined,
  'cpu.load_tr_desc': undefined,
  'cpu.write_gdt_entry': undefined,
  'cpu.write_idt_entry': 'xenpv.write_idt_entry',
  'cpu.load_sp0': 'xenpv.load_sp0',
  'cpu.write_msr': 'xenpv.write_msr',
  'cpu.iret': 'xenpv.iret',
  'cpu.swapgs': undefined,
  'cpu.usergs_sysret64': 'xenpv.sysret',
  'irq.save_fl': 'xenpv.save_fl',
  'irq.restore_fl': 'xenpv.restore_fl',
  'irq.irq_disable': 'xenpv.irq_disable',
  'irq.irq_enable': 'xenpv.irq_enable',
  'irq.safe_halt': 'xenpv.safe_halt',
  'irq.halt': 'xenpv.safe_halt',
  'apic.apic_read': 'xenpv.apic_read',
  'apic.apic_write': undefined,
  'apic.eoi': undefined,
  'apic.send_ipi': 'xenpv.send_ipi',
  'apic.setup_boot_clock': 'xenpv.setup_clock',
  'apic.setup_secondary_clock': 'xenpv.setup_clock',
  'apic.startup_ipi': 'xenpv.startup_ipi',
  'mmu.read_cr2': 'xenpv.read_cr2',
  'mmu.set_pte': 'xenpv.set_pte',
  'mmu.set_pmd': 'xenpv.set_pte',
  'mmu.alloc_pte': 'xenpv.alloc_pte',
  'mmu.release_pte': 'xenpv.release_pte',
  'mmu.flush_tlb_user': 'xenpv.flush_tlb',
  'mmu.flush_tlb_kernel': 'xenpv.flush_tlb',
  'mmu.flush_tlb_single': 'xenpv.flush_tlb_single',
  'mmu.flush_tlb_others': 'xenpv.flush_tlb_others',
}

/** One command of mmuext_op, made by the code before in xenpv.mmuext. */
const mmuext = (k: Builder) => call(k, MMUEXT_OP, 'xenpv.mmuext', 1, 0, SELF)

/** The page at this label is only read from now on, as page tables and descriptor tables must be. */
const readOnly = (label: string) => `mov rax, ${label}\n  mov edx, 1\n  call xenpv.protect`

export const xenPv: Backend = {
  name: 'xenpv',
  title: 'Xen',
  bits: 64,
  overrides: (k) => [
    ...xen.overrides(k).filter(({ op }) => !(op in ops)),
    ...Object.entries(ops).map(([op, to]) => ({ op, to })),
  ],
  code: (k) => {
    const at = places(k)
    return `
; Where Xen starts a paravirtual guest: RSI start_info.
xenpv.start:
  mov [xenpv.start_info], rsi
  mov byte ptr [xenpv.present], 1
  lea eax, [rsi+128]
  mov [command_line], eax
  jmp main

xenpv.probe:
  mov al, [xenpv.present]
  ret

; RAX page frame; RAX the machine's.
xenpv.machine:
  push rdx
  mov rdx, [xenpv.start_info]
  mov rdx, [rdx+104]
  mov rax, [rdx+rax*8]
  pop rdx
  ret

; RAX a page-table entry with a page frame; with the machine's.
xenpv.entry:
  test al, 1
  je .xenpv_absent
  push rdx
  mov rdx, rax
  and edx, 0xfff
  shr rax, 12
  call xenpv.machine
  shl rax, 12
  or rax, rdx
  pop rdx
.xenpv_absent:
  ret

; The page at RAX is mapped where it is, with flags EDX.
xenpv.protect:
  push rbx
  mov rbx, rax
  or rax, rdx
  call xenpv.entry
  ${call(k, UPDATE_VA_MAPPING, 'rbx', 'rax', 2)}
  pop rbx
  ret

xenpv.arch_setup:
  push rbx
  push rsi
  push rdi
  mov rbx, [xenpv.start_info]
  mov rax, [rbx+40]                     ; shared page: a machine address
  or rax, 3
  ${call(k, UPDATE_VA_MAPPING, 'xen.shared', 'rax', 2)}
  mov eax, [rbx+80]
  mov [xen.console_port], eax
  mov rax, [rbx+72]                     ; the console's page: look for its machine frame
  mov rdx, [rbx+104]
  xor ecx, ecx
.xenpv_find:
  cmp [rdx+rcx*8], rax
  je .xenpv_found
  inc ecx
  jmp .xenpv_find
.xenpv_found:
  shl ecx, 12
  mov [xen.console], ecx
  ${call(k, SET_CALLBACKS, 'xenpv.event', 'xenpv.failsafe', 'xenpv.syscall')}

  ; Tables for the programme's pages and for spare memory, in the level 2 table that Xen made.
  mov rdi, spare_table
  mov esi, ${SPARE >> 12}
.xenpv_spare:
  mov rax, rsi
  shl rax, 12
  or rax, 7
  call xenpv.entry
  mov [rdi], rax
  add rdi, 8
  inc esi
  cmp esi, ${(SPARE >> 12) + 512}
  jne .xenpv_spare
  ${readOnly('spare_table')}
  ${readOnly('window_table')}
  mov rax, [rbx+88]                     ; level 4, 3, 2
  call xenpv.below
  call xenpv.below
  mov rdi, rax
  lea rax, [rdi+${(SPARE >> 21) * 8}]
  mov rdx, spare_table+7
  call xenpv.set_pte
  lea rax, [rdi+${(WINDOW >> 21) * 8}]
  mov rdx, window_table+7
  call xenpv.set_pte
  lea rax, [rdi+${((WINDOW >> 21) + 1) * 8}]
  mov [window_pde], rax

  ; User mode has page tables of its own, with the programme's pages only.
  mov rax, window_table+7
  call xenpv.entry
  mov [xenpv.user_l2+${(WINDOW >> 21) * 8}], rax
  mov rax, xenpv.user_l2+7
  call xenpv.entry
  mov [xenpv.user_l3], rax
  mov rax, xenpv.user_l3+7
  call xenpv.entry
  mov [xenpv.user_l4], rax
  ${readOnly('xenpv.user_l2')}
  ${readOnly('xenpv.user_l3')}
  ${readOnly('xenpv.user_l4')}
  call xenpv.use_user_tables
  pop rdi
  pop rsi
  pop rbx
  ret

xenpv.use_user_tables:
  mov eax, xenpv.user_l4
  shr eax, 12
  call xenpv.machine
  mov dword ptr [xenpv.mmuext], ${Mmuext.NEW_USER_BASEPTR}
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

; RAX a table; RAX what its first entry leads to. Machine frame to page frame by Xen's own list.
xenpv.below:
  mov rax, [rax]
  mov rdx, 0xffffffffff000
  and rax, rdx
  shr rax, 12
  mov rdx, 0xffff800000000000
  mov rax, [rdx+rax*8]
  shl rax, 12
  ret

xenpv.time_init:
${tscFrequency('xenpv', `xen.shared+${at.time}`)}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret

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
  ${readOnly('xenpv.gdt')}
.xenpv_have_gdt:
  mov eax, xenpv.gdt
  shr eax, 12
  call xenpv.machine
  mov [xenpv.gdt_frame], rax
  ${call(k, SET_GDT, 'xenpv.gdt_frame', ENTRIES)}
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
  mov [rdx+xenpv.context+${Context.TRAPS}], rcx
  mov [rdx+xenpv.context+${Context.TRAPS + 8}], rax
  ${call(k, SET_TRAP_TABLE, 'xenpv.trap')}
  ret

xenpv.load_sp0:
  ${call(k, STACK_SWITCH, KERNEL_SS, 'rdx')}
  ret

xenpv.write_msr:                        ; how system calls arrive is Xen's business
  cmp eax, 0xc0000081
  jb native.write_msr
  cmp eax, 0xc0000084
  ja native.write_msr
  ret

xenpv.iret:                             ; flags in front of the frame; the page's code adds RCX, R11 and RAX
  push 0
  jmp xen.page+${32 * IRET}

; Back from a system call: RCX where, R11 flags, on the user's stack.
xenpv.sysret:
  mov [user_sp], rsp
  mov rsp, fast_stack_end
  push ${USER_DS}
  push qword ptr [user_sp]
  push r11
  push ${USER_CS}
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

xenpv.save_fl:
  call cpu_number
  shl eax, 6
  cmp byte ptr [rax+xen.shared+1], 0
  sete al
  movzx eax, al
  shl eax, 9
  ret

xenpv.restore_fl:
  test eax, 0x200
  jne xenpv.irq_enable

xenpv.irq_disable:
  push rax
  call cpu_number
  shl eax, 6
  mov byte ptr [rax+xen.shared+1], 1
  pop rax
  ret

xenpv.irq_enable:                       ; what waits comes with the next hypercall
  push rax
  call cpu_number
  shl eax, 6
  mov byte ptr [rax+xen.shared+1], 0
  cmp byte ptr [rax+xen.shared], 0
  je .xenpv_enabled
  push rdx
  ${call(k, XEN_VERSION, 0, 0)}
  pop rdx
.xenpv_enabled:
  pop rax
  ret

xenpv.safe_halt:                        ; SCHEDOP_block, which lets events in
  ${call(k, SCHED_OP, 1, 0)}
  ret

xenpv.apic_read:
  xor eax, eax
  ret

xenpv.setup_clock:                      ; and channels for interrupts of other CPUs
  call xen.setup_channels
  mov rax, xenpv.upcall
  mov [handlers+${UPCALL * 8}], rax
  push rbx
  call cpu_number
  mov ebx, eax
  test ebx, ebx
  je .xenpv_boot_cpu
  call xenpv.use_user_tables
.xenpv_boot_cpu:
  mov [xen.bind], ebx
  ${call(k, EVENT_CHANNEL_OP, 7, 'xen.bind')}
  mov eax, [xen.bind+4]
  mov [xenpv.call_ports+rbx*4], eax
  mov [xen.bind], ebx
  ${call(k, EVENT_CHANNEL_OP, 7, 'xen.bind')}
  mov eax, [xen.bind+4]
  mov [xenpv.wake_ports+rbx*4], eax
  pop rbx
  ret

xenpv.upcall:
  call xen.upcall
  call cpu_number
  mov ecx, [xenpv.wake_ports+rax*4]
  lock btr dword ptr [xen.shared+${at.pending}], ecx
  mov ecx, [xenpv.call_ports+rax*4]
  lock btr dword ptr [xen.shared+${at.pending}], ecx
  jnc .xenpv_no_call
  lock inc dword ptr [calls_heard]
.xenpv_no_call:
  ret

xenpv.send_ipi:
  cmp edx, ${Vector.CALL}
  lea rax, [rax*4]
  mov rdx, xenpv.call_ports
  je .xenpv_send
  mov rdx, xenpv.wake_ports
.xenpv_send:
  add rax, rdx
  ${call(k, EVENT_CHANNEL_OP, 4, 'rax')}
  ret

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
  mov dword ptr [xenpv.context+${Context.GDT_ENTRIES}], ${ENTRIES}
  ${k.op('mmu.read_cr3')}
  mov [xenpv.context+${Context.CR3}], rax
  mov rax, xenpv.event
  mov [xenpv.context+${Context.EVENT}], rax
  mov rax, xenpv.failsafe
  mov [xenpv.context+${Context.FAILSAFE}], rax
  mov rax, xenpv.syscall
  mov [xenpv.context+${Context.SYSCALL}], rax
  ${call(k, VCPU_OP, 0, 'rbx', 'xenpv.context')}
  ${call(k, VCPU_OP, 1, 'rbx', 0)}
  pop rbx
  ret

xenpv.read_cr2:
  call cpu_number
  shl eax, 6
  mov rax, [rax+xen.shared+16]
  ret

xenpv.set_pte:                          ; RAX where, RDX what: both with the machine's frames
  push rbx
  push rax
  shr rax, 12
  call xenpv.machine
  shl rax, 12
  pop rbx
  and ebx, 0xfff
  or rax, rbx
  mov [xenpv.update], rax
  mov rax, rdx
  call xenpv.entry
  mov [xenpv.update+8], rax
  ${call(k, MMU_UPDATE, 'xenpv.update', 1, 0, SELF)}
  pop rbx
  ret

xenpv.alloc_pte:                        ; only read, and known as a page table
  push rax
  mov edx, 1
  call xenpv.protect
  pop rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.PIN_L1}
  jmp xenpv.pin

xenpv.release_pte:
  push rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.UNPIN}
  call xenpv.pin
  pop rax
  mov edx, 3
  jmp xenpv.protect

xenpv.pin:
  shr rax, 12
  call xenpv.machine
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

xenpv.flush_tlb:
  mov dword ptr [xenpv.mmuext], ${Mmuext.FLUSH}
  ${mmuext(k)}
  ret

xenpv.flush_tlb_single:
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG}
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

xenpv.flush_tlb_others:
  mov ecx, eax
  mov eax, 1
  shl rax, cl
  mov [xenpv.cpus], rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG_MULTI}
  mov [xenpv.mmuext+8], rdx
  mov rax, xenpv.cpus
  mov [xenpv.mmuext+16], rax
  ${mmuext(k)}
  ret

xenpv.present: db 0
align 8
xenpv.features: dd 0
align 8
xenpv.start_info: dq 0
xenpv.gdt_frame: dq 0
xenpv.cpus: dq 0
xenpv.update: dq 0, 0
xenpv.mmuext: dq 0, 0, 0
xenpv.trap: db 0, 0
  dw ${KERNEL_CS}
  dd 0
  dq 0, 0, 0
xenpv.call_ports: zero ${4 * MAX_CPUS}
xenpv.wake_ports: zero ${4 * MAX_CPUS}
align 16
xenpv.context: zero ${Context.BYTES}
align 4096
xenpv.gdt: zero 4096
xenpv.user_l4: zero 4096
xenpv.user_l3: zero 4096
xenpv.user_l2: zero 4096
spare_table: zero 4096
`
  },
}

/**
 * lguest (32 bits): the kernel runs in ring 1 and asks by INT 0x1F, at once or through a ring of calls that wait. The
 * interrupt flag and CR2 are words that it shares with the host; its page tables are read by the host, which must be
 * told of every change; interrupts come by vectors from 32 on. There is one CPU, and no SYSENTER.
 */
import type { Builder } from '../builder.ts'
import { Selector, Vector, WINDOW } from '../layout.ts'
import type { Backend, Override } from './backend.ts'

/** LHCALL_*. */
const Call = {
  FLUSH_ASYNC: 0,
  LGUEST_INIT: 1,
  SHUTDOWN: 2,
  NEW_PGTABLE: 4,
  FLUSH_TLB: 5,
  LOAD_IDT_ENTRY: 6,
  SET_STACK: 7,
  TS: 8,
  SET_CLOCKEVENT: 9,
  HALT: 10,
  SET_PMD: 13,
  SET_PTE: 14,
  NOTIFY: 17,
  LOAD_GDT_ENTRY: 18,
  SEND_INTERRUPTS: 19,
} as const
const INT = 'int 0x1f'
const RING = 64

/** struct lguest_data, at lguest.data. */
const Data = {
  IRQ_ENABLED: 0,
  BLOCKED: 4,
  CR2: 8,
  TIME: 12,
  IRQ_PENDING: 20,
  STATUS: 24,
  CALLS: 24 + RING,
  TSC_KHZ: 28 + 21 * RING,
  PGDIR: 32 + 21 * RING,
} as const
const at = (field: keyof typeof Data) => `[lguest.data+${Data[field]}]`

/** The host's segments for a kernel in ring 1. */
const KERNEL_SS = 0x69
const TIMER_VECTOR = 32
/** Where boot_params has the command line; ESI points to them. */
const CMD_LINE_PTR = 0x228
/** CR0 as it is. */
const CR0 = 0x80010033
/** A descriptor that nobody else uses: the base of FS. */
const FS_ENTRY = 9
const MSR_FS_BASE = 0xc0000100
const POWEROFF = 1
const LONGEST_TEXT = 256
/** Of a gate's high word: for ring 1, for ring 3; a trap gate instead of an interrupt gate. */
const DPL1 = 0x2000
const TRAP = 0x100
/** CPUID 1 EDX. */
const SEP = 0x800

const functions = [
  'init.arch_setup',
  'init.console_write',
  'init.power_off',
  'time.time_init',
  'time.get_wallclock',
  'time.set_next_event',
  'cpu.load_gdt',
  'cpu.write_gdt_entry',
  'cpu.write_idt_entry',
  'cpu.load_sp0',
  'cpu.read_cr0',
  'cpu.write_cr0',
  'cpu.clts',
  'cpu.read_cr4',
  'cpu.cpuid',
  'cpu.read_msr',
  'cpu.write_msr',
  'cpu.iret',
  'irq.save_fl',
  'irq.restore_fl',
  'irq.irq_disable',
  'irq.irq_enable',
  'irq.safe_halt',
  'irq.halt',
  'apic.apic_read',
  'apic.setup_boot_clock',
  'mmu.read_cr2',
  'mmu.read_cr3',
  'mmu.write_cr3',
  'mmu.flush_tlb_user',
  'mmu.flush_tlb_kernel',
  'mmu.flush_tlb_single',
  'mmu.set_pte',
  'mmu.set_pmd',
  'mmu.enter_lazy_mode',
  'mmu.leave_lazy_mode',
]
const nothing = [
  'cpu.load_idt',
  'cpu.load_tr_desc',
  'cpu.wbinvd',
  'cpu.io_delay',
  'irq.init_IRQ',
  'apic.apic_write',
  'apic.eoi',
  'apic.send_ipi',
  'apic.setup_secondary_clock',
  'apic.startup_ipi',
  'mmu.flush_tlb_others',
]

/** A hypercall with what is in EBX, ECX, EDX and ESI; lazy ones may wait until the lazy mode is left. */
const call = (number: number) => `mov eax, ${number}\n  ${INT}`
const lazy = (number: number) => `mov eax, ${number}\n  call lguest.lazy_call`

export const lguest: Backend = {
  name: 'lguest',
  title: 'lguest',
  bits: 32,
  overrides: (): readonly Override[] => [
    ...functions.map((op) => ({ op, to: `lguest.${op.split('.')[1]}` })),
    ...nothing.map((op) => ({ op, to: undefined })),
  ],
  code: (k: Builder) => `
; Where the Launcher starts a guest: ESI boot_params, ring 1, paging, all memory mapped where it is.
lguest.start:
  cld
  mov esp, stacks+8192
  mov eax, [esi+${CMD_LINE_PTR}]
  mov [command_line], eax
  mov byte ptr [lguest.present], 1
  mov ebx, lguest.data
  ${call(Call.LGUEST_INIT)}
  jmp main

lguest.probe:
  mov al, [lguest.present]
  ret

; What is queued waits for the next hypercall that does not: EAX number, EBX, ECX, EDX, ESI arguments.
lguest.lazy_call:
  cmp byte ptr [lguest.lazy], 0
  je .lguest_now
  push edi
  mov edi, [lguest.next]
  cmp byte ptr [lguest.data+edi+${Data.STATUS}], 0xff
  jne .lguest_full
  push ebp
  imul ebp, edi, 20
  mov [lguest.data+ebp+${Data.CALLS}], eax
  mov [lguest.data+ebp+${Data.CALLS + 4}], ebx
  mov [lguest.data+ebp+${Data.CALLS + 8}], ecx
  mov [lguest.data+ebp+${Data.CALLS + 12}], edx
  mov [lguest.data+ebp+${Data.CALLS + 16}], esi
  mov byte ptr [lguest.data+edi+${Data.STATUS}], 0
  inc edi
  and edi, ${RING - 1}
  mov [lguest.next], edi
  pop ebp
  pop edi
  ret
.lguest_full:
  pop edi
.lguest_now:
  ${INT}
  ret

lguest.arch_setup:                      ; the programme's page table, and no user mode in other pages
  push ebx
  push esi
  push edi
  mov eax, ${at('PGDIR')}
  mov ebx, [eax]
  and ebx, -4096                        ; middle table
  mov edi, ebx
.lguest_table:
  mov esi, [edi]
  and esi, -4096
  je .lguest_mapped
  mov ecx, 512
.lguest_page:
  and dword ptr [esi], -5
  add esi, 8
  dec ecx
  jne .lguest_page
  add edi, 8
  jmp .lguest_table
.lguest_mapped:
  mov dword ptr [ebx+${(WINDOW >> 21) * 8}], window_table+7
  lea eax, [ebx+${((WINDOW >> 21) + 1) * 8}]
  mov [window_pde], eax
  mov ecx, ${WINDOW >> 21}
  ${call(Call.SET_PMD)}
  pop edi
  pop esi
  pop ebx
  ret

lguest.console_write:                   ; text that ends with 0, for the Launcher
  push ebx
  push esi
  push edi
  mov esi, eax
.lguest_text:
  mov ecx, edx
  cmp ecx, ${LONGEST_TEXT}
  jbe .lguest_fits
  mov ecx, ${LONGEST_TEXT}
.lguest_fits:
  sub edx, ecx
  mov edi, lguest.text
  rep movsb
  mov byte ptr [edi], 0
  mov ebx, lguest.text
  ${call(Call.NOTIFY)}
  test edx, edx
  jne .lguest_text
  pop edi
  pop esi
  pop ebx
  ret

lguest.power_off:
  mov ebx, ${k.string('Power down')}
  mov ecx, ${POWEROFF}
  ${call(Call.SHUTDOWN)}

lguest.time_init:
  mov eax, ${at('TSC_KHZ')}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret

lguest.get_wallclock:
  mov eax, ${at('TIME')}
  ret

lguest.set_next_event:
  push ebx
  mov ebx, eax
  ${call(Call.SET_CLOCKEVENT)}
  pop ebx
  ret

lguest.load_gdt:                        ; every descriptor of the table
  push ebx
  push esi
  push edi
  movzx edi, word ptr [eax]
  mov esi, [eax+2]
  inc edi
  shr edi, 3
  xor ebx, ebx
.lguest_descriptor:
  mov ecx, [esi+ebx*8]
  mov edx, [esi+ebx*8+4]
  ${call(Call.LOAD_GDT_ENTRY)}
  inc ebx
  cmp ebx, edi
  jb .lguest_descriptor
  mov eax, ${Selector.USER_DS}
  mov ds, eax
  mov es, eax
  pop edi
  pop esi
  pop ebx
  ret

lguest.write_gdt_entry:
  push ebx
  mov ebx, edx
  shr ebx, 3
  mov edx, [ecx+4]
  mov ecx, [ecx]
  ${call(Call.LOAD_GDT_ENTRY)}
  pop ebx
  ret

lguest.write_idt_entry:                 ; system calls by a trap gate, which the processor takes by itself
  push ebx
  mov ebx, edx
  mov edx, [ecx+4]
  mov ecx, [ecx]
  or edx, ${DPL1}
  cmp ebx, ${Vector.SYSTEM_CALL}
  jne .lguest_gate
  or edx, ${TRAP}
.lguest_gate:
  ${call(Call.LOAD_IDT_ENTRY)}
  pop ebx
  ret

lguest.load_sp0:
  push ebx
  mov ebx, ${KERNEL_SS}
  mov ecx, edx
  mov edx, 1
  ${call(Call.SET_STACK)}
  pop ebx
  ret

lguest.read_cr0:
  mov eax, [lguest.cr0]
  ret

lguest.write_cr0:
  mov [lguest.cr0], eax
  and eax, 8
  push ebx
  mov ebx, eax
  ${lazy(Call.TS)}
  pop ebx
  ret

lguest.clts:
  and dword ptr [lguest.cr0], -9
  push ebx
  xor ebx, ebx
  ${lazy(Call.TS)}
  pop ebx
  ret

lguest.read_cr4:
  xor eax, eax
  ret

lguest.cpuid:                           ; the processor's, without SYSENTER
  push eax
  push edx
  call native.cpuid
  pop edx
  pop eax
  cmp eax, 1
  jne .lguest_leaf
  and dword ptr [edx+12], ${~SEP}
.lguest_leaf:
  ret

lguest.read_msr:
  cmp eax, ${MSR_FS_BASE}
  jne native.read_msr
  mov eax, [lguest.fs_base]
  xor edx, edx
  ret

lguest.write_msr:                       ; the base of FS is a descriptor's
  cmp eax, ${MSR_FS_BASE}
  jne native.write_msr
  push ebx
  mov [lguest.fs_base], edx
  mov ecx, edx
  shl ecx, 16
  or ecx, 0xffff
  mov ebx, edx
  and ebx, 0xff000000
  shr edx, 16
  and edx, 0xff
  or edx, ebx
  or edx, 0x00cf9300
  mov ebx, ${FS_ENTRY}
  ${call(Call.LOAD_GDT_ENTRY)}
  mov eax, ${FS_ENTRY * 8 + 1}
  mov fs, eax
  pop ebx
  ret

lguest.iret:                            ; the flag before the rest: no interrupt may come between
  push eax
  mov eax, [esp+12]
  and eax, 0x200
lguest.noirq_start:
  mov ${at('IRQ_ENABLED')}, eax
  pop eax
  xiret
lguest.noirq_end:

lguest.save_fl:
  mov eax, ${at('IRQ_ENABLED')}
  ret

lguest.irq_disable:
  mov dword ptr ${at('IRQ_ENABLED')}, 0
  ret

lguest.restore_fl:
  test eax, 0x200
  je lguest.irq_disable

lguest.irq_enable:                      ; what waits comes now
  mov dword ptr ${at('IRQ_ENABLED')}, 0x200
  cmp dword ptr ${at('IRQ_PENDING')}, 0
  je .lguest_none_waits
  push eax
  ${call(Call.SEND_INTERRUPTS)}
  pop eax
.lguest_none_waits:
  ret

lguest.safe_halt:
lguest.halt:
  ${call(Call.HALT)}
  ret

lguest.apic_read:
  xor eax, eax
  ret

lguest.setup_boot_clock:
  mov eax, timer_interrupt
  mov [handlers+${TIMER_VECTOR * 4}], eax
  and dword ptr ${at('BLOCKED')}, -2
  ret

lguest.read_cr2:
  mov eax, ${at('CR2')}
  ret

lguest.read_cr3:
  mov eax, ${at('PGDIR')}
  ret

lguest.write_cr3:
  mov ${at('PGDIR')}, eax
  push ebx
  mov ebx, eax
  ${lazy(Call.NEW_PGTABLE)}
  pop ebx
  ret

lguest.flush_tlb_user:
  push ebx
  xor ebx, ebx
  ${lazy(Call.FLUSH_TLB)}
  pop ebx
  ret

lguest.flush_tlb_kernel:
  push ebx
  mov ebx, 1
  ${lazy(Call.FLUSH_TLB)}
  pop ebx
  ret

lguest.flush_tlb_single:                ; as if the page were gone: it comes back with the next fault
  push ebx
  push esi
  mov ebx, ${at('PGDIR')}
  mov ecx, eax
  xor edx, edx
  xor esi, esi
  ${lazy(Call.SET_PTE)}
  pop esi
  pop ebx
  ret

lguest.set_pte:                         ; whose page it is can be told for the programme's; else all is forgotten
  mov [eax+4], ecx
  mov [eax], edx
  push ebx
  push esi
  sub eax, window_table
  cmp eax, 4096
  jae .lguest_elsewhere
  shl eax, 9
  mov ebx, ${at('PGDIR')}
  mov esi, ecx
  lea ecx, [eax+${WINDOW}]
  ${lazy(Call.SET_PTE)}
  pop esi
  pop ebx
  ret
.lguest_elsewhere:
  mov ebx, 1
  ${lazy(Call.FLUSH_TLB)}
  pop esi
  pop ebx
  ret

lguest.set_pmd:
  mov [eax+4], ecx
  mov [eax], edx
  push ebx
  mov ebx, eax
  mov ecx, eax
  and ebx, -4096
  and ecx, 0xfff
  shr ecx, 3
  ${lazy(Call.SET_PMD)}
  pop ebx
  ret

lguest.enter_lazy_mode:
  mov byte ptr [lguest.lazy], 1
  ret

lguest.leave_lazy_mode:
  mov byte ptr [lguest.lazy], 0
  ${call(Call.FLUSH_ASYNC)}
  ret

align 4
lguest.features: dd 0
lguest.next: dd 0
lguest.fs_base: dd 0
lguest.cr0: dd ${CR0}
lguest.present: db 0
lguest.lazy: db 0
lguest.text: zero ${LONGEST_TEXT + 1}
align 4
; struct lguest_data: flag, blocked interrupts, CR2, time, pending; status of the ring, and the ring
lguest.data: dd 0, -1, 0, 0, 0, 0
  ${Array.from({ length: RING / 4 }, () => 'dd -1').join('\n  ')}
  zero ${20 * RING}
; reserved memory, TSC, page tables; from us: where no interrupt may come, the kernel's addresses, the system call
  dd 0, 0, 0, lguest.noirq_start, lguest.noirq_end, 0xc0000000, ${Vector.SYSTEM_CALL}
`,
}

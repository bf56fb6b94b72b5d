/**
 * VMI, the second of the two interfaces that paravirt_ops was made for: the hypervisor's functions are code in a ROM. The
 * kernel asks for each one's address; where there is none it stays native (VMware, Paravirtualization API 3.0). 32 bits.
 */
import type { Builder } from '../builder.ts'
import { Selector, STACK, TSS_SP0 } from '../layout.ts'
import type { Backend, Override } from './backend.ts'

const SIGNATURE = 0x696d5663
const LAST_CALL = 73

/** Numbers of calls. */
const Call = {
  CPUID: 0,
  SetGDT: 3,
  SetIDT: 5,
  SetTR: 6,
  WriteGDTEntry: 11,
  WriteIDTEntry: 13,
  UpdateKernelStack: 14,
  SetCR0: 15,
  SetCR3: 17,
  GetCR0: 19,
  GetCR2: 20,
  GetCR3: 21,
  GetCR4: 22,
  WBINVD: 23,
  RDTSC: 27,
  CLTS: 28,
  EnableInterrupts: 29,
  DisableInterrupts: 30,
  GetInterruptMask: 31,
  SetInterruptMask: 32,
  IRET: 33,
  SYSEXIT: 34,
  Halt: 35,
  SetPxELong: 39,
  AllocatePage: 44,
  ReleasePage: 45,
  InvalPage: 46,
  FlushTLB: 47,
  SetLinearMapping: 48,
  SetInitialAPState: 62,
  APICWrite: 63,
  APICRead: 64,
  IODelay: 65,
  GetCycleFrequency: 66,
  GetCycleCounter: 67,
  SetAlarm: 68,
  GetWallclockTime: 70,
  SetLazyMode: 73,
} as const

/** Calls that are what the operation wants: their addresses go into the table. */
const direct: Readonly<Record<string, number>> = {
  'cpu.load_gdt': Call.SetGDT,
  'cpu.load_idt': Call.SetIDT,
  'cpu.write_cr0': Call.SetCR0,
  'cpu.clts': Call.CLTS,
  'cpu.wbinvd': Call.WBINVD,
  'cpu.read_tsc': Call.RDTSC,
  'cpu.io_delay': Call.IODelay,
  'cpu.irq_enable_sysexit': Call.SYSEXIT,
  'irq.save_fl': Call.GetInterruptMask,
  'irq.restore_fl': Call.SetInterruptMask,
  'irq.irq_disable': Call.DisableInterrupts,
  'irq.irq_enable': Call.EnableInterrupts,
  'irq.safe_halt': Call.Halt,
  'apic.apic_read': Call.APICRead,
  'apic.apic_write': Call.APICWrite,
  'mmu.write_cr3': Call.SetCR3,
  'mmu.flush_tlb_single': Call.InvalPage,
}

/** Calls whose arguments must be put in order first. */
const wrapped: Readonly<Record<string, number>> = {
  'cpu.cpuid': Call.CPUID,
  'cpu.load_tr_desc': Call.SetTR,
  'cpu.write_gdt_entry': Call.WriteGDTEntry,
  'cpu.write_idt_entry': Call.WriteIDTEntry,
  'cpu.load_sp0': Call.UpdateKernelStack,
  'cpu.read_cr0': Call.GetCR0,
  'cpu.read_cr4': Call.GetCR4,
  'cpu.iret': Call.IRET,
  'apic.eoi': Call.APICWrite,
  'apic.startup_ipi': Call.SetInitialAPState,
  'mmu.read_cr2': Call.GetCR2,
  'mmu.read_cr3': Call.GetCR3,
  'mmu.set_pte': Call.SetPxELong,
  'mmu.set_pmd': Call.SetPxELong,
  'mmu.alloc_pte': Call.AllocatePage,
  'mmu.release_pte': Call.ReleasePage,
  'mmu.flush_tlb_user': Call.FlushTLB,
  'mmu.flush_tlb_kernel': Call.FlushTLB,
  'mmu.enter_lazy_mode': Call.SetLazyMode,
  'mmu.leave_lazy_mode': Call.SetLazyMode,
  'time.time_init': Call.GetCycleFrequency,
  'time.sched_clock': Call.GetCycleCounter,
  'time.steal_clock': Call.GetCycleCounter,
  'time.get_wallclock': Call.GetWallclockTime,
  'time.set_next_event': Call.SetAlarm,
}

const pointer = (call: number) => `dword ptr [vmi.calls+${4 * call}]`
const bit = (call: number): readonly [word: number, bit: number] => [call >> 5, call & 31]

/** Page-table levels and kinds, as the calls want to be told. */
const PT = 1
const PD = 2
const NEW_PT = 0x51
const COUNTER = { REAL: 0, STOLEN: 2 } as const
/** SetAlarm: one-shot, by the real counter, told by the local APIC's timer vector. */
const LVTT = 0x10000

/** An operation that keeps all registers but EAX. */
const keeping = (label: string, call: number) => `
vmi.${label}:
  push ecx
  push edx
  call ${pointer(call)}
  pop edx
  pop ecx
  ret
`

const setEntry = (label: string, level: number) => `
vmi.${label}:                           ; EAX low, EDX high, ECX where, level on the stack
  xchg eax, ecx
  xchg eax, edx
  push ${level}
  call ${pointer(Call.SetPxELong)}
  add esp, 4
  ret
`

const writeEntry = (label: string, call: number, shift: string) => `
vmi.${label}:                           ; EAX table, EDX index, ECX low, high on the stack
  ${shift}
  push dword ptr [ecx+4]
  mov ecx, [ecx]
  call ${pointer(call)}
  add esp, 4
  ret
`

export const vmi: Backend = {
  name: 'vmi',
  title: 'vmi',
  bits: 32,
  overrides: (): readonly Override[] =>
    Object.entries(wrapped).map(([op, call]) => ({ op, to: `vmi.${op.split('.')[1]}`, needs: bit(call) })),
  code: (k: Builder) => `
vmi.probe:                              ; a ROM at a multiple of 2 KiB
  push ebx
  push esi
  push edi
  mov ebx, 0xc0000
.vmi_rom:
  cmp word ptr [ebx], 0xaa55
  jne .vmi_next
  cmp dword ptr [ebx+8], ${SIGNATURE}
  jne .vmi_next
  cmp byte ptr [ebx+13], 3
  jne .vmi_next
  movzx eax, word ptr [ebx+22]          ; its licence
  cmp dword ptr [ebx+eax], 0x204c5047   ; "GPL "
  je .vmi_found
.vmi_next:
  add ebx, 2048
  cmp ebx, 0xe0000
  jne .vmi_rom
  mov al, 0
  jmp .vmi_end
.vmi_found:
  lea eax, [ebx+0x80]
  call eax
  test eax, eax
  mov al, 0
  jne .vmi_end
  xor esi, esi                          ; GetRelocationInfo of every call
  add ebx, 0x88
.vmi_call:
  mov eax, esi
  call ebx
  cmp dl, 0
  je .vmi_none
  bts dword ptr [vmi.features], esi
  cmp dl, 3
  jne .vmi_known
  mov eax, pv_nothing
.vmi_known:
  mov [vmi.calls+esi*4], eax
.vmi_none:
  inc esi
  cmp esi, ${LAST_CALL}
  jbe .vmi_call
  mov esi, vmi.direct
.vmi_direct:
  mov ecx, [esi]
  cmp ecx, -1
  je .vmi_mapping
  mov edx, [esi+4]
  mov eax, [vmi.calls+ecx*4]
  test eax, eax
  je .vmi_stays
  mov [pv_ops+edx*4], eax
.vmi_stays:
  add esi, 8
  jmp .vmi_direct
.vmi_mapping:
  cmp ${pointer(Call.SetLinearMapping)}, 0
  je .vmi_ready
  push 0                                ; slot, address, pages, first page: the first GiB is where it is
  xor eax, eax
  xor edx, edx
  mov ecx, 0x40000
  call ${pointer(Call.SetLinearMapping)}
  add esp, 4
.vmi_ready:
  mov al, 1
.vmi_end:
  pop edi
  pop esi
  pop ebx
  ret
${keeping('read_cr0', Call.GetCR0)}${keeping('read_cr4', Call.GetCR4)}
${keeping('read_cr2', Call.GetCR2)}${keeping('read_cr3', Call.GetCR3)}
${setEntry('set_pte', PT)}${setEntry('set_pmd', PD)}
${writeEntry('write_gdt_entry', Call.WriteGDTEntry, 'shr edx, 3')}${writeEntry('write_idt_entry', Call.WriteIDTEntry, '')}
vmi.cpuid:
  push ebx
  push edi
  mov edi, edx
  xor ecx, ecx
  call ${pointer(Call.CPUID)}
  mov [edi], eax
  mov [edi+4], ebx
  mov [edi+8], ecx
  mov [edi+12], edx
  pop edi
  pop ebx
  ret

vmi.load_tr_desc:
  mov eax, ${Selector.TSS}
  jmp ${pointer(Call.SetTR)}

vmi.load_sp0:                           ; EAX the stack segment, EDX the stack
  mov [eax+${TSS_SP0}], edx
  mov eax, ${Selector.KERNEL_DS}
  jmp ${pointer(Call.UpdateKernelStack)}

vmi.iret:                               ; the frame is above the return address
  call ${pointer(Call.IRET)}

vmi.flush_tlb_user:
  mov eax, 1
  jmp ${pointer(Call.FlushTLB)}

vmi.flush_tlb_kernel:
  mov eax, 3
  jmp ${pointer(Call.FlushTLB)}

vmi.alloc_pte:                          ; EAX page, EDX what it becomes, not a copy of another
  shr eax, 12
  mov edx, ${NEW_PT}
  xor ecx, ecx
  push 0
  push 0
  call ${pointer(Call.AllocatePage)}
  add esp, 8
  ret

vmi.release_pte:
  shr eax, 12
  mov edx, ${NEW_PT}
  jmp ${pointer(Call.ReleasePage)}

vmi.enter_lazy_mode:
  mov eax, 1
  jmp ${pointer(Call.SetLazyMode)}

vmi.leave_lazy_mode:
  xor eax, eax
  jmp ${pointer(Call.SetLazyMode)}

vmi.eoi:
  mov eax, 0xb0
  xor edx, edx
  jmp ${pointer(Call.APICWrite)}

vmi.time_init:                          ; EDX:EAX Hz
  call native.time_init
  call ${pointer(Call.GetCycleFrequency)}
  mov ecx, 1000
  div ecx
  mov [tsc_khz], eax
  call set_tsc_scale
  ret

vmi.sched_clock:
  mov eax, ${COUNTER.REAL}
  call ${pointer(Call.GetCycleCounter)}
  jmp ticks_to_ns

vmi.steal_clock:
  mov eax, ${COUNTER.STOLEN}
  call ${pointer(Call.GetCycleCounter)}
  jmp ticks_to_ns

vmi.get_wallclock:                      ; EDX:EAX ns; the quotient has less than 32 bits
  call ${pointer(Call.GetWallclockTime)}
  mov ecx, 1000000000
  div ecx
  ret

vmi.set_next_event:                     ; EAX flags, ECX:EDX when, period on the stack
  mul dword ptr [tsc_khz]
  mov ecx, 1000000
  div ecx
  push ebx
  mov ebx, eax
  mov eax, ${COUNTER.REAL}
  call ${pointer(Call.GetCycleCounter)}
  add eax, ebx
  adc edx, 0
  mov ecx, edx
  mov edx, eax
  push 0
  push 0
  mov eax, ${LVTT}
  call ${pointer(Call.SetAlarm)}
  add esp, 8
  pop ebx
  ret

vmi.startup_ipi:                        ; INIT, the state in which it starts, start-up message
  push ebx
  push esi
  push edi
  mov ebx, eax
  mov edi, edx
  mov edx, eax
  shl edx, 24
  mov esi, edx
  mov eax, 0x310
  call ${pointer(Call.APICWrite)}
  mov edx, 0x4500
  mov eax, 0x300
  call ${pointer(Call.APICWrite)}
  ${k.op('cpu.read_cr0')}
  mov [vmi.state], eax
  ${k.op('mmu.read_cr3')}
  mov [vmi.state+8], eax
  ${k.op('cpu.read_cr4')}
  mov [vmi.state+12], eax
  mov dword ptr [vmi.state+24], secondary
  mov eax, [secondary_stack]
  mov [vmi.state+48], eax
  mov eax, vmi.state
  mov edx, ebx
  call ${pointer(Call.SetInitialAPState)}
  mov edx, esi
  mov eax, 0x310
  call ${pointer(Call.APICWrite)}
  lea edx, [edi+0x4600]
  mov eax, 0x300
  call ${pointer(Call.APICWrite)}
  pop edi
  pop esi
  pop ebx
  ret

align 4
vmi.features: dd 0, 0, 0
vmi.calls: zero ${4 * (LAST_CALL + 1)}
vmi.direct: ${Object.entries(direct)
    .map(([op, call]) => `dd ${call}, ${k.index(op)}`)
    .join('\n  ')}
  dd -1
; cr0 cr2 cr3 cr4, efer, eip eflags, general registers, cs ss ds es fs gs ldtr, gdtr, idtr
vmi.state: dd 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, stacks+${STACK}, 0, 0, 0
  dw ${Selector.KERNEL_CS}, ${Selector.KERNEL_DS}, ${Selector.USER_DS}, ${Selector.USER_DS}, 0, 0, 0
  dw gdt_end-gdt-1
  dd gdt, idt
  dw 0x7ff
`,
}

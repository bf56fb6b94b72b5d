/**
 * Bare hardware: each operation is an instruction or a few. What is no longer than a call site is copied over it by the
 * patcher (`inline`); the rest is called.
 */
import type { Builder } from '../builder.ts'
import { Selector, TSS_SP0, Vector } from '../layout.ts'

const APIC = 0xfee00000

/** Bodies without RET that may be copied over call sites. */
export function inlines({ long }: Builder): Readonly<Record<string, string>> {
  return {
    'cpu.read_cr0': 'mov xax, cr0',
    'cpu.write_cr0': 'mov cr0, xax',
    'cpu.clts': 'clts',
    'cpu.read_cr4': 'mov xax, cr4',
    'cpu.io_delay': 'out 0x80, al',
    'cpu.wbinvd': 'wbinvd',
    'cpu.load_gdt': 'lgdt [xax]',
    'cpu.load_idt': 'lidt [xax]',
    'cpu.iret': 'xiret',
    'irq.save_fl': 'pushf\npop xax',
    'irq.restore_fl': 'push xax\npopf',
    'irq.irq_disable': 'cli',
    'irq.irq_enable': 'sti',
    'irq.safe_halt': 'sti\nhlt',
    'irq.halt': 'hlt',
    'mmu.read_cr2': 'mov xax, cr2',
    'mmu.read_cr3': 'mov xax, cr3',
    'mmu.write_cr3': 'mov cr3, xax',
    'mmu.flush_tlb_user': 'mov xax, cr3\nmov cr3, xax',
    'mmu.flush_tlb_single': 'invlpg [xax]',
    'mmu.set_pte': long ? 'mov [rax], rdx' : 'mov [eax+4], ecx\nmov [eax], edx',
    'mmu.set_pmd': long ? 'mov [rax], rdx' : 'mov [eax+4], ecx\nmov [eax], edx',
    'lock.wait': 'pause',
    ...(long
      ? { 'cpu.swapgs': 'swapgs', 'cpu.usergs_sysret64': 'swapgs\nsysretq' }
      : { 'cpu.read_tsc': 'rdtsc', 'cpu.irq_enable_sysexit': 'sti\nsysexit' }),
  }
}

/** Operations that are nothing here: their sites become NOPs. */
export const nothing: readonly string[] = [
  'init.arch_setup',
  'mmu.alloc_pte',
  'mmu.release_pte',
  'mmu.enter_lazy_mode',
  'mmu.leave_lazy_mode',
  'lock.kick',
]

/** Operations whose result is their argument: no code either. */
export const identities: readonly string[] = ['mmu.pte_val', 'mmu.make_pte']

/** 1,000,000 << 22: nanoseconds of a kilohertz's ticks, see `set_tsc_scale`. */
const SCALE = 1_000_000n << 22n

/** The others: labels are `native.` and the name without its group. */
export function functions(k: Builder): string {
  const { long } = k
  const wide = (low: string) => (long ? `shl rdx, 32\nor rax, rdx\n${low}` : low)
  return `
native.console_write:                   ; COM1, which takes a byte at any time
  push xsi
  mov xsi, xax
  mov ecx, edx
  mov edx, 0x3f8
.console_next:
  mov al, [xsi]
  out dx, al
  inc xsi
  dec ecx
  jne .console_next
  pop xsi
  ret

native.power_off:                       ; ACPI: SLP_TYP 5, SLP_EN
  mov edx, 0x604
  mov eax, 0x3400
  out dx, ax
.off:
  cli
  hlt
  jmp .off

native.time_init:                       ; CPUID 0x15: EBX / EAX, and ECX Hz of the crystal
  push xbx
  mov eax, 0x15
  xor ecx, ecx
  cpuid
  push xax
  mov eax, ecx
  mov ecx, 1000
  xor edx, edx
  div ecx
  mov [apic_khz], eax
  mul ebx
  pop xcx
  div ecx
  mov [tsc_khz], eax
  pop xbx
  call set_tsc_scale
  ret

set_tsc_scale:                          ; ns = TSC * scale >> 22
  mov edx, ${SCALE >> 32n}
  mov eax, ${SCALE & 0xffff_ffffn}
  div dword ptr [tsc_khz]
  mov [tsc_scale], eax
  ret

native.sched_clock:
  rdtsc

ticks_to_ns:                            ; EDX:EAX; in 64-bit code the answer is in RAX
${
  long
    ? `  shl rdx, 32
  or rax, rdx
  mov ecx, [tsc_scale]
  mul rcx
  shrd rax, rdx, 22
  ret`
    : `  push ebx
  mov ebx, edx
  mul dword ptr [tsc_scale]
  mov ecx, edx                          ; ECX:EAX low * scale
  push eax
  mov eax, ebx
  mul dword ptr [tsc_scale]
  add eax, ecx
  adc edx, 0
  mov ecx, eax
  pop eax
  shrd eax, ecx, 22
  shrd ecx, edx, 22
  mov edx, ecx
  pop ebx
  ret`
}

native.steal_clock:
  xor eax, eax
  xor edx, edx
  ret

native.get_wallclock:                   ; the CMOS clock, which runs in UTC
  push xbx
  push xsi
  push xdi
.cmos_busy:
  mov al, 10
  call read_cmos
  test al, 0x80
  jne .cmos_busy
  mov al, 0x32
  call read_cmos_binary
  imul ebx, eax, 100
  mov al, 9
  call read_cmos_binary
  add ebx, eax                          ; year
  mov al, 8
  call read_cmos_binary
  mov esi, eax                          ; month
  mov al, 7
  call read_cmos_binary
  mov edi, eax                          ; day
  ; Days since 0000-03-01 of the year that begins in March, less those until 1970.
  sub esi, 3
  jns .after_february
  add esi, 12
  dec ebx
.after_february:
  imul eax, esi, 153
  add eax, 2
  xor edx, edx
  mov ecx, 5
  div ecx
  lea edi, [xdi+xax-719469]
  imul eax, ebx, 365
  add edi, eax
  mov eax, ebx
  shr eax, 2
  add edi, eax
  mov eax, ebx
  xor edx, edx
  mov ecx, 100
  div ecx
  sub edi, eax
  shr eax, 2
  add edi, eax
  imul edi, edi, 24
  mov al, 4
  call read_cmos_binary
  add edi, eax
  imul edi, edi, 60
  mov al, 2
  call read_cmos_binary
  add edi, eax
  imul edi, edi, 60
  mov al, 0
  call read_cmos_binary
  add eax, edi
  pop xdi
  pop xsi
  pop xbx
  ret

read_cmos:                              ; AL register; AL value
  out 0x70, al
  in al, 0x71
  ret

read_cmos_binary:                       ; from BCD, to EAX
  call read_cmos
  movzx eax, al
  mov ecx, eax
  shr ecx, 4
  and eax, 15
  imul ecx, ecx, 10
  add eax, ecx
  ret

native.set_next_event:                  ; the local APIC's timer
  mov ecx, 1000000
  mul dword ptr [apic_khz]
  div ecx
  inc eax
  mov ecx, ${APIC + 0x380}
  mov [xcx], eax
  ret

native.load_tr_desc:
  mov eax, ${Selector.TSS}
  ltr ax
  ret

native.write_gdt_entry:
  add xdx, xax
  mov eax, [xcx]
  mov ecx, [xcx+4]
  mov [xdx], eax
  mov [xdx+4], ecx
  ret

native.write_idt_entry:
  push xsi
  push xdi
  shl edx, ${long ? 4 : 3}
  lea xdi, [xax+xdx]
  mov xsi, xcx
  mov ecx, ${long ? 4 : 2}
  rep movsd
  pop xdi
  pop xsi
  ret

native.load_sp0:
  mov [xax+${TSS_SP0}], xdx
  ret

native.cpuid:
  push xbx
  push xdi
  mov xdi, xdx
  xor ecx, ecx
  cpuid
  mov [xdi], eax
  mov [xdi+4], ebx
  mov [xdi+8], ecx
  mov [xdi+12], edx
  pop xdi
  pop xbx
  ret

native.read_msr:
  mov ecx, eax
  rdmsr
  ${wide('ret')}

native.write_msr:
  xchg ecx, eax                         ; number to ECX, high half to EAX
  xchg edx, eax
  wrmsr
  ret
${long ? `\nnative.read_tsc:\n  rdtsc\n  ${wide('ret')}` : ''}

native.init_IRQ:                        ; both PICs masked
  mov al, 0xff
  out 0x21, al
  out 0xa1, al
  ret

native.apic_read:
  mov ecx, ${APIC}
  mov eax, [xax+xcx]
  ret

native.apic_write:
  mov ecx, ${APIC}
  mov [xax+xcx], edx
  ret

native.eoi:
  mov ecx, ${APIC}
  mov dword ptr [xcx+0xb0], 0
  ret

native.send_ipi:
  mov ecx, ${APIC}
  shl eax, 24
  mov [xcx+0x310], eax
  or edx, 0x4000
  mov [xcx+0x300], edx
  ret

native.startup_ipi:
  mov ecx, ${APIC}
  shl eax, 24
  mov [xcx+0x310], eax
  mov dword ptr [xcx+0x300], 0x4500     ; INIT
  mov [xcx+0x310], eax
  or edx, 0x4600
  mov [xcx+0x300], edx
  ret

native.setup_boot_clock:                ; one shot, undivided
native.setup_secondary_clock:
  mov ecx, ${APIC}
  mov dword ptr [xcx+0xf0], ${0x100 | Vector.SPURIOUS}
  mov dword ptr [xcx+0x3e0], 11
  mov dword ptr [xcx+0x320], ${Vector.TIMER}
  ret

native.flush_tlb_kernel:                ; CR4.PGE off and on
  mov xax, cr4
  mov xdx, xax
  and xdx, -129
  mov cr4, xdx
  mov cr4, xax
  ret

native.flush_tlb_others:                ; ask by an interrupt, and wait for the answer
  mov [flush_address], xdx
  mov dword ptr [flush_wanted], 1
  mov edx, ${Vector.FLUSH}
  ${k.op('apic.send_ipi')}
.flush_wait:
  pause
  cmp dword ptr [flush_wanted], 0
  jne .flush_wait
  ret

native.vcpu_is_preempted:
  xor eax, eax
  ret
`
}

/**
 * The calls of VMI's API 3.0 by number (VMware, paravirtualInterface.h and vmiCalls.h), those of the processor: what
 * one instruction does natively is that instruction and a RET. The others are in `mmu-calls.ts` and `time-calls.ts`.
 */
import type { Argument } from '../../paravirt/requests.ts'
import type { Call } from './call.ts'
import { pieces, label, type Part, to } from './code.ts'
import { IRET, iretCode } from './iret.ts'
import { mmuCalls } from './mmu-calls.ts'
import { timeCalls } from './time-calls.ts'

const u32 = (name: string): Argument => ({ name, type: { kind: 'u32' } })
const linear = (name: string): Argument => ({ name, type: { kind: 'linear' } })

const common = {
  kind: 'hypercall',
  tier: 'inline',
  answer: 'stub',
  args: [],
  errors: {},
  ops: [],
  source: 'VMware, Paravirtualization API 2.0, CPU calls',
} as const

const RET = 0xc3

/** A jump table over the debug registers that exist: `to` gets the number in EAX. */
function debugRegisters(move: (register: number) => readonly number[]): readonly Part[] {
  const parts: Part[] = []
  for (const register of [0, 1, 2, 3, 7]) {
    const next = `after${register}`
    parts.push(0x83, 0xf8, register, 0x75, to(next), ...move(register), RET, label(next)) // cmp eax, n; jne
  }
  return [...parts, ...move(6), RET]
}

/** The TSS's SS0:ESP0: EAX is the selector, EDX the pointer. Before there is a TSS there is nothing to do. */
const updateKernelStack: readonly Part[] = pieces(
  [0x53, 0x83, 0xec, 0x08], // push ebx; sub esp, 8
  [0x0f, 0x01, 0x44, 0x24, 0x02], // sgdt [esp+2]
  [0x31, 0xc9, 0x66, 0x0f, 0x00, 0xc9, 0xe3, to('done')], // xor ecx, ecx; str cx; jecxz done
  [0x03, 0x4c, 0x24, 0x04], // add ecx, [esp+4]
  [0x8b, 0x59, 0x02, 0x81, 0xe3, 0xff, 0xff, 0xff, 0x00], // mov ebx, [ecx+2]; and ebx, 0xffffff
  [0x0f, 0xb6, 0x49, 0x07, 0xc1, 0xe1, 0x18, 0x09, 0xcb], // movzx ecx, byte [ecx+7]; shl ecx, 24; or ebx, ecx
  [0x89, 0x53, 0x04, 0x66, 0x89, 0x43, 0x08], // mov [ebx+4], edx; mov [ebx+8], ax
  [label('done'), 0x83, 0xc4, 0x08, 0x5b, RET], // add esp, 8; pop ebx
)

/** Eight bytes of a descriptor table: EAX table, EDX index, ECX low word, [ESP+4] high word. */
const writeEntry: readonly Part[] = pieces(
  [0x89, 0x0c, 0xd0], // mov [eax+edx*8], ecx
  [0x8b, 0x4c, 0x24, 0x04], // mov ecx, [esp+4]
  [0x89, 0x4c, 0xd0, 0x04, RET], // mov [eax+edx*8+4], ecx
)
const entryArgs = [linear('table'), u32('index'), u32('low'), u32('high')]

const cpuCalls: readonly Call[] = [
  {
    ...common,
    number: 0,
    name: 'VMI_CALL_CPUID',
    summary: 'CPUID',
    args: [u32('leaf')],
    ops: ['cpu.cpuid'],
    code: [0x0f, 0xa2, RET],
  },
  {
    ...common,
    number: 1,
    name: 'VMI_CALL_WRMSR',
    summary: 'WRMSR',
    ops: ['cpu.write_msr'],
    code: [0x0f, 0x30, RET],
  },
  { ...common, number: 2, name: 'VMI_CALL_RDMSR', summary: 'RDMSR', ops: ['cpu.read_msr'], code: [0x0f, 0x32, RET] },
  {
    ...common,
    number: 3,
    name: 'VMI_CALL_SetGDT',
    summary: 'LGDT',
    args: [linear('descriptor')],
    ops: ['cpu.load_gdt'],
    code: [0x0f, 0x01, 0x10, RET],
  },
  {
    ...common,
    number: 4,
    name: 'VMI_CALL_SetLDT',
    summary: 'LLDT',
    args: [u32('selector')],
    ops: ['cpu.set_ldt'],
    code: [0x0f, 0x00, 0xd0, RET],
  },
  {
    ...common,
    number: 5,
    name: 'VMI_CALL_SetIDT',
    summary: 'LIDT',
    args: [linear('descriptor')],
    ops: ['cpu.load_idt'],
    code: [0x0f, 0x01, 0x18, RET],
  },
  {
    ...common,
    number: 6,
    name: 'VMI_CALL_SetTR',
    summary: 'LTR',
    args: [u32('selector')],
    ops: ['cpu.load_tr_desc'],
    code: [0x0f, 0x00, 0xd8, RET],
  },
  {
    ...common,
    number: 7,
    name: 'VMI_CALL_GetGDT',
    summary: 'SGDT',
    args: [linear('descriptor')],
    code: [0x0f, 0x01, 0x00, RET],
  },
  {
    ...common,
    number: 8,
    name: 'VMI_CALL_GetLDT',
    summary: 'SLDT',
    code: [0x31, 0xc0, 0x66, 0x0f, 0x00, 0xc0, RET], // xor eax, eax; sldt ax
  },
  {
    ...common,
    number: 9,
    name: 'VMI_CALL_GetIDT',
    summary: 'SIDT',
    args: [linear('descriptor')],
    code: [0x0f, 0x01, 0x08, RET],
  },
  {
    ...common,
    number: 10,
    name: 'VMI_CALL_GetTR',
    summary: 'STR',
    ops: ['cpu.store_tr'],
    code: [0x31, 0xc0, 0x66, 0x0f, 0x00, 0xc8, RET], // xor eax, eax; str ax
  },
  {
    ...common,
    number: 11,
    name: 'VMI_CALL_WriteGDTEntry',
    summary: 'write a descriptor of a GDT',
    args: entryArgs,
    ops: ['cpu.write_gdt_entry', 'cpu.load_tls'],
    code: writeEntry,
  },
  {
    ...common,
    number: 12,
    name: 'VMI_CALL_WriteLDTEntry',
    summary: 'write a descriptor of an LDT',
    args: entryArgs,
    ops: ['cpu.write_ldt_entry'],
    code: writeEntry,
  },
  {
    ...common,
    number: 13,
    name: 'VMI_CALL_WriteIDTEntry',
    summary: 'write a gate',
    args: entryArgs,
    ops: ['cpu.write_idt_entry'],
    code: writeEntry,
  },
  {
    ...common,
    number: 14,
    name: 'VMI_CALL_UpdateKernelStack',
    summary: 'the stack on which user code enters the kernel',
    args: [u32('ss'), linear('esp')],
    ops: ['cpu.load_sp0'],
    code: updateKernelStack,
  },
  ...[0, 2, 3, 4].map(
    (register, i): Call => ({
      ...common,
      number: 15 + i,
      name: `VMI_CALL_SetCR${register}`,
      summary: `MOV to CR${register}`,
      args: [u32('value')],
      ops: [(['cpu.write_cr0', 'mmu.write_cr2', 'mmu.write_cr3', 'cpu.write_cr4'] as const)[i]!],
      code: [0x0f, 0x22, 0xc0 | (register << 3), RET],
    }),
  ),
  ...[0, 2, 3, 4].map(
    (register, i): Call => ({
      ...common,
      number: 19 + i,
      name: `VMI_CALL_GetCR${register}`,
      summary: `MOV from CR${register}`,
      ops: [(['cpu.read_cr0', 'mmu.read_cr2', 'mmu.read_cr3', 'cpu.read_cr4'] as const)[i]!],
      code: [0x0f, 0x20, 0xc0 | (register << 3), RET],
    }),
  ),
  {
    ...common,
    number: 23,
    name: 'VMI_CALL_WBINVD',
    summary: 'WBINVD: memory and caches always agree',
    answer: 'nop',
    ops: ['cpu.wbinvd'],
  },
  {
    ...common,
    number: 24,
    name: 'VMI_CALL_SetDR',
    summary: 'MOV to a debug register',
    args: [u32('number'), u32('value')],
    ops: ['cpu.set_debugreg'],
    code: debugRegisters((n) => [0x0f, 0x23, 0xc2 | (n << 3)]),
  },
  {
    ...common,
    number: 25,
    name: 'VMI_CALL_GetDR',
    summary: 'MOV from a debug register',
    args: [u32('number')],
    ops: ['cpu.get_debugreg'],
    code: debugRegisters((n) => [0x0f, 0x21, 0xc0 | (n << 3)]),
  },
  { ...common, number: 26, name: 'VMI_CALL_RDPMC', summary: 'RDPMC', ops: ['cpu.read_pmc'], code: [0x0f, 0x33, RET] },
  { ...common, number: 27, name: 'VMI_CALL_RDTSC', summary: 'RDTSC', ops: ['cpu.read_tsc'], code: [0x0f, 0x31, RET] },
  { ...common, number: 28, name: 'VMI_CALL_CLTS', summary: 'CLTS', ops: ['cpu.clts'], code: [0x0f, 0x06, RET] },
  {
    ...common,
    number: 29,
    name: 'VMI_CALL_EnableInterrupts',
    summary: 'STI; all registers stay',
    ops: ['irq.irq_enable'],
    code: [0xfb, RET],
  },
  {
    ...common,
    number: 30,
    name: 'VMI_CALL_DisableInterrupts',
    summary: 'CLI; all registers stay',
    ops: ['irq.irq_disable'],
    code: [0xfa, RET],
  },
  {
    ...common,
    number: 31,
    name: 'VMI_CALL_GetInterruptMask',
    summary: 'the interrupt flag, in its place in EFLAGS',
    ops: ['irq.save_fl'],
    code: [0x9c, 0x58, 0x25, 0x00, 0x02, 0x00, 0x00, RET], // pushf; pop eax; and eax, 0x200
  },
  {
    ...common,
    number: 32,
    name: 'VMI_CALL_SetInterruptMask',
    summary: 'set the interrupt flag to bit 9; all registers stay',
    args: [u32('mask')],
    ops: ['irq.restore_fl'],
    code: [0xf6, 0xc4, 0x02, 0x74, to('off'), 0xfb, RET, label('off'), 0xfa, RET], // test ah, 2; jz off; sti; cli
  },
  {
    ...common,
    number: IRET,
    name: 'VMI_CALL_IRET',
    summary: 'IRET; its faults are those of the call',
    answer: 'trap',
    ops: ['cpu.iret'],
    code: iretCode,
  },
  {
    ...common,
    number: 34,
    name: 'VMI_CALL_SYSEXIT',
    summary: 'STI and SYSEXIT: EDX is the user EIP, ECX the ESP',
    args: [],
    ops: ['cpu.irq_enable_sysexit'],
    code: [0xfb, 0x0f, 0x35],
  },
  {
    ...common,
    number: 35,
    name: 'VMI_CALL_Halt',
    summary: 'STI and HLT',
    ops: ['irq.safe_halt'],
    code: [0xfb, 0xf4, RET],
  },
  {
    ...common,
    number: 36,
    name: 'VMI_CALL_Reboot',
    summary: 'reset the machine, whichever kind of reboot is asked for',
    tier: 'call',
    answer: 'trap',
    args: [{ name: 'how', type: { kind: 'choice', values: { VMI_REBOOT_SOFT: 0, VMI_REBOOT_HARD: 1 } } }],
    ops: ['machine.restart'],
    run: ({ effects }) => {
      effects.machine.reset()
      return undefined
    },
  },
  {
    ...common,
    number: 37,
    name: 'VMI_CALL_Shutdown',
    summary: 'this processor runs no more',
    ops: ['irq.halt'],
    code: [label('again'), 0xfa, 0xf4, 0xeb, to('again')], // cli; hlt; jmp again
  },
]

const port = u32('port')
const portCalls: readonly Call[] = [
  { number: 49, name: 'INL', code: [0xed, RET] },
  { number: 50, name: 'INB', code: [0xec, RET] },
  { number: 51, name: 'INW', code: [0x66, 0xed, RET] },
  { number: 52, name: 'INSL', code: [0xf3, 0x6d, RET] },
  { number: 53, name: 'INSB', code: [0xf3, 0x6c, RET] },
  { number: 54, name: 'INSW', code: [0xf3, 0x66, 0x6d, RET] },
  { number: 55, name: 'OUTL', code: [0xef, RET] },
  { number: 56, name: 'OUTB', code: [0xee, RET] },
  { number: 57, name: 'OUTW', code: [0x66, 0xef, RET] },
  { number: 58, name: 'OUTSL', code: [0xf3, 0x6f, RET] },
  { number: 59, name: 'OUTSB', code: [0xf3, 0x6e, RET] },
  { number: 60, name: 'OUTSW', code: [0xf3, 0x66, 0x6f, RET] },
].map(({ number, name, code }) => ({
  ...common,
  number,
  name: `VMI_CALL_${name}`,
  summary: `${name.endsWith('SL') || name.endsWith('SB') || name.endsWith('SW') ? 'REP ' : ''}${name}, port in EDX`,
  args: [u32('eax'), port],
  source: 'VMware, Paravirtualization API 2.0, I/O calls',
  code,
}))

/** EAX is IOPL in its place in EFLAGS. */
const setIopl: readonly Part[] = pieces(
  [0x25, 0x00, 0x30, 0x00, 0x00], // and eax, 0x3000
  [0x9c, 0x59, 0x81, 0xe1, 0xff, 0xcf, 0xff, 0xff], // pushf; pop ecx; and ecx, ~0x3000
  [0x09, 0xc1, 0x51, 0x9d, RET], // or ecx, eax; push ecx; popf
)

const lastCalls: readonly Call[] = [
  {
    ...common,
    number: 61,
    name: 'VMI_CALL_SetIOPLMask',
    summary: 'set IOPL to bits 13:12',
    args: [u32('mask')],
    code: setIopl,
  },
  {
    ...common,
    number: 62,
    name: 'VMI_CALL_SetInitialAPState',
    summary: 'where a processor begins when it gets its start-up message',
    tier: 'call',
    answer: 'trap',
    args: [linear('state'), { name: 'apic_id', type: { kind: 'vcpu' } }],
    ops: ['apic.startup'],
    source: 'Linux 2.6.36 arch/x86/include/asm/vmi.h, struct vmi_ap_state',
    run: (vmi, vcpu, { eax, edx }) => {
      vmi.processors.remember(vcpu, eax, edx)
      return undefined
    },
  },
  {
    ...common,
    number: 63,
    name: 'VMI_CALL_APICWrite',
    summary: 'write a register of the local APIC, named by offset or address',
    tier: 'call',
    answer: 'trap',
    args: [u32('register'), u32('value')],
    ops: ['apic.write'],
    run: ({ effects }, vcpu, { eax, edx }) => {
      effects.irq.setApic(vcpu, eax & 0xfff, edx)
      return undefined
    },
  },
  {
    ...common,
    number: 64,
    name: 'VMI_CALL_APICRead',
    summary: 'read a register of the local APIC, named by offset or address',
    tier: 'call',
    answer: 'trap',
    args: [u32('register')],
    ops: ['apic.read'],
    run: ({ effects }, vcpu, { eax }) => effects.irq.apic(vcpu, eax & 0xfff),
  },
  {
    ...common,
    number: 65,
    name: 'VMI_CALL_IODelay',
    summary: 'devices need no time between two accesses',
    answer: 'nop',
    ops: ['cpu.io_delay'],
  },
]

export const calls: readonly Call[] = [...cpuCalls, ...mmuCalls, ...portCalls, ...lastCalls, ...timeCalls]

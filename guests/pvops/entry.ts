/**
 * The ways in: from the loader (PVH: 32-bit protected mode without paging, EBX start info), and from real mode for
 * other CPUs. Both make page tables hold and come out in `main` or `secondary`. This is the only code that knows that it
 * has the processor for itself; all that follows asks pv_ops.
 */
import type { Builder } from './builder.ts'
import { MAX_CPUS, Selector, STACK, TRAMPOLINE, TSS_BYTES, WINDOW } from './layout.ts'

/** Descriptors: kernel code and data, user code of 32 bits, data, code of 64 bits, task states, boot code. */
const kernelCode = (long: boolean) => (long ? '0x00af9b000000ffff' : '0x00cf9b000000ffff')
const DATA = '0x00cf93000000ffff'
const USER_CODE32 = '0x00cffb000000ffff'
const USER_DATA = '0x00cff3000000ffff'
const USER_CODE64 = '0x00affb000000ffff'
const BOOT_CODE32 = '0x00cf9b000000ffff'

/** Present, writable, for users as far as the last level says so; a large page of the kernel's. */
const TABLE = 7
const LARGE = 0x83
const UNCACHED = 0x10

/** CR4: PAE, PGE, OSFXSR, OSXMMEXCPT. CR0: PG, WP, NE, ET, MP, PE. EFER: NXE, LME, SCE. */
const CR4 = 0x6a0
const CR0 = 0x80010033
const EFER = 0x901
const EFER_MSR = 0xc0000080

/** Where another CPU's code is after it was copied to where it starts. */
const copied = (label: string) => `${label}-trampoline+${TRAMPOLINE}`

export function entry(k: Builder): string {
  const root = k.long ? 'pml4' : 'pdpt'
  return `
bits 32
start:
${k.long ? '' : '  mov eax, cs                           ; in ring 1 it is the Launcher that starts us\n  test al, 3\n  jne lguest.start'}
  cli
  cld
  mov esp, stacks+${STACK}
  mov eax, [ebx+24]                     ; command line
  mov [command_line], eax
  call make_page_tables
  mov ebx, main
  jmp paging_on

make_page_tables:
  ${k.long ? `mov dword ptr [pml4], pdpt+${TABLE}` : ''}
  mov dword ptr [pdpt], pd_low+${k.long ? TABLE : 1}
  mov dword ptr [pdpt+24], pd_high+${k.long ? TABLE : 1}
  mov edi, pd_low
  mov eax, ${LARGE}
  mov ecx, 512
.next_page:
  mov [edi], eax
  add eax, 0x200000
  add edi, 8
  dec ecx
  jne .next_page
  mov dword ptr [pd_low+${(WINDOW >> 21) * 8}], window_table+${TABLE}
  mov dword ptr [pd_high+${((0xfee00000 >>> 21) & 511) * 8}], ${0xfee00000 + LARGE + UNCACHED}
  ret

; To the address in EBX with paging, in the kernel's segments.
paging_on:
  mov eax, ${CR4}
  mov cr4, eax
  mov eax, ${root}
  mov cr3, eax
  ${k.long ? `mov ecx, ${EFER_MSR}\n  rdmsr\n  or eax, ${EFER}\n  wrmsr` : ''}
  mov eax, ${CR0}
  mov cr0, eax
  lgdt [boot_gdt]
  mov eax, ${Selector.KERNEL_DS}
  mov ss, eax
  mov eax, ${Selector.USER_DS}            ; it is of use in user mode, too, and so never changed
  mov ds, eax
  mov es, eax
  jmp ${Selector.KERNEL_CS}:.far
bits ${k.bits}
.far:
  ${k.long ? 'mov ebx, ebx\n  mov esp, esp' : ''}
  jmp xbx

bits 16
trampoline:
  cli
  xor ax, ax
  mov ds, ax
  lgdtd [${copied('.gdt')}]
  mov eax, cr0
  or eax, 1
  mov cr0, eax
  jmp ${Selector.BOOT_CS32}:secondary_start
.gdt: dw gdt_end-gdt-1
  dd gdt
trampoline_end:

bits 32
secondary_start:
  mov eax, ${Selector.KERNEL_DS}
  mov ds, eax
  mov ss, eax
  mov esp, [secondary_stack]
  mov ebx, secondary
  jmp paging_on

align 8
gdt: dq 0, ${kernelCode(k.long)}, ${DATA}, ${USER_CODE32}, ${USER_DATA}, ${USER_CODE64}
  dq 0, 0, ${BOOT_CODE32}
gdt_end:
boot_gdt: dw gdt_end-gdt-1
  dd gdt, 0
command_line: dd 0
secondary_stack: dd 0
bits ${k.bits}
align 8
window_pde: dx pd_low+${((WINDOW >> 21) + 1) * 8}
old_pde: dd 0, 0
`
}

/** What is zero at first, at the end of the image. */
export function memory(k: Builder): string {
  return `
align 4096
${k.long ? 'pml4: zero 4096' : ''}
pdpt: zero 4096
pd_low: zero 4096
pd_high: zero 4096
window_table: zero 4096
align ${STACK}
stacks: zero ${STACK * MAX_CPUS}
task_states: zero ${TSS_BYTES * MAX_CPUS}
gdts: zero ${128 * MAX_CPUS}
idt: zero 4096
`
}

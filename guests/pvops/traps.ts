/**
 * Descriptor tables, exceptions and interrupts. Each vector has a stub; `handlers` says who is called, with the frame's
 * address in XAX and the vector in EDX, and the way back is an operation.
 */
import type { Builder } from './builder.ts'
import { Selector, TSS_BYTES, Vector } from './layout.ts'

/** Exceptions with an error code. */
const withCode = new Set([8, 10, 11, 12, 13, 14, 17, 21])
const VECTORS = 256
const GDT_BYTES = Selector.BOOT_CS32 + 8
const GATE = 0x8e
const USER_GATE = 0xee

const general = ['ax', 'cx', 'dx', 'bx', 'bp', 'si', 'di']

function registers(k: Builder): string[] {
  return [
    ...general.map((name) => `x${name}`),
    ...(k.long ? ['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] : []),
  ]
}

/** Offset in a frame of the vector; error code, instruction pointer, CS, flags, stack pointer, SS follow. */
export const frameAt = (k: Builder, what: 'vector' | 'error' | 'ip' | 'cs' | 'flags' | 'sp') =>
  (registers(k).length + ['vector', 'error', 'ip', 'cs', 'flags', 'sp'].indexOf(what)) * k.word

export function traps(k: Builder): string {
  const stubs = Array.from({ length: VECTORS }, (_, vector) =>
    [`align 16`, ...(withCode.has(vector) ? [] : ['push 0']), `push ${vector}`, 'jmp trap_common'].join('\n'),
  )
  const saved = registers(k)
  return `
align 16
stubs:
${stubs.join('\n')}

trap_common:
${saved
  .toReversed()
  .map((name) => `  push ${name}`)
  .join('\n')}
  cld
  mov xax, xsp
  mov edx, [xsp+${frameAt(k, 'vector')}]
  call xword ptr [handlers+xdx*${k.word}]
${saved.map((name) => `  pop ${name}`).join('\n')}
  add xsp, ${2 * k.word}
  ${k.op('cpu.iret')}

; An exception that nobody expects.
unexpected:
  push xax
  ${k.print('\nBAD unexpected trap ')}
  pop xbx
  mov eax, [xbx+${frameAt(k, 'vector')}]
  call print_hex
  ${k.print(' error ')}
  mov eax, [xbx+${frameAt(k, 'error')}]
  call print_hex
  ${k.print(' at ')}
  mov xax, [xbx+${frameAt(k, 'ip')}]
  call print_hex
  ${k.print('\n')}
  ${k.op('init.power_off')}

; Expected by who put an address into resume: noted, and on there; what user mode did ends it.
expected:
  push xbx
  mov xbx, xax
  mov [seen_vector], edx
  mov edx, [xbx+${frameAt(k, 'error')}]
  mov [seen_error], edx
  mov edx, [xbx+${frameAt(k, 'cs')}]
  mov [seen_cs], edx
  mov xdx, [xbx+${frameAt(k, 'ip')}]
  mov [seen_ip], xdx
  ${k.op('mmu.read_cr2')}
  mov [seen_cr2], xax
  mov edx, [seen_cs]                    ; a kernel need not be in ring 0
  and edx, 3
  cmp edx, 3
  je leave_user
  mov xax, [resume]
  test xax, xax
  je .nobody
  mov [xbx+${frameAt(k, 'ip')}], xax
  pop xbx
  ret
.nobody:
  mov xax, xbx
  mov edx, [seen_vector]
  jmp unexpected

timer_interrupt:
  lock inc dword ptr [timer_ticks]
  ${k.op('apic.eoi')}
  ret

kick_interrupt:
  ${k.op('apic.eoi')}
  ret

; Another CPU wants this one to forget a page.
flush_interrupt:
  mov xax, [flush_address]
  ${k.op('mmu.flush_tlb_single')}
  mov dword ptr [flush_wanted], 0
  ${k.op('apic.eoi')}
  ret

; Another CPU wants to know whether this one hears it.
call_interrupt:
  lock inc dword ptr [calls_heard]
  ${k.op('apic.eoi')}
  ret

spurious_interrupt:
  ret

; Gates for all vectors, once.
make_idt:
  push xbx
  push xsi
  xor ebx, ebx
  mov xsi, stubs
.next_gate:
  mov eax, esi
  and eax, 0xffff
  or eax, ${Selector.KERNEL_CS << 16}
  mov [gate], eax
  mov eax, esi
  and eax, 0xffff0000
  or eax, ${GATE << 8}
  cmp ebx, ${Vector.SYSTEM_CALL}
  jne .kernel_gate
  or eax, ${(USER_GATE << 8) & 0xffff}
.kernel_gate:
  mov [gate+4], eax
  mov xax, idt
  mov edx, ebx
  mov xcx, gate
  ${k.op('cpu.write_idt_entry')}
  mov xax, unexpected
  cmp ebx, 32
  jb .handler
  mov xax, spurious_interrupt
.handler:
  mov [handlers+xbx*${k.word}], xax
  add xsi, 16
  inc ebx
  cmp ebx, ${VECTORS}
  jne .next_gate
  mov xax, timer_interrupt
  mov [handlers+${Vector.TIMER * k.word}], xax
  mov xax, kick_interrupt
  mov [handlers+${Vector.KICK * k.word}], xax
  mov xax, flush_interrupt
  mov [handlers+${Vector.FLUSH * k.word}], xax
  mov xax, call_interrupt
  mov [handlers+${Vector.CALL * k.word}], xax
  pop xsi
  pop xbx
  ret

; This CPU's own descriptor table and task state, and the interrupt table.
load_tables:
  push xbx
  push xsi
  push xdi
  call cpu_number
  mov ebx, eax
  shl eax, 7
  lea xdi, [xax+gdts]
  mov [table_base], xdi
  mov xsi, gdt
  mov ecx, ${GDT_BYTES / 4}
  rep movsd
  mov word ptr [table], ${GDT_BYTES - 1}
  mov xax, table
  ${k.op('cpu.load_gdt')}
  imul eax, ebx, ${TSS_BYTES}
  lea xsi, [xax+task_states]
  ${k.long ? '' : `mov dword ptr [esi+8], ${Selector.KERNEL_DS}`}
  mov word ptr [xsi+102], ${TSS_BYTES}
  mov eax, esi                          ; a descriptor: base in three parts
  shl eax, 16
  or eax, ${TSS_BYTES - 1}
  mov [gate], eax
  mov eax, esi
  shr eax, 16
  and eax, 0xff
  or eax, 0x8900
  mov edx, esi
  and edx, 0xff000000
  or eax, edx
  mov [gate+4], eax
  mov xax, [table_base]
  mov edx, ${Selector.TSS}
  mov xcx, gate
  ${k.op('cpu.write_gdt_entry')}
  ${k.op('cpu.load_tr_desc')}
  mov xax, xsi
  mov xdx, xsp
  or xdx, 0x1fff
  inc xdx
  ${k.op('cpu.load_sp0')}
  mov word ptr [table], 0xfff
  mov xax, idt
  mov [table_base], xax
  mov xax, table
  ${k.op('cpu.load_idt')}
  pop xdi
  pop xsi
  pop xbx
  ret

align 8
gate: dd 0, 0, 0, 0
  dw 0
table: dw 0
table_base: dx 0
handlers: zero ${VECTORS * k.word}
resume: dx 0
seen_cr2: dx 0
seen_ip: dx 0
flush_address: dx 0
seen_vector: dd 0
seen_error: dd 0
seen_cs: dd 0
flush_wanted: dd 0
timer_ticks: dd 0
calls_heard: dd 0
`
}

/** Ring 3: system calls by interrupt and by the fast instructions, what is forbidden there. */
import type { Builder } from '../builder.ts'
import { Selector, SPARE, TSS_BYTES, Vector } from '../layout.ts'
import { frameAt } from '../traps.ts'
import { AD, frame, map, P, page, saw, U, W } from './common.ts'

export function userMode(k: Builder): string {
  const user = k.long ? Selector.USER_CS64 : Selector.USER_CS32
  const run = (label: string) => `
  mov dword ptr [seen_vector], -1
  mov dword ptr [user_calls], 0
  mov xax, ${page(2)}+${label}-user_code
  call enter_user`
  return `
  mov xsi, user_code
  mov xdi, ${frame(2)}
  mov ecx, user_code_end-user_code
  rep movsb
  ${map(k, 2, frame(2), P | U | AD)}
  ${map(k, 3, frame(3), P | W | U | AD)}
  mov xax, system_call
  mov [handlers+${Vector.SYSTEM_CALL * k.word}], xax
  ${run('user_calls_code')}
  cmp dword ptr [user_calls], 3
  ${k.check('user mode: three system calls', 'e')}
  cmp dword ptr [user_cs], ${user}
  ${k.check('user mode: from ring 3', 'e')}
  ${run('user_cli')}
  ${saw(k, 13, 0)}
  ${k.check('user mode: CLI is forbidden', 'e')}
  cmp dword ptr [seen_cs], ${user}
  ${k.check('user mode: to those in ring 3', 'e')}
  ${run('user_peek')}
  or dword ptr [seen_error], 1          ; not there, or not for ring 3
  ${saw(k, 14, 5)}
  ${k.check('user mode: no look at the kernel', 'e')}
  ${k.long ? '' : withoutSysenter(k)}
  ${k.long ? fastCalls64(k) : fastCalls32(k)}
  ${run('user_fast')}
  cmp dword ptr [user_calls], 2
  ${k.check(k.long ? 'user mode: SYSCALL, usergs_sysret64' : 'user mode: SYSENTER, irq_enable_sysexit', 'e')}
.no_fast_calls:
`
}

/** CPUID, asked as Linux does, says whether there is SYSENTER. */
const withoutSysenter = (k: Builder) => `
  mov eax, 1
  mov edx, words
  ${k.op('cpu.cpuid')}
  test dword ptr [words+12], 0x800
  je .no_fast_calls`

const writeMsr = (k: Builder, number: number, low: string | number, high: string | number) =>
  `mov eax, ${number}\nmov edx, ${low}\nmov ecx, ${high}\n${k.op('cpu.write_msr')}`

const fastCalls64 = (k: Builder) => `
  ${writeMsr(k, 0xc0000081, 0, (Selector.USER_BASE << 16) | Selector.KERNEL_CS)}
  ${writeMsr(k, 0xc0000082, 'fast_call', 0)}
  ${writeMsr(k, 0xc0000084, 0x200, 0)}`

const fastCalls32 = (k: Builder) => `
  ${writeMsr(k, 0x174, Selector.KERNEL_CS, 0)}
  ${writeMsr(k, 0x175, `fast_stack_end`, 0)}
  ${writeMsr(k, 0x176, 'fast_call', 0)}`

/** Kernel and user sides of user mode. */
export function userCode(k: Builder): string {
  const user = k.long ? Selector.USER_CS64 : Selector.USER_CS32
  return `
; To user mode at XAX; comes back by leave_user.
enter_user:
  push xbx
  push xsi
  push xdi
  push xbp
  mov [user_return], xsp
  mov xbx, xax
  call cpu_number
  imul eax, eax, ${TSS_BYTES}
  add xax, task_states
  mov xdx, xsp
  and xdx, -16
  ${k.op('cpu.load_sp0')}
  push ${Selector.USER_DS}
  push ${page(4)}
  push 0x202
  push ${user}
  push xbx
  ${k.op('cpu.iret')}

leave_user:
  mov xsp, [user_return]
  pop xbp
  pop xdi
  pop xsi
  pop xbx
  ret

; INT 0x80: EAX 0 ends.
system_call:
  mov edx, [xax+${frameAt(k, 'cs')}]
  mov [user_cs], edx
  inc dword ptr [user_calls]
  cmp dword ptr [xax], 0
  je leave_user
  ret

${
  k.long
    ? `fast_call:
  ${k.op('cpu.swapgs')}
  mov [user_sp], rsp
  mov rsp, fast_stack_end
  push rcx
  push r11
  inc dword ptr [user_calls]
  pop r11
  pop rcx
  mov rsp, [user_sp]
  ${k.op('cpu.usergs_sysret64')}`
    : `fast_call:
  inc dword ptr [user_calls]
  mov edx, esi                          ; where and with which stack it goes on
  mov ecx, edi
  ${k.op('cpu.irq_enable_sysexit')}`
}

user_code:
user_calls_code:
  mov eax, 1
  int 0x80
  mov eax, 2
  int 0x80
  xor eax, eax
  int 0x80
user_cli:
  cli
user_peek:
  mov eax, [${SPARE}]
user_fast:
  ${k.long ? 'syscall' : `call .here\n.here: pop esi\nadd esi, .there-.here\nmov edi, esp\nsysenter\n.there:`}
  xor eax, eax
  int 0x80
user_code_end:

align 16
zero 256
fast_stack_end:
user_return: dx 0
user_sp: dx 0
user_cs: dd 0
user_calls: dd 0
words: dd 0, 0, 0, 0
`
}

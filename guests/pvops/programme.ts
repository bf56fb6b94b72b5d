/**
 * What the kernel does, the same on every platform: interrupts, traps, page tables, user mode, time, other CPUs. Each
 * line that it prints is a check. Everything privileged in it is an operation of pv_ops.
 */
import type { Builder } from './builder.ts'
import { frameAt } from './traps.ts'
import { MAX_CPUS, Selector, SPARE, STACK, TRAMPOLINE, TSS_BYTES, Vector, WINDOW } from './layout.ts'

/** Page-table entry bits: present, writable, user, accessed and dirty. */
const P = 1
const W = 2
const U = 4
const AD = 0x60

/** 2026-01-01. */
const NEW_YEAR = 1767225600
const MILLISECOND = 1_000_000
/** For what must happen: no less than 32 bits of nanoseconds hold, for a host may have much to do. */
const PATIENCE = 4000 * MILLISECOND

const page = (n: number) => WINDOW + n * 4096
const frame = (n: number) => SPARE + n * 4096

/** Entry `n` of the window maps a frame (undefined: nothing); the old translation is forgotten. */
function map(k: Builder, n: number, to: number | undefined, flags = P | W | AD): string {
  return `
  mov xax, window_table+${8 * n}
  mov xdx, ${to === undefined ? 0 : to | flags}
  xor ecx, ecx
  ${k.op('mmu.set_pte')}
  mov xax, ${page(n)}
  ${k.op('mmu.flush_tlb_single')}`
}

/** Run code that faults; what the handler saw is in seen_vector and the others. */
function faulting(k: Builder, code: string): string {
  const on = k.unique('resumed')
  return `
  mov dword ptr [seen_vector], -1
  mov xax, ${on}
  mov [resume], xax
  ${code}
${on}:
  mov xword ptr [resume], 0`
}

/** Flags: equal if vector and error code are these. */
function saw(k: Builder, vector: number, error: number): string {
  const no = k.unique('saw')
  return `cmp dword ptr [seen_vector], ${vector}\njne ${no}\ncmp dword ptr [seen_error], ${error}\n${no}:`
}

function interrupts(k: Builder): string {
  return `
  ${k.op('irq.irq_disable')}
  ${k.op('irq.save_fl')}
  test eax, 0x200
  ${k.check('irq_disable: save_fl says that interrupts are off', 'z')}
  ${k.op('irq.irq_enable')}
  ${k.op('irq.save_fl')}
  mov xbx, xax
  ${k.op('irq.irq_disable')}
  test ebx, 0x200
  ${k.check('irq_enable: save_fl says that they are on', 'nz')}
  mov xax, xbx
  ${k.op('irq.restore_fl')}
  ${k.op('irq.save_fl')}
  mov xbx, xax
  ${k.op('irq.irq_disable')}
  test ebx, 0x200
  ${k.check('restore_fl: on again', 'nz')}
`
}

function processor(k: Builder): string {
  return `
  ${k.op('cpu.read_cr0')}
  and eax, 0x80000001
  cmp eax, 0x80000001
  ${k.check('read_cr0: protected mode, paging', 'e')}
  ${k.op('cpu.read_cr0')}
  or eax, 8
  ${k.op('cpu.write_cr0')}
  ${k.op('cpu.read_cr0')}
  mov ebx, eax
  ${k.op('cpu.clts')}
  ${k.op('cpu.read_cr0')}
  and ebx, 8
  and eax, 8
  xor eax, ebx
  cmp eax, 8
  ${k.check('write_cr0 sets TS, clts clears it', 'e')}
  xor eax, eax
  mov xdx, words
  ${k.op('cpu.cpuid')}
  cmp dword ptr [words+4], 0
  ${k.check('cpuid: there is a vendor', 'ne')}
  mov eax, 0x277
  mov edx, 0x00070406
  mov ecx, 0x01070406
  ${k.op('cpu.write_msr')}
  mov eax, 0x277
  ${k.op('cpu.read_msr')}
  cmp eax, 0x00070406
  ${k.check('write_msr, read_msr: the page attribute table', 'e')}
  ${k.op('cpu.read_tsc')}
  mov ebx, eax
  ${k.op('cpu.read_tsc')}
  sub eax, ebx
  cmp eax, ${PATIENCE}
  ${k.check('read_tsc: it goes on', 'b')}
`
}

function faults(k: Builder): string {
  return `
${[0, 3, 6, 13, 14].map((vector) => `  mov xax, expected\n  mov [handlers+${vector * k.word}], xax`).join('\n')}
  ${faulting(k, 'ud2')}
  ${saw(k, 6, 0)}
  ${k.check('trap: an undefined instruction', 'e')}
  ${faulting(k, 'xor edx, edx\nmov ecx, edx\ndiv ecx')}
  ${saw(k, 0, 0)}
  ${k.check('trap: a division by zero', 'e')}
  ${faulting(k, 'int3')}
  ${saw(k, 3, 0)}
  ${k.check('trap: a breakpoint', 'e')}
  ${faulting(k, 'mov eax, 0x7ff8\nmov es, eax')}
  ${saw(k, 13, 0x7ff8)}
  ${k.check('trap: a selector outside the table', 'e')}
`
}

function pageTables(k: Builder): string {
  const [first, second] = [frame(0), frame(1)]
  return `
  mov dword ptr [${first}], 0x11111111
  mov dword ptr [${second}], 0x22222222
  mov xax, ${first}
  ${k.op('mmu.alloc_pte')}
  mov xax, ${first}
  ${k.op('mmu.release_pte')}
  ${map(k, 0, first)}
  mov dword ptr [${page(0) + 4}], 0x33333333
  cmp dword ptr [${first + 4}], 0x33333333
  ${k.check('set_pte: a page is where it was mapped', 'e')}
  ${map(k, 0, second)}
  cmp dword ptr [${page(0)}], 0x22222222
  ${k.check('set_pte, flush_tlb_single: and now elsewhere', 'e')}
  mov xax, ${first | P | W}
  ${k.op('mmu.make_pte')}
  ${k.op('mmu.pte_val')}
  cmp eax, ${first | P | W}
  ${k.check('make_pte, pte_val: there and back', 'e')}
  ${map(k, 0, undefined)}
  ${faulting(k, `mov eax, [${page(0) + 8}]`)}
  ${saw(k, 14, 0)}
  ${k.check('trap: a page that is not there', 'e')}
  mov eax, [seen_cr2]
  cmp eax, ${page(0) + 8}
  ${k.check('read_cr2: its address', 'e')}
  ${map(k, 0, first, P | AD)}
  ${faulting(k, `mov dword ptr [${page(0)}], 0`)}
  ${saw(k, 14, 3)}
  ${k.check('trap: a store to a page that is only read', 'e')}
  ${k.op('mmu.enter_lazy_mode')}
  ${map(k, 0, first)}
  ${map(k, 1, second)}
  ${k.op('mmu.leave_lazy_mode')}
  mov eax, [${page(0)}]
  cmp eax, 0x11111111
  jne .lazy
  cmp dword ptr [${page(1)}], 0x22222222
.lazy:
  ${k.check('lazy mode: done when it is left', 'e')}
  mov eax, [${page(512)}]               ; the next 2 MiB are mapped by a large page
  mov xax, pd_low+${((WINDOW >> 21) + 1) * 8}
  mov xdx, window_table+${P | W | AD}
  xor ecx, ecx
  ${k.op('mmu.set_pmd')}
  ${k.op('mmu.flush_tlb_kernel')}
  mov ebx, [${page(513)}]
  mov xax, pd_low+${((WINDOW >> 21) + 1) * 8}
  mov xdx, ${page(512) | 0x83}
  xor ecx, ecx
  ${k.op('mmu.set_pmd')}
  ${k.op('mmu.flush_tlb_kernel')}
  cmp ebx, 0x22222222
  ${k.check('set_pmd: a page table at two places', 'e')}
  ${k.op('mmu.read_cr3')}
  mov xbx, xax
  ${k.op('mmu.write_cr3')}
  ${k.op('mmu.flush_tlb_user')}
  ${k.op('mmu.read_cr3')}
  cmp xax, xbx
  ${k.check('write_cr3, read_cr3: the same page tables', 'e')}
`
}

function userMode(k: Builder): string {
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
  ${saw(k, 14, 5)}
  ${k.check('user mode: no look at the kernel', 'e')}
  ${k.long ? fastCalls64(k) : fastCalls32(k)}
  ${run('user_fast')}
  cmp dword ptr [user_calls], 2
  ${k.check(k.long ? 'user mode: SYSCALL, usergs_sysret64' : 'user mode: SYSENTER, irq_enable_sysexit', 'e')}
`
}

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
function userCode(k: Builder): string {
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

function time(k: Builder): string {
  return `
  cmp dword ptr [tsc_khz], 0
  ${k.check('time_init: the TSC has a frequency', 'ne')}
  ${k.op('time.get_wallclock')}
  cmp eax, ${NEW_YEAR}
  ${k.check('get_wallclock: not long ago', 'ae')}
  ${k.op('time.sched_clock')}
  mov ebx, eax
  mov dword ptr [timer_ticks], 0
  mov eax, ${2 * MILLISECOND}
  ${k.op('time.set_next_event')}
  ${k.op('irq.irq_enable')}
  nop
  ${k.op('irq.irq_disable')}
  mov esi, [timer_ticks]
  ${k.op('time.sched_clock')}           ; the host may have been busy for longer than that
  sub eax, ebx
  cmp eax, ${2 * MILLISECOND}
  setae al
  cmp esi, 0
  sete ah
  or al, ah
  ${k.check('set_next_event: not at once', 'nz')}
.sleep:
  cmp dword ptr [timer_ticks], 0
  jne .slept
  ${k.op('irq.safe_halt')}
  ${k.op('irq.irq_disable')}
  jmp .sleep
.slept:
  ${k.op('time.sched_clock')}
  sub eax, ebx
  mov ebx, eax
  cmp ebx, ${2 * MILLISECOND}
  ${k.check('safe_halt, sched_clock: not before its time', 'ae')}
  cmp ebx, ${PATIENCE}
  ${k.check('safe_halt, sched_clock: but then', 'b')}
  mov eax, 1000
  ${k.op('time.set_next_event')}
  mov eax, ${MILLISECOND}
  call delay
  cmp dword ptr [timer_ticks], 1
  ${k.check('irq_disable: an interrupt waits', 'e')}
  ${k.op('time.sched_clock')}
  mov ebx, eax
.late:                                  ; the host's timer may be late
  ${k.op('irq.irq_enable')}
  nop
  ${k.op('irq.irq_disable')}
  cmp dword ptr [timer_ticks], 2
  je .came
  ${k.op('time.sched_clock')}
  sub eax, ebx
  cmp eax, ${PATIENCE}
  jb .late
.came:
  cmp dword ptr [timer_ticks], 2
  ${k.check('irq_enable: it comes', 'e')}
  ${k.op('time.steal_clock')}
  mov ebx, eax
  ${k.op('time.steal_clock')}
  sub eax, ebx
  cmp eax, ${PATIENCE}
  ${k.check('steal_clock: does not run backwards', 'b')}
  ${k.op('cpu.io_delay')}
`
}

function otherCpus(k: Builder): string {
  return `
  mov xsi, trampoline
  mov edi, ${TRAMPOLINE}
  mov ecx, trampoline_end-trampoline
  rep movsb
  mov ebx, 1
.start_next:
  cmp ebx, [cpus]
  jae .all_started
  mov eax, ebx
  shl eax, ${Math.log2(STACK)}
  add xax, stacks
  mov [xax], ebx
  add xax, ${STACK}
  mov [secondary_stack], eax
  mov eax, ebx
  mov edx, ${TRAMPOLINE >> 12}
  ${k.op('apic.startup_ipi')}
  mov xsi, cpus_up
  lea edi, [xbx+1]
  call wait_for
  cmp [cpus_up], edi
  ${k.check('startup_ipi: another CPU', 'e')}
  inc ebx
  jmp .start_next
.all_started:
  cmp dword ptr [cpus], 1
  je .alone

  mov eax, 1
  mov edx, ${Vector.CALL}
  ${k.op('apic.send_ipi')}
  mov xsi, calls_heard
  mov edi, 1
  call wait_for
  cmp dword ptr [calls_heard], 1
  ${k.check('send_ipi: CPU 1 hears it', 'e')}

  mov dword ptr [${frame(5)}], 0x55555555
  mov dword ptr [${frame(6)}], 0x66666666
  ${map(k, 5, frame(5))}
  mov eax, 1
  mov xdx, watch_page
  call run_on
  mov xsi, watched
  mov edi, 0x55555555
  call wait_for
  mov xax, window_table+${8 * 5}
  mov xdx, ${frame(6) | P | W | AD}
  xor ecx, ecx
  ${k.op('mmu.set_pte')}
  mov eax, 1
  mov xdx, ${page(5)}
  ${k.op('mmu.flush_tlb_others')}
  mov xsi, watched
  mov edi, 0x66666666
  call wait_for
  mov dword ptr [watching], 0
  cmp dword ptr [watched], 0x66666666
  ${k.check('flush_tlb_others: CPU 1 sees the new page', 'e')}
  call wait_until_idle

  mov ebx, 1
.next_contender:
  mov eax, ebx
  mov xdx, contend
  call run_on
  inc ebx
  cmp ebx, [cpus]
  jb .next_contender
  call contend
  call wait_until_idle
  imul eax, dword ptr [cpus], ${ROUNDS}
  cmp [locked_count], eax
  ${k.check('lock: nobody counted twice', 'e')}
  cmp dword ptr [lock_waits], 0
  ${k.check('lock.wait: who waits long sleeps, and is kicked', 'ne')}
  mov eax, 1
  ${k.op('lock.vcpu_is_preempted')}
  cmp eax, 2
  ${k.check('vcpu_is_preempted: yes or no', 'b')}
.alone:
`
}

/** Each CPU's turns with the lock, how long it keeps it, and tries before it sleeps. */
const ROUNDS = 50
const HOLD = 12
const SPINS = 4

/** What other CPUs do, and what the first needs for it. */
function otherCpusCode(k: Builder): string {
  return `
secondary:
  call load_tables
  ${k.op('apic.setup_secondary_clock')}
  lock inc dword ptr [cpus_up]
.idle:
  ${k.op('irq.irq_disable')}
  call cpu_number
  mov xax, [jobs+xax*${k.word}]
  test xax, xax
  je .sleep_idle
  call xax
  call cpu_number
  mov xword ptr [jobs+xax*${k.word}], 0
  jmp .idle
.sleep_idle:
  ${k.op('irq.safe_halt')}
  jmp .idle

; CPU EAX runs the function at XDX.
run_on:
  mov [jobs+xax*${k.word}], xdx
  mov edx, ${Vector.KICK}
  ${k.op('apic.send_ipi')}
  ret

wait_until_idle:
  push xbx
  push xsi
  push xdi
  mov ebx, 1
.wait_next:
  lea xsi, [xbx*${k.word}+jobs]
  xor edi, edi
  call wait_for
  inc ebx
  cmp ebx, [cpus]
  jb .wait_next
  pop xdi
  pop xsi
  pop xbx
  ret

; Until the word at XSI is EDI, or patience ends.
wait_for:
  push xbx
  ${k.op('time.sched_clock')}
  mov ebx, eax
.not_yet:
  cmp [xsi], edi
  je .waited
  pause
  ${k.op('time.sched_clock')}
  sub eax, ebx
  cmp eax, ${PATIENCE}
  jb .not_yet
.waited:
  pop xbx
  ret

; EAX nanoseconds.
delay:
  push xbx
  push xsi
  mov esi, eax
  ${k.op('time.sched_clock')}
  mov ebx, eax
.delay_on:
  ${k.op('time.sched_clock')}
  sub eax, ebx
  cmp eax, esi
  jb .delay_on
  pop xsi
  pop xbx
  ret

watch_page:
  ${k.op('irq.irq_enable')}
.watch_on:
  mov eax, [${page(5)}]
  mov [watched], eax
  pause
  cmp dword ptr [watching], 0
  jne .watch_on
  ${k.op('irq.irq_disable')}
  ret

; Count under the lock, and take time over it.
contend:
  push xbx
  mov ebx, ${ROUNDS}
.contend_on:
  call spin_lock
  mov eax, [locked_count]
  mov ecx, ${HOLD}
.hold:
  pause
  dec ecx
  jne .hold
  inc eax
  mov [locked_count], eax
  call spin_unlock
  dec ebx
  jne .contend_on
  pop xbx
  ret

; A ticket lock: the byte head is whose turn it is, tail the next ticket.
spin_lock:
  push xbx
  mov bl, 1
  lock xadd [lock_tail], bl
.lock_try:
  mov ecx, ${SPINS}
.lock_spin:
  mov dl, [lock_head]
  cmp dl, bl
  je .lock_got
  pause
  dec ecx
  jne .lock_spin
  lock inc dword ptr [lock_waits]
  mov xax, lock_head
  ${k.op('lock.wait')}
  jmp .lock_try
.lock_got:
  pop xbx
  ret

spin_unlock:
  push xbx
  push xsi
  inc byte ptr [lock_head]
  mov al, [lock_head]
  cmp al, [lock_tail]
  je .unlocked
  call cpu_number
  mov esi, eax
  xor ebx, ebx
.kick_next:
  cmp ebx, esi
  je .not_me
  mov eax, ebx
  ${k.op('lock.kick')}
.not_me:
  inc ebx
  cmp ebx, [cpus]
  jb .kick_next
.unlocked:
  pop xsi
  pop xbx
  ret

; Its number is at the bottom of its stack.
cpu_number:
  mov xax, xsp
  and xax, -${STACK}
  mov eax, [xax]
  ret

; "cpus=N" in the command line.
count_cpus:
  mov eax, [command_line]
  test eax, eax
  je .counted
.next_character:
  mov edx, [xax]
  test dl, dl
  je .counted
  inc xax
  cmp edx, ${'cpus'.split('').reduce((sum, c, i) => sum + c.charCodeAt(0) * 2 ** (8 * i), 0)}
  jne .next_character
  movzx eax, byte ptr [xax+4]
  sub eax, '0'
  mov [cpus], eax
.counted:
  ret

align 4
cpus: dd 1
cpus_up: dd 1
watched: dd 0
watching: dd 1
locked_count: dd 0
lock_waits: dd 0
lock_head: db 0
lock_tail: db 0
align 8
jobs: zero ${MAX_CPUS * k.word}
tsc_khz: dd 0
tsc_scale: dd 0
apic_khz: dd 0
`
}

export const programme = (k: Builder): string =>
  [interrupts, processor, faults, pageTables, userMode, time, otherCpus].map((part) => part(k)).join('\n')

export const programmeCode = (k: Builder): string => userCode(k) + otherCpusCode(k)

/** Other CPUs: start, interrupts, shootdown, contention. */
import type { Builder } from '../builder.ts'
import { MAX_CPUS, STACK, TRAMPOLINE, Vector } from '../layout.ts'
import { AD, frame, map, P, page, PATIENCE, W } from './common.ts'
import { ROUNDS } from './lock.ts'

export function otherCpus(k: Builder): string {
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
  call spin_lock                        ; until CPU 1 has waited for too long to spin
  mov dword ptr [lock_slept], 0
  mov eax, 1
  mov xdx, take_lock
  call run_on
  mov xsi, lock_slept
  mov edi, 1
  call wait_for
  call spin_unlock
  call wait_until_idle
  cmp dword ptr [lock_slept], 1
  jne .never_slept
  cmp xword ptr [jobs+${k.word}], 0
.never_slept:
  ${k.check('lock.wait, lock.kick: who waits long sleeps, and goes on', 'e')}
  mov eax, 1
  ${k.op('lock.vcpu_is_preempted')}
  cmp eax, 2
  ${k.check('vcpu_is_preempted: yes or no', 'b')}
.alone:
`
}

/** What other CPUs do, and what the first needs for it. */
export function otherCpusCode(k: Builder): string {
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
align 8
jobs: zero ${MAX_CPUS * k.word}
`
}

/** Clocks, and the timer with interrupts on and off. */
import type { Builder } from '../builder.ts'
import { MILLISECOND, PATIENCE } from './common.ts'

/** 2026-01-01. */
const NEW_YEAR = 1767225600

export function time(k: Builder): string {
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

export const timeCode = (k: Builder): string => `
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

align 4
tsc_khz: dd 0
tsc_scale: dd 0
apic_khz: dd 0
`

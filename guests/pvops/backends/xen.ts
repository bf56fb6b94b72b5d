/**
 * Xen, as a guest of hardware virtualization without a PC (PVH): console ring, clock in the shared page, one-shot timer and
 * locks by event channels, run states, power-off (Xen's public headers; HVM guests pass linear addresses).
 */
import type { Builder } from '../builder.ts'
import { MAX_CPUS } from '../layout.ts'
import { type Backend, ownPart, probeBySignature, writeAddress } from './backend.ts'
import { readClock, tscFrequency } from './pvclock.ts'

const SELF = 0x7ff0

/** Hypercalls. */
const MEMORY_OP = 12
const VCPU_OP = 24
const SCHED_OP = 29
const EVENT_CHANNEL_OP = 32
const HVM_OP = 34

/** Interrupts of the event channels, by a vector that wants no EOI. */
export const UPCALL = 0xf3

const RING_OUT = 1024
const OUT_BYTES = 2048

/** A hypercall; an argument may be XAX or XBX. It changes nothing but its result. */
export function call(k: Builder, number: number, ...args: readonly (string | number)[]): string {
  const registers = k.long ? ['rdi', 'rsi', 'rdx', 'r10'] : ['ebx', 'ecx', 'edx', 'esi']
  const kept = k.long ? ['rdi', 'rsi', 'r10'] : args.length > 3 ? ['ebx', 'esi'] : ['ebx']
  return [
    ...kept.map((name) => `push ${name}`),
    ...args.map((arg, i) => `mov ${registers[i]}, ${arg}`).toReversed(),
    `call xen.page+${32 * number}`,
    ...kept.toReversed().map((name) => `pop ${name}`),
  ].join('\n  ')
}

/** Places in the shared page, whose words are as wide as the code's. */
export const places = ({ long }: Builder) => ({
  selector: long ? 8 : 4,
  time: 32,
  pending: 2048,
  mask: long ? 2560 : 2176,
  wallClock: long ? 3072 : 2304,
})

function parameter(k: Builder, index: number): string {
  return `mov dword ptr [xen.block+4], ${index}\n  ${call(k, HVM_OP, 1, 'xen.block')}\n  mov eax, [xen.block+8]`
}

export const xen: Backend = {
  name: 'xen',
  title: 'Xen',
  overrides: () => [
    { op: 'init.arch_setup', to: 'xen.arch_setup' },
    { op: 'init.console_write', to: 'xen.console_write' },
    { op: 'init.power_off', to: 'xen.power_off' },
    { op: 'time.time_init', to: 'xen.time_init' },
    { op: 'time.sched_clock', to: 'xen.sched_clock' },
    { op: 'time.get_wallclock', to: 'xen.get_wallclock' },
    { op: 'time.steal_clock', to: 'xen.steal_clock' },
    { op: 'time.set_next_event', to: 'xen.set_next_event' },
    { op: 'cpu.io_delay', to: undefined },
    { op: 'irq.init_IRQ', to: undefined },
    { op: 'apic.setup_boot_clock', to: 'xen.setup_clock' },
    { op: 'apic.setup_secondary_clock', to: 'xen.setup_clock' },
    { op: 'lock.wait', to: 'xen.wait' },
    { op: 'lock.kick', to: 'xen.kick' },
    { op: 'lock.vcpu_is_preempted', to: 'xen.vcpu_is_preempted' },
  ],
  code: (k) => {
    const at = places(k)
    const time = k.long ? 16 : 12
    return `
${probeBySignature(
  'xen',
  'XenVMMXenVMM',
  `  mov eax, 0x40000002
  cpuid
  mov [xen.msr], ebx`,
)}

xen.arch_setup:                         ; hypercall page, shared page, console, how events are told
  mov xax, xen.page
  ${writeAddress(k, 0).replace('mov ecx, 0', 'mov ecx, [xen.msr]')}
  mov word ptr [xen.map], ${SELF}
  mov eax, xen.shared
  shr eax, 12
  mov [xen.map+${k.long ? 16 : 12}], xax
  ${call(k, MEMORY_OP, 7, 'xen.map')}
  mov word ptr [xen.block], ${SELF}
  ${parameter(k, 17)}
  shl eax, 12
  mov [xen.console], eax
  ${parameter(k, 18)}
  mov [xen.console_port], eax
  mov dword ptr [xen.block+4], 0
  mov dword ptr [xen.block+8], ${UPCALL}
  mov dword ptr [xen.block+12], ${2 << 24}
  ${call(k, HVM_OP, 0, 'xen.block')}
  ret

xen.console_write:
  push xbx
  push xsi
  push xdi
  mov xsi, xax
  mov xdi, xdx
  mov ebx, [xen.console]
.xen_next:
  test edi, edi
  je .xen_written
  mov edx, [xbx+3084]                   ; out_prod, out_cons
  mov eax, edx
  sub eax, [xbx+3080]
  cmp eax, ${OUT_BYTES}
  je .xen_full
  mov ecx, edx
  and ecx, ${OUT_BYTES - 1}
  mov al, [xsi]
  mov [xbx+xcx+${RING_OUT}], al
  inc edx
  mov [xbx+3084], edx
  inc xsi
  dec edi
  jmp .xen_next
.xen_full:
  call xen.tell_console
  jmp .xen_next
.xen_written:
  call xen.tell_console
  pop xdi
  pop xsi
  pop xbx
  ret

xen.tell_console:
  ${call(k, EVENT_CHANNEL_OP, 4, 'xen.console_port')}
  ret

xen.power_off:
  ${call(k, SCHED_OP, 2, 'xen.nothing')}
  jmp xen.power_off

xen.time_init:
  call native.time_init
${tscFrequency('xen', `xen.shared+${at.time}`)}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret
${readClock(k, 'xen', ownPart(`xen.shared+${at.time}`, 64))}
xen.get_wallclock:
  ${k.op('time.sched_clock')}
  ${k.long ? 'mov rdx, rax\n  shr rdx, 32' : ''}
  mov ecx, 1000000000
  div ecx
  add eax, [xen.shared+${at.wallClock + 4}]
  ret

xen.setup_clock:
  call native.setup_boot_clock

xen.setup_channels:                     ; run states, and channels for the timer and for locks
  push xbx
  mov xax, xen.upcall
  mov [handlers+${UPCALL * k.word}], xax
  call cpu_number
  mov ebx, eax
  shl eax, 6
  add xax, xen.runstates
  mov [xen.area], xax
  ${call(k, VCPU_OP, 5, 'xbx', 'xen.area')}
  mov dword ptr [xen.bind], 0           ; VIRQ_TIMER
  mov [xen.bind+4], ebx
  ${call(k, EVENT_CHANNEL_OP, 1, 'xen.bind')}
  mov eax, [xen.bind+8]
  mov [xen.timer_ports+xbx*4], eax
  mov [xen.bind], ebx
  ${call(k, EVENT_CHANNEL_OP, 7, 'xen.bind')}
  mov eax, [xen.bind+4]
  mov [xen.kick_ports+xbx*4], eax
  bts dword ptr [xen.shared+${at.mask}], eax
  pop xbx
  ret

xen.steal_clock:                        ; runnable and offline
  ${ownPart('xen.runstates', 64)}
  ${
    k.long
      ? `mov rdx, [rax+${time + 8}]\n  add rdx, [rax+${time + 24}]\n  mov rax, rdx`
      : `mov ecx, [eax+${time + 8}]\n  mov edx, [eax+${time + 12}]\n  add ecx, [eax+${time + 24}]\n  adc edx, [eax+${time + 28}]\n  mov eax, ecx`
  }
  ret

xen.set_next_event:                     ; a time of this clock
  push xbx
  mov ebx, eax
  ${k.op('time.sched_clock')}
  ${k.long ? 'add rax, rbx\n  mov [xen.timer], rax' : 'add eax, ebx\n  adc edx, 0\n  mov [xen.timer], eax\n  mov [xen.timer+4], edx'}
  call cpu_number
  mov ebx, eax
  ${call(k, VCPU_OP, 8, 'xbx', 'xen.timer')}
  pop xbx
  ret

; An event: only the timer's is ever told this way.
xen.upcall:
  call cpu_number
  mov edx, eax
  shl edx, 6
  add xdx, xen.shared
  mov byte ptr [xdx], 0
  xor ecx, ecx
  xchg [xdx+${at.selector}], xcx
  mov eax, [xen.timer_ports+xax*4]
  lock btr dword ptr [xen.shared+${at.pending}], eax
  jnc .xen_other
  lock inc dword ptr [timer_ticks]
.xen_other:
  ret

xen.wait:                               ; sleep until the channel is used, unless it was just now
  push xbx
  push xsi
  push xdi
  mov xsi, xax
  mov edi, edx
  call cpu_number
  mov ebx, eax
  mov ecx, [xen.kick_ports+xbx*4]
  lock btr dword ptr [xen.shared+${at.pending}], ecx
  mov edx, edi
  cmp [xsi], dl
  jne .xen_waited
  lea ecx, [xbx*4+xen.kick_ports]       ; SCHEDOP_poll: where the ports are, how many, no time-out
  imul ebx, ebx, 24
  add xbx, xen.polls
  mov [xbx], xcx
  mov dword ptr [xbx+${k.word}], 1
  ${call(k, SCHED_OP, 3, 'xbx')}
.xen_waited:
  pop xdi
  pop xsi
  pop xbx
  ret

xen.kick:
  lea eax, [xax*4+xen.kick_ports]
  ${call(k, EVENT_CHANNEL_OP, 4, 'xax')}
  ret

xen.vcpu_is_preempted:                  ; its state is runnable
  shl eax, 6
  cmp dword ptr [xax+xen.runstates], 1
  sete al
  movzx eax, al
  ret

xen.features: dd 0
xen.msr: dd 0
xen.console: dd 0
xen.console_port: dd 0
xen.nothing: dd 0
align 8
xen.block: zero 16
xen.map: zero 24
xen.bind: zero 12
align 8
xen.area: zero 8
xen.timer: zero 16
xen.timer_ports: zero ${4 * MAX_CPUS}
xen.kick_ports: zero ${4 * MAX_CPUS}
align 8
xen.polls: zero ${24 * MAX_CPUS}
align 64
xen.runstates: zero ${64 * MAX_CPUS}
align 4096
xen.page: zero 4096
xen.shared: zero 4096
`
  },
}

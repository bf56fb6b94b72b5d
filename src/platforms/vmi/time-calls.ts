/** VMI's calls about time: cycles, alarms, the time of day. The unit is a cycle of the TSC. */
import type { Argument } from '../../paravirt/requests.ts'
import { Counter } from './alarms.ts'
import type { Call } from './call.ts'

const common = {
  kind: 'hypercall',
  tier: 'call',
  answer: 'trap',
  args: [],
  errors: {},
  ops: [],
  source: 'VMware, Paravirtualization API 2.0, timer calls; Linux 2.6.36 arch/x86/include/asm/vmi_time.h',
} as const

const word = (name: string): Argument => ({ name, type: { kind: 'u32' } })
const alarmFlags: Argument = {
  name: 'flags',
  type: {
    kind: 'fields',
    fields: [
      ['counter', 0, 8],
      ['periodic', 8, 1],
      ['lvtt', 16, 1],
    ],
  },
}

export const timeCalls: readonly Call[] = [
  {
    ...common,
    number: 66,
    name: 'VMI_CALL_GetCycleFrequency',
    summary: 'cycles a second',
    ops: ['time.get_tsc_khz'],
    run: ({ effects }) => BigInt(effects.time.tscHz),
  },
  {
    ...common,
    number: 67,
    name: 'VMI_CALL_GetCycleCounter',
    summary: 'cycles since power-on: all, those that the processor could use, or those taken from it',
    args: [
      {
        name: 'counter',
        type: {
          kind: 'choice',
          values: {
            VMI_CYCLES_REAL: Counter.REAL,
            VMI_CYCLES_AVAILABLE: Counter.AVAILABLE,
            VMI_CYCLES_STOLEN: Counter.STOLEN,
          },
        },
      },
    ],
    ops: ['time.clocksource', 'time.sched_clock', 'time.steal_clock'],
    run: ({ alarms }, vcpu, { eax }) => BigInt(alarms.cycles(vcpu, eax)),
  },
  {
    ...common,
    number: 68,
    name: 'VMI_CALL_SetAlarm',
    summary: 'interrupt when a counter reaches a value, once or again and again',
    args: [alarmFlags, word('expiry_low'), word('expiry_high'), word('period_low'), word('period_high')],
    errors: { 'no counter': 'it counts nothing that can have an alarm: ignored' },
    ops: ['time.set_next_event'],
    run: ({ alarms }, vcpu, { eax, edx, ecx, stack: [low, high] }) =>
      alarms.set(vcpu, eax, cycles(edx, ecx), cycles(low, high)) ? undefined : { error: 'no counter' },
  },
  {
    ...common,
    number: 69,
    name: 'VMI_CALL_CancelAlarm',
    summary: 'take an alarm back; 1 if it was set',
    args: [alarmFlags],
    ops: ['time.set_next_event'],
    run: ({ alarms }, vcpu, { eax }) => Number(alarms.cancel(vcpu, eax)),
  },
  {
    ...common,
    number: 70,
    name: 'VMI_CALL_GetWallclockTime',
    summary: 'nanoseconds since 1970',
    ops: ['time.get_wallclock'],
    run: ({ effects }) => BigInt.asUintN(64, effects.time.wallClock()),
  },
  {
    ...common,
    number: 71,
    name: 'VMI_CALL_WallclockUpdated',
    summary: 'whether the time of day was set from outside since the last call: it never is',
    ops: ['time.get_wallclock'],
    run: () => 0,
  },
  {
    ...common,
    number: 73,
    name: 'VMI_CALL_SetLazyMode',
    summary: 'calls may wait until the mode ends: here none waits',
    tier: 'inline',
    answer: 'nop',
    args: [{ name: 'mode', type: { kind: 'choice', values: { NONE: 0, MMU: 1, CPU: 2 } } }],
    source: 'VMware, Paravirtualization API 2.0, MMU calls',
  },
]

/** An unsigned 64-bit number of cycles, exact for 104 days of them. */
const cycles = (low: number, high: number) => high * 2 ** 32 + low

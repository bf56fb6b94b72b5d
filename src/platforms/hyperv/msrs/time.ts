/** MSRs of time: the reference clock, frequencies, synthetic timers, and the halt that waits for them. */
import type { ArgumentType, Msr } from '../../../paravirt/requests.ts'
import type { Partition } from '../partition.ts'
import type { SyntheticTimer } from '../stimer.ts'
import { TIMERS } from '../stimer.ts'
import { msr, pageRegister } from './declare.ts'

const TIMER_REGISTERS = 'Synthetic Timer Registers'

const timerConfig: ArgumentType = {
  kind: 'fields',
  fields: [
    ['enable', 0, 1],
    ['periodic', 1, 1],
    ['lazy', 2, 1],
    ['autoEnable', 3, 1],
    ['vector', 4, 8],
    ['direct', 12, 1],
    ['sint', 16, 4],
  ],
}

const timer = (partition: Partition, vcpu: number, index: number): SyntheticTimer =>
  partition.vp(vcpu).timers[index] as SyntheticTimer

const timerMsrs = Array.from({ length: TIMERS }, (_, i): Msr<Partition>[] => [
  msr({
    number: 0x400000b0 + 2 * i,
    name: `HV_X64_MSR_STIMER${i}_CONFIG`,
    summary: `how synthetic timer ${i} works and whom it tells`,
    value: timerConfig,
    refused: 'direct mode without stimer-direct',
    feature: 'stimer',
    ops: ['time.set_next_event'],
    section: TIMER_REGISTERS,
    read: (partition, vcpu) => timer(partition, vcpu, i).config,
    write: (partition, vcpu, value) => timer(partition, vcpu, i).writeConfig(value),
  }),
  msr({
    number: 0x400000b1 + 2 * i,
    name: `HV_X64_MSR_STIMER${i}_COUNT`,
    summary: `when synthetic timer ${i} expires, or its period; zero stops it`,
    feature: 'stimer',
    ops: ['time.set_next_event'],
    section: TIMER_REGISTERS,
    read: (partition, vcpu) => timer(partition, vcpu, i).count,
    write: (partition, vcpu, value) => timer(partition, vcpu, i).writeCount(value),
  }),
]).flat()

export const timeMsrs = [
  msr({
    number: 0x40000020,
    name: 'HV_X64_MSR_TIME_REF_COUNT',
    summary: 'reference time, in 100 ns',
    feature: 'time-ref',
    ops: ['time.sched_clock', 'time.clocksource'],
    section: 'Reference Counter',
    read: ({ clock }) => clock.now(),
  }),
  msr({
    number: 0x40000021,
    name: 'HV_X64_MSR_REFERENCE_TSC',
    summary: 'the page with which the guest computes reference time from the TSC',
    value: pageRegister,
    feature: 'reference-tsc',
    ops: ['time.sched_clock', 'time.clocksource'],
    section: 'Partition Reference Time Enlightenment',
    read: ({ clock }) => clock.register,
    write: ({ clock }, vcpu, value) => clock.write(vcpu, value),
  }),
  msr({
    number: 0x40000022,
    name: 'HV_X64_MSR_TSC_FREQUENCY',
    summary: 'of the TSC, in Hz',
    feature: 'frequencies',
    ops: ['time.get_tsc_khz'],
    section: 'HV_PARTITION_PRIVILEGE_MASK, AccessFrequencyRegs',
    read: ({ effects }) => BigInt(effects.time.tscHz),
  }),
  msr({
    number: 0x40000023,
    name: 'HV_X64_MSR_APIC_FREQUENCY',
    summary: "of the local APIC's timer, in Hz",
    feature: 'frequencies',
    ops: ['time.set_next_event'],
    section: 'HV_PARTITION_PRIVILEGE_MASK, AccessFrequencyRegs',
    read: ({ effects }) => BigInt(effects.time.apicHz),
  }),
  ...timerMsrs,
  msr({
    number: 0x400000f0,
    name: 'HV_X64_MSR_GUEST_IDLE',
    summary: 'a read halts until an interrupt waits, even with interrupts off',
    feature: 'guest-idle',
    ops: ['lock.wait'],
    section: 'Virtual Processor Idle Sleep State',
    read: ({ effects }, vcpu) => {
      effects.lock.block(vcpu)
      return 0n
    },
  }),
]

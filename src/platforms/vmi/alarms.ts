/**
 * VMI's timer: two alarms for each vCPU, one on all cycles, one on those that the vCPU could use (VMware,
 * Paravirtualization API 2.0, timer calls). A cycle is one of the TSC's, here a nanosecond; counters begin at power-on.
 */
import type { Deadline, Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

export const Counter = { REAL: 0, AVAILABLE: 1, STOLEN: 2 } as const

const COUNTER = 0xff
const PERIODIC = 0x100
const LVTT = 0x10000
/** Local APIC, LVT timer register: the vector and the mask bit. */
const APIC_LVTT = 0x320
const LVT_MASKED = 0x10000
const NANOSECONDS = 1e9
/** A guest cannot keep the host busy with periods that are shorter than this, in nanoseconds. */
const SHORTEST_PERIOD = 10_000

interface Alarm {
  readonly deadline: Deadline
  armed: boolean
  expiry: number
  /** 0: once. */
  period: number
  lvtt: boolean
}

export class Alarms implements Stateful {
  readonly #effects: Effects
  /** By vCPU and counter. */
  readonly #alarms: readonly (readonly Alarm[])[]
  readonly #perNanosecond: number

  constructor(effects: Effects) {
    this.#effects = effects
    this.#perNanosecond = effects.time.tscHz / NANOSECONDS
    this.#alarms = Array.from({ length: effects.cpu.count }, (_, vcpu) =>
      [Counter.REAL, Counter.AVAILABLE].map((counter) => ({
        deadline: effects.time.deadline(() => this.#check(vcpu, counter)),
        armed: false,
        expiry: 0,
        period: 0,
        lvtt: false,
      })),
    )
  }

  transfer(state: Transfer): void {
    for (const [vcpu, alarms] of this.#alarms.entries())
      for (const [counter, alarm] of alarms.entries()) {
        const { armed, expiry, period, lvtt } = alarm
        Object.assign(alarm, state.field(`${vcpu}.${counter}`, { armed, expiry, period, lvtt }))
      }
  }

  /** A counter's value; 0 for one that does not exist. */
  cycles(vcpu: number, counter: number): number {
    const { time } = this.#effects
    const real = time.now()
    const stolen = time.stolen(vcpu)
    const nanoseconds = { [Counter.REAL]: real, [Counter.AVAILABLE]: real - stolen, [Counter.STOLEN]: stolen }[counter]
    return Math.floor((nanoseconds ?? 0) * this.#perNanosecond)
  }

  /** False if the counter cannot have an alarm. */
  set(vcpu: number, flags: number, expiry: number, period: number): boolean {
    const alarm = this.#alarms[vcpu]?.[flags & COUNTER]
    if (!alarm) return false
    alarm.armed = true
    alarm.expiry = expiry
    alarm.period = (flags & PERIODIC) === 0 ? 0 : period
    alarm.lvtt = (flags & LVTT) !== 0
    this.#arm(vcpu, flags & COUNTER, alarm)
    return true
  }

  /** True if it was set. */
  cancel(vcpu: number, flags: number): boolean {
    const alarm = this.#alarms[vcpu]?.[flags & COUNTER]
    if (!alarm?.armed) return false
    alarm.armed = false
    alarm.deadline.set(Infinity)
    return true
  }

  /** The counter grows no faster than time, so it is not there before `left` cycles have passed. */
  #arm(vcpu: number, counter: number, { deadline, expiry }: Alarm): void {
    const left = expiry - this.cycles(vcpu, counter)
    deadline.set(this.#effects.time.now() + Math.max(0, Math.ceil(left / this.#perNanosecond)))
  }

  #check(vcpu: number, counter: number): void {
    const alarm = this.#alarms[vcpu]?.[counter] as Alarm
    const now = this.cycles(vcpu, counter)
    if (!alarm.armed) return
    if (now < alarm.expiry) return this.#arm(vcpu, counter, alarm)
    // Missed periods are one interrupt; the next is the first that lies ahead.
    if (alarm.period > 0) {
      const period = Math.max(alarm.period, SHORTEST_PERIOD * this.#perNanosecond)
      alarm.expiry += period * (Math.floor((now - alarm.expiry) / period) + 1)
      this.#arm(vcpu, counter, alarm)
    } else alarm.armed = false
    this.#interrupt(vcpu, alarm.lvtt)
  }

  #interrupt(vcpu: number, lvtt: boolean): void {
    const { irq } = this.#effects
    if (!lvtt) return irq.isa(0)
    const entry = irq.apic(vcpu, APIC_LVTT)
    if ((entry & LVT_MASKED) === 0) irq.post(vcpu, entry & 0xff)
  }
}

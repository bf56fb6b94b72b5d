/**
 * The local APIC's timer: one-shot, periodic and TSC-deadline (SDM Vol. 3A, "APIC Timer"). Counts are computed from
 * the clock when asked for; the clock is armed only for an expiry that is unmasked.
 */
import type { Clock, Timer } from '../../machine/clock.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

/** The bus clock is 25 MHz, as CPUID leaf 0x15 says. */
const BUS_NS = 40

const PERIODIC = 1
const TSC_DEADLINE = 2

export class LapicTimer implements Stateful {
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #fire: () => void
  readonly #tscOffset: () => number

  /** LVT bits 17-18. */
  #mode = 0
  #masked = true
  initialCount = 0
  #divide = 0
  /** Nanoseconds of one count. */
  #period = 2 * BUS_NS
  /** The counter was `#count` at `#start`, and runs if it is not 0. */
  #count = 0
  #start = 0
  /** IA32_TSC_DEADLINE; both 0: not armed. */
  #deadlineLow = 0
  #deadlineHigh = 0

  /** `tscOffset` is what the processor adds to the clock to give its TSC, in nanoseconds. */
  constructor(clock: Clock, fire: () => void, tscOffset: () => number) {
    this.#clock = clock
    this.#fire = fire
    this.#tscOffset = tscOffset
    this.#timer = clock.schedule(Infinity, () => this.#expire())
  }

  transfer(state: Transfer): void {
    this.#mode = state.field('mode', this.#mode)
    this.#masked = state.field('masked', this.#masked)
    this.initialCount = state.field('initialCount', this.initialCount)
    this.#divide = state.field('divide', this.#divide)
    this.#period = state.field('period', this.#period)
    this.#count = state.field('count', this.#count)
    this.#start = state.field('start', this.#start)
    this.#deadlineLow = state.field('deadlineLow', this.#deadlineLow)
    this.#deadlineHigh = state.field('deadlineHigh', this.#deadlineHigh)
  }

  reset(): void {
    this.#mode = 0
    this.#masked = true
    this.initialCount = 0
    this.#divide = 0
    this.#period = 2 * BUS_NS
    this.#count = 0
    this.#deadlineLow = 0
    this.#deadlineHigh = 0
    this.#arm()
  }

  /** The timer's LVT entry was written. Changing to or from TSC-deadline mode disarms. */
  setLvt(entry: number): void {
    this.#settle()
    this.#lapse()
    const mode = (entry >> 17) & 3
    if (mode !== this.#mode) {
      const now = this.#clock.now()
      if (mode === TSC_DEADLINE || this.#mode === TSC_DEADLINE) {
        this.initialCount = 0
        this.#count = 0
        this.#deadlineLow = 0
        this.#deadlineHigh = 0
      } else this.#rebase(now)
      this.#mode = mode
    }
    this.#masked = (entry & 0x10000) !== 0
    this.#arm()
  }

  setInitialCount(count: number): void {
    if (this.#mode === TSC_DEADLINE) return
    this.#settle()
    this.initialCount = count
    this.#count = count
    this.#start = this.#clock.now()
    this.#arm()
  }

  get divide(): number {
    return this.#divide
  }

  /** Divide configuration: bits 0, 1, 3; 7 divides by 1, others by 2 << n. The count goes on at the new speed. */
  set divide(value: number) {
    this.#settle()
    this.#rebase(this.#clock.now())
    this.#divide = value & 0xb
    const n = (value & 3) | ((value & 8) >> 1)
    this.#period = BUS_NS * (n === 7 ? 1 : 2 << n)
    this.#arm()
  }

  currentCount(): number {
    return this.#mode === TSC_DEADLINE ? 0 : this.#countAt(this.#clock.now())
  }

  /** Reads as 0 outside TSC-deadline mode and once the deadline has passed. */
  readDeadline(): bigint {
    this.#settle()
    this.#lapse()
    return (BigInt(this.#deadlineHigh) << 32n) | BigInt(this.#deadlineLow)
  }

  writeDeadline(low: number, high: number): void {
    if (this.#mode !== TSC_DEADLINE) return
    this.#settle()
    this.#deadlineLow = low >>> 0
    this.#deadlineHigh = high >>> 0
    this.#arm()
  }

  /** The processor's TSC was set: its deadline is at another moment now. */
  tscOffsetChanged(): void {
    if (this.#mode === TSC_DEADLINE) this.#arm()
  }

  #countAt(now: number): number {
    const elapsed = Math.floor((now - this.#start) / this.#period)
    if (elapsed < this.#count) return this.#count - elapsed
    if (this.#mode !== PERIODIC || this.initialCount === 0) return 0
    return this.initialCount - ((elapsed - this.#count) % this.initialCount)
  }

  /** Make the present count the start of what follows, keeping the started fraction of a period. */
  #rebase(now: number): void {
    const count = this.#countAt(now)
    this.#start = now - ((now - this.#start) % this.#period)
    this.#count = count
  }

  /** Clock time of the deadline, Infinity if not armed. */
  #deadlineAt(): number {
    if (this.#deadlineLow === 0 && this.#deadlineHigh === 0) return Infinity
    return this.#deadlineHigh * 0x100000000 + this.#deadlineLow - this.#tscOffset()
  }

  /** A deadline that passes while masked is lost. */
  #lapse(): void {
    if (this.#masked && this.#deadlineAt() <= this.#clock.now()) this.#disarmDeadline()
  }

  #disarmDeadline(): void {
    this.#deadlineLow = 0
    this.#deadlineHigh = 0
  }

  /** Plan the next expiry that can be seen; a deadline that has passed expires here. */
  #arm(): void {
    let at = Infinity
    if (!this.#masked) {
      const now = this.#clock.now()
      if (this.#mode === TSC_DEADLINE) {
        at = this.#deadlineAt()
        if (at <= now) {
          this.#clock.cancel(this.#timer)
          this.#disarmDeadline()
          this.#fire()
          return
        }
      } else {
        const left = this.#countAt(now)
        if (left > 0) at = now - ((now - this.#start) % this.#period) + left * this.#period
      }
    }
    this.#clock.reschedule(this.#timer, at)
  }

  /** An expiry that is due but has not run yet comes before whatever the guest does now. */
  #settle(): void {
    if (this.#timer.at > this.#clock.now()) return
    this.#clock.cancel(this.#timer)
    this.#expire()
  }

  #expire(): void {
    if (this.#mode === TSC_DEADLINE) this.#disarmDeadline()
    else {
      // Expiries that were missed are one: a second request while the first waits in IRR has no effect.
      this.#rebase(this.#clock.now())
      this.#arm()
    }
    this.#fire()
  }
}

/** A vCPU's timers, which all end in VIRQ_TIMER: one shot (by vcpu_op or set_timer_op, it is the same) and periodic. */
import type { Deadline } from '../../../paravirt/effects.ts'
import type { TimeEffects } from '../../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

/** set_timer_op takes times further away than this, or negative, for mistakes, and fires after a while. */
const FAR = 2 ** 50
const AFTER_FAR = 100_000_000

export class Timers implements Stateful {
  readonly #time: TimeEffects
  readonly #fire: () => void
  readonly #shot: Deadline
  readonly #periodic: Deadline
  #period = 0
  /** When the periodic timer last fired. */
  #last = 0

  constructor(time: TimeEffects, fire: () => void) {
    this.#time = time
    this.#fire = fire
    this.#shot = time.deadline(fire)
    this.#periodic = time.deadline(() => this.#tick())
  }

  transfer(state: Transfer): void {
    this.#period = state.field('period', this.#period)
    this.#last = state.field('last', this.#last)
  }

  /** VCPUOP_set_singleshot_timer: at this system time, at once if it has passed; Infinity: some time. */
  set(at: number): void {
    const passed = at < this.#time.now()
    this.#shot.set(passed ? Infinity : at)
    if (passed) this.#fire()
  }

  stop(): void {
    this.#shot.set(Infinity)
  }

  /** set_timer_op: `at` is a signed number of nanoseconds. */
  setOp(at: number): void {
    const now = this.#time.now()
    if (at === 0) this.stop()
    else this.#shot.set(at < 0 || at - now >= FAR ? now + AFTER_FAR : at)
  }

  /** 0: no periodic timer. */
  setPeriod(nanoseconds: number): void {
    this.#period = nanoseconds
    if (nanoseconds === 0) this.#periodic.set(Infinity)
    else this.#tick()
  }

  /** The period with which the vCPU begins, once it runs. */
  begin(nanoseconds: number): void {
    this.#period = nanoseconds
    this.#last = 0
  }

  /** The vCPU goes on, or halts: the periodic timer runs with it. */
  enter(): void {
    if (this.#period !== 0) this.#tick()
  }

  halt(): void {
    if (this.#period !== 0) this.#periodic.set(Infinity)
  }

  #tick(): void {
    const now = this.#time.now()
    let next = this.#last + this.#period
    if (now >= next) {
      this.#fire()
      this.#last = now
      next = now + this.#period
    }
    this.#periodic.set(next)
  }
}

/** A domain's watchdogs (SCHEDOP_watchdog): each ends the domain unless it is set again in time. */
import type { Deadline } from '../../../paravirt/effects.ts'
import { Shutdown } from '../constants.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'

/** NR_DOMAIN_WATCHDOG_TIMERS */
const COUNT = 2
const SECOND = 1e9

export class Watchdogs {
  readonly #domain: Context
  readonly #deadlines: (Deadline | undefined)[] = Array.from({ length: COUNT }, () => undefined)

  constructor(domain: Context) {
    this.#domain = domain
  }

  /** `id` 0: a new one, whose number is the answer. */
  set(id: number, seconds: number): number {
    if (id > COUNT) return Errno.EINVAL
    const { time } = this.#domain.effects
    const at = time.now() + seconds * SECOND
    if (id === 0) {
      const free = this.#deadlines.indexOf(undefined)
      if (free < 0) return Errno.ENOSPC
      const deadline = time.deadline(() => this.#domain.shutdown(Shutdown.WATCHDOG))
      deadline.set(at)
      this.#deadlines[free] = deadline
      return free + 1
    }
    const deadline = this.#deadlines[id - 1]
    if (!deadline) return Errno.EINVAL
    deadline.set(seconds === 0 ? Infinity : at)
    if (seconds === 0) this.#deadlines[id - 1] = undefined
    return 0
  }
}

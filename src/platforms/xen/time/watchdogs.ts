/** A domain's watchdogs (SCHEDOP_watchdog): each ends the domain unless it is set again in time. */
import type { Deadline } from '../../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Shutdown } from '../constants.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'

/** NR_DOMAIN_WATCHDOG_TIMERS */
const COUNT = 2
const SECOND = 1e9

export class Watchdogs implements Stateful {
  readonly #domain: Context
  readonly #deadlines: readonly Deadline[]
  readonly #set = Array.from({ length: COUNT }, () => false)

  constructor(domain: Context) {
    this.#domain = domain
    this.#deadlines = this.#set.map(() => domain.effects.time.deadline(() => domain.shutdown(Shutdown.WATCHDOG)))
  }

  transfer(state: Transfer): void {
    state.list('set', this.#set)
  }

  /** As a new domain's: none is set. */
  restart(): void {
    this.#set.fill(false)
    for (const deadline of this.#deadlines) deadline.set(Infinity)
  }

  /** `id` 0: a new one, whose number is the answer. */
  set(id: number, seconds: number): number {
    if (id > COUNT) return Errno.EINVAL
    const at = this.#domain.effects.time.now() + seconds * SECOND
    if (id === 0) {
      const free = this.#set.indexOf(false)
      if (free < 0) return Errno.ENOSPC
      this.#set[free] = true
      this.#deadlines[free]?.set(at)
      return free + 1
    }
    if (!this.#set[id - 1]) return Errno.EINVAL
    this.#set[id - 1] = seconds !== 0
    this.#deadlines[id - 1]?.set(seconds === 0 ? Infinity : at)
    return 0
  }
}

/**
 * xenstored's limit to the rate of writes. Writes of a domain can make other domains' transactions fail, so while any
 * transaction is open each write costs a domain credit, which comes back with time; with none left its requests wait.
 */

import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

/** Credit for a write, in thousandths. */
const COST = 1000
/** Credit a second, for all domains together. */
const RATE = 200 * COST
/** The most that a domain can save up, and what it begins with. */
const BURST = 10 * COST
const RESERVE_MAX = 1000 * COST
const NS_PER_MS = 1e6

export class WriteRate implements Stateful {
  #credit = BURST
  /** What domains did not use while they were full: it helps out later. Two domains have begun on credit. */
  #reserve = -2 * BURST
  #updated: number
  readonly #now: () => number
  readonly #domains: number

  /** `now` in nanoseconds; `domains` share the rate. */
  constructor(now: () => number, domains: number) {
    this.#now = now
    this.#domains = domains
    this.#updated = this.#milliseconds()
  }

  transfer(state: Transfer): void {
    this.#credit = state.field('credit', this.#credit)
    this.#reserve = state.field('reserve', this.#reserve)
    this.#updated = state.field('updated', this.#updated)
  }

  charge(): void {
    this.#update()
    this.#credit -= COST
  }

  /** When the domain may go on, in nanoseconds: not later than now if it may. */
  ready(): number {
    this.#update()
    if (this.#credit >= 0) return 0
    return (this.#updated + Math.ceil((-this.#credit * 1000 * this.#domains) / RATE)) * NS_PER_MS
  }

  #milliseconds(): number {
    return Math.floor(this.#now() / NS_PER_MS)
  }

  #update(): void {
    const now = this.#milliseconds()
    this.#credit += Math.floor(((now - this.#updated) * RATE) / (this.#domains * 1000))
    this.#updated = now
    const help = Math.min(this.#reserve, -this.#credit)
    if (help > 0) this.#transfer(-help)
    const surplus = this.#credit - BURST
    if (surplus > 0) this.#transfer(surplus)
  }

  /** From the domain to the reserve. */
  #transfer(amount: number): void {
    this.#credit -= amount
    this.#reserve = Math.min(RESERVE_MAX, this.#reserve + amount)
  }
}

/** How many instructions the guest executes in a nanosecond, lately: what tells a slice's length from its time. */

/** Milliseconds that are one measurement: with the coarse clock of a browser, one slice tells nothing. */
const SPAN = 1

export class Rate {
  value = 0.1
  #executed = 0
  #milliseconds = 0

  /** Instructions that were executed, and how long that took. */
  add(executed: number, milliseconds: number): void {
    this.#executed += executed
    this.#milliseconds += milliseconds
    if (this.#milliseconds < SPAN) return
    this.value = 0.5 * (this.value + this.#executed / (this.#milliseconds * 1e6))
    this.#executed = 0
    this.#milliseconds = 0
  }
}

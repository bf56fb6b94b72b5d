/**
 * The one virtual time base: every counter and timer of the machine (TSC, LAPIC, PIT, RTC, PM timer) derives from it.
 *
 * Time is in nanoseconds since power-on, always an integer. It comes either from the host (`RealClock`) or from the
 * number of executed guest instructions (`CountedClock`, deterministic).
 */

import { SnapshotError } from '../snapshot/error.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

/** A callback with a deadline. Made once by its owner and rescheduled as needed, so that arming allocates nothing. */
export interface Timer {
  readonly callback: () => void
  /** Deadline; Infinity: not armed. */
  at: number
  /** Order of arming: timers due at the same moment run in it. */
  order: number
  /** Place in the heap, -1: not armed. */
  index: number
}

/** Node looks its global up anew each time, which takes longer than to ask it. */
const host = performance

export abstract class Clock implements Stateful {
  /** Called when the next deadline became earlier: whoever planned to run until the old one must look again. */
  onEarlier: (() => void) | undefined
  /** Called when somebody has read a time at which a timer is due: it shall ring before the guest makes anything of it. */
  onLate: (() => void) | undefined
  readonly #heap: Timer[] = []
  /** All timers, in the order in which they were made. */
  readonly #timers: Timer[] = []
  #order = 0

  /** Nanoseconds since power-on. */
  abstract now(): number

  /**
   * A new timer; `at` may be Infinity. Timers live as long as the clock and are made by the constructors of their
   * owners: snapshots know them by their order.
   */
  schedule(at: number, callback: () => void): Timer {
    const timer: Timer = { callback, at: Infinity, order: 0, index: -1 }
    this.#timers.push(timer)
    this.reschedule(timer, at)
    return timer
  }

  /** Move a timer, armed or not, to `at`; Infinity disarms it. */
  reschedule(timer: Timer, at: number): void {
    const before = this.nextDeadline()
    timer.at = at
    timer.order = this.#order++
    if (at === Infinity) {
      if (timer.index >= 0) this.#remove(timer)
      return
    }
    if (timer.index < 0) {
      timer.index = this.#heap.length
      this.#heap.push(timer)
    }
    this.#down(this.#up(timer.index))
    if (at < before) this.onEarlier?.()
  }

  cancel(timer: Timer): void {
    this.reschedule(timer, Infinity)
  }

  /** Earliest deadline, Infinity if there is none. */
  nextDeadline(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0].at
  }

  /** Run the callbacks of all timers that are due, the earliest first. A timer is disarmed before its callback runs. */
  runDue(): void {
    if (this.#heap.length === 0) return
    const now = this.now()
    for (let timer = this.#heap[0]; timer !== undefined && timer.at <= now; timer = this.#heap[0]) {
      this.#remove(timer)
      timer.at = Infinity
      timer.callback()
    }
  }

  /** Deadlines are the clock's to save, not the timers' owners'. */
  transfer(state: Transfer): void {
    this.#order = state.field('order', this.#order)
    const deadlines = this.#timers.flatMap(({ at, order }) => [at, order])
    const known = deadlines.length
    state.list('timers', deadlines)
    if (!state.loading) return
    if (deadlines.length !== known)
      throw new SnapshotError(`clock has ${deadlines.length / 2} timers, not ${known / 2}`)
    this.#heap.length = 0
    for (const [i, timer] of this.#timers.entries()) {
      timer.at = deadlines[2 * i]
      timer.order = deadlines[2 * i + 1]
      timer.index = timer.at === Infinity ? -1 : this.#heap.push(timer) - 1
    }
    for (let index = this.#heap.length - 1; index >= 0; index--) this.#down(index)
  }

  #remove(timer: Timer): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (last !== timer) {
      heap[timer.index] = last
      last.index = timer.index
      this.#down(this.#up(last.index))
    }
    timer.index = -1
  }

  #up(index: number): number {
    const heap = this.#heap
    const timer = heap[index]
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!earlier(timer, heap[parent])) break
      this.#place(heap[parent], index)
      index = parent
    }
    this.#place(timer, index)
    return index
  }

  #down(index: number): void {
    const heap = this.#heap
    const timer = heap[index]
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && earlier(heap[child + 1], heap[child])) child++
      if (!earlier(heap[child], timer)) break
      this.#place(heap[child], index)
      index = child
    }
    this.#place(timer, index)
  }

  #place(timer: Timer, index: number): void {
    this.#heap[index] = timer
    timer.index = index
  }
}

function earlier(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Host time; it stands still while paused. */
export class RealClock extends Clock {
  /** Host milliseconds at time 0. */
  #origin = host.now()
  #pausedAt: number | undefined

  override now(): number {
    const now = this.#pausedAt ?? Math.floor((host.now() - this.#origin) * 1e6)
    if (now >= this.nextDeadline()) this.onLate?.()
    return now
  }

  override transfer(state: Transfer): void {
    super.transfer(state)
    // It stands still until the machine runs.
    const now = state.field('now', this.now())
    if (state.loading) this.#pausedAt = now
  }

  pause(): void {
    this.#pausedAt = this.now()
  }

  resume(): void {
    if (this.#pausedAt === undefined) return
    this.#origin = host.now() - this.#pausedAt / 1e6
    this.#pausedAt = undefined
  }
}

/** Time from the instruction count: the same run gives the same times. */
export class CountedClock extends Clock {
  readonly #instructions: () => number
  readonly #nsPerInstruction: number
  #skipped = 0

  constructor(instructions: () => number, nsPerInstruction = 1) {
    super()
    this.#instructions = instructions
    this.#nsPerInstruction = nsPerInstruction
  }

  override now(): number {
    return this.#skipped + Math.floor(this.#instructions() * this.#nsPerInstruction)
  }

  override transfer(state: Transfer): void {
    super.transfer(state)
    this.#skipped = state.field('skipped', this.#skipped)
  }

  /** An idle machine executes nothing: jump to a later moment. */
  skipTo(at: number): void {
    this.#skipped += Math.max(0, at - this.now())
  }
}

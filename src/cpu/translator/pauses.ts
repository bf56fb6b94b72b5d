/** How long the running vCPU waited for the translator: a histogram whose buckets are an eighth of a power of two. */

const STEPS = 8
/** The first bucket ends here, in milliseconds. */
const FIRST = 0.001

export class Pauses {
  count = 0
  milliseconds = 0
  longest = 0
  readonly #buckets: number[] = []

  add(milliseconds: number): void {
    this.count++
    this.milliseconds += milliseconds
    this.longest = Math.max(this.longest, milliseconds)
    const bucket = Math.max(0, Math.ceil(STEPS * Math.log2(milliseconds / FIRST)))
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
  }

  /** Such a part of the pauses was no longer than this; at most a tenth too much. */
  percentile(part: number): number {
    let left = Math.ceil(this.count * part)
    for (const [bucket, count = 0] of this.#buckets.entries()) {
      left -= count
      if (left <= 0) return Math.min(this.longest, FIRST * 2 ** (bucket / STEPS))
    }
    return this.longest
  }

  toJSON() {
    const { count, milliseconds, longest } = this
    return { count, milliseconds, longest, p999: this.percentile(0.999) }
  }
}

/** Milliseconds on the wall, and of this thread's processor time where the host tells that. */
export interface Moment {
  readonly wall: number
  readonly used: number | undefined
}

export function moment(): Moment {
  // Linux counts a running thread's processor time when it is interrupted, every few milliseconds, and when somebody
  // asks for that of all threads.
  globalThis.process?.cpuUsage?.()
  const used = globalThis.process?.threadCpuUsage?.()
  return { wall: performance.now(), used: used && (used.user + used.system) / 1000 }
}

/** Milliseconds from one moment to another, in which other work of the host does not count where that can be told. */
export function between(from: Moment, to: Moment): number {
  const wall = to.wall - from.wall
  return from.used === undefined || to.used === undefined ? wall : Math.min(wall, to.used - from.used)
}

/**
 * Who watches the requests: counters, which cost an addition, and listeners, which are told only while there are some.
 */
import type { Declaration } from './requests.ts'

/** What a request said and what it was answered, as a listener sees it. */
export interface Event {
  /** Virtual time in nanoseconds. */
  readonly t: number
  readonly vcpu: number
  readonly request: Declaration
  /** `read` and `write` of an MSR; `call` for everything else. */
  readonly access: 'read' | 'write' | 'call'
  /** Values in the order of the request's `args`. */
  readonly args: readonly bigint[]
  /** The value, the status by name, or `#GP`, `#UD`. */
  readonly result: bigint | string
}

export type Listener = (event: Event) => void

export class Observer {
  readonly #counts = new Map<Declaration, number>()
  readonly #listeners = new Set<Listener>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /** How often each request was made. */
  get counts(): ReadonlyMap<Declaration, number> {
    return this.#counts
  }

  /** Be told of every request from now on; returns how to stop. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** `args` is called only if someone listens. */
  note(
    vcpu: number,
    request: Declaration,
    access: Event['access'],
    args: () => readonly bigint[],
    result: bigint | string,
  ): void {
    this.#counts.set(request, (this.#counts.get(request) ?? 0) + 1)
    if (this.#listeners.size === 0) return
    const event: Event = { t: this.#now(), vcpu, request, access, args: args(), result }
    for (const listener of this.#listeners) listener(event)
  }
}

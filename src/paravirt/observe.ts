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
  readonly #others: (() => ReadonlyMap<Declaration, number>)[] = []
  readonly #watchers: ((listening: boolean) => void)[] = []

  constructor(now: () => number) {
    this.#now = now
  }

  /** How often each request was made. */
  get counts(): ReadonlyMap<Declaration, number> {
    if (this.#others.length === 0) return this.#counts
    const all = new Map(this.#counts)
    for (const other of this.#others)
      for (const [request, count] of other()) if (count > 0) all.set(request, (all.get(request) ?? 0) + count)
    return all
  }

  /** Requests that somebody else counts. */
  also(counts: () => ReadonlyMap<Declaration, number>): void {
    this.#others.push(counts)
  }

  /** Be told when somebody begins to listen, and when the last one has ceased. */
  onListen(watcher: (listening: boolean) => void): void {
    this.#watchers.push(watcher)
    watcher(this.#listeners.size > 0)
  }

  /** Be told of every request from now on; returns how to stop. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    for (const watcher of this.#watchers) watcher(true)
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) for (const watcher of this.#watchers) watcher(false)
    }
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
    this.tell(vcpu, request, access, args, result)
  }

  /** The same for a request that somebody else counts. */
  tell(
    vcpu: number,
    request: Declaration,
    access: Event['access'],
    args: () => readonly bigint[],
    result: bigint | string,
  ): void {
    if (this.#listeners.size === 0) return
    const event: Event = { t: this.#now(), vcpu, request, access, args: args(), result }
    for (const listener of this.#listeners) listener(event)
  }
}

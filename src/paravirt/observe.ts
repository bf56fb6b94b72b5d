/**
 * Who watches the requests: counters, which cost an addition, and listeners, which are told only while there are some.
 */
import type { ArgumentValue, Declaration } from './requests.ts'

/** `Event.vcpu` of a request that a backend found on a ring: who put it there is not known. */
export const NO_VCPU = -1

/** What a request said and what it was answered, as a listener sees it. */
export interface Event {
  /** Virtual time in nanoseconds. */
  readonly t: number
  /** -1 for a request on a ring. */
  readonly vcpu: number
  readonly request: Declaration
  /** `read` and `write` of an MSR; `call` for everything else. */
  readonly access: 'read' | 'write' | 'call'
  /** Values in the order of the request's `args`; what only an answer has is left out where it failed. */
  readonly args: readonly ArgumentValue[]
  /** The value, the status by name, or `#GP`, `#UD`. */
  readonly result: bigint | string
}

export type Listener = (event: Event) => void

/** Backends' way to tell of requests on their rings. */
export interface RingWatch {
  /** The error, by name, with which somebody has it answered instead of carrying it out. */
  refusal(request: Declaration, args: () => readonly ArgumentValue[]): string | undefined
  /** It was answered: `result` as in `Event`. */
  note(request: Declaration, args: () => readonly ArgumentValue[], result: bigint | string): void
}

export class Observer {
  readonly rings: RingWatch
  readonly #counts = new Map<Declaration, number>()
  readonly #listeners = new Set<Listener>()
  readonly #now: () => number
  readonly #others: (() => ReadonlyMap<Declaration, number>)[] = []
  readonly #watchers: ((listening: boolean) => void)[] = []

  /** `refusal`: who may answer requests on rings before backends do. */
  constructor(now: () => number, refusal: RingWatch['refusal'] = () => undefined) {
    this.#now = now
    this.rings = {
      refusal,
      note: (request, args, result) => this.note(NO_VCPU, request, 'call', args, result),
    }
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
    args: () => readonly ArgumentValue[],
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
    args: () => readonly ArgumentValue[],
    result: bigint | string,
  ): void {
    if (this.#listeners.size === 0) return
    const event: Event = { t: this.#now(), vcpu, request, access, args: args(), result }
    for (const listener of this.#listeners) listener(event)
  }
}

/** What a boot asked of its hypervisor: counts, the first unexpected error, the last requests, and when. */
import { traceLine } from '../paravirt/trace.ts'
import type { Event, Observer } from '../paravirt/observe.ts'
import type { Declaration } from '../paravirt/requests.ts'
import { knownErrors } from './known.ts'
import { groups, type Cell, type Group, type ToldRequest } from './report.ts'

const LAST = 16
const BIN_NANOSECONDS = 50e6
/** Half an hour of the guest's time; what comes later counts in the last. */
const MOST_BINS = 36_000

/** The answer is one of the errors that the request declares, or an exception. */
export function isError({ request, result }: Pick<Event, 'request' | 'result'>): boolean {
  return typeof result === 'string' && (result.startsWith('#') || Object.hasOwn(request.errors, result))
}

export class RequestsLog {
  readonly #platform: string
  /** The last of each, in the order in which they were made: timer ticks would hide all else. */
  readonly #last = new Map<string, Event>()
  readonly #bins: number[] = []
  readonly #observer: Observer
  #firstError: Event | undefined

  constructor(platform: string, observer: Observer) {
    this.#platform = platform
    this.#observer = observer
    observer.listen((event) => this.#see(event))
  }

  #see(event: Event): void {
    const key = `${event.access} ${event.request.name}`
    this.#last.delete(key)
    this.#last.set(key, event)
    const bin = Math.min(Math.floor(event.t / BIN_NANOSECONDS), MOST_BINS)
    this.#bins[bin] = (this.#bins[bin] ?? 0) + 1
    if (!this.#firstError && isError(event) && !this.#isKnown(event)) this.#firstError = event
  }

  #isKnown(event: Event): boolean {
    return knownErrors.some(
      ({ platform, request, text }) =>
        platform === this.#platform &&
        request === event.request.name &&
        (text === undefined || traceLine(event).includes(text)),
    )
  }

  finish(): Pick<Cell, 'requests' | 'firstError' | 'lastRequests' | 'activity'> {
    const requests = [...this.#observer.counts].map(([request, count]) => ({
      kind: request.kind,
      name: request.name,
      count,
      groups: groupsOf(request),
    }))
    return {
      requests: requests.sort((a, b) => b.count - a.count),
      ...(this.#firstError ? { firstError: told(this.#firstError) } : {}),
      lastRequests: [...this.#last.values()].slice(-LAST).map(told),
      activity: { binNanoseconds: BIN_NANOSECONDS, counts: Array.from(this.#bins, (count) => count ?? 0) },
    }
  }
}

function told(event: Event): ToldRequest {
  return { t: event.t, vcpu: event.vcpu, name: event.request.name, text: traceLine(event).trim() }
}

/** The groups of the operations that a request serves. */
function groupsOf({ ops }: Declaration): Group[] {
  const served = new Set(ops.map((op) => op.slice(0, op.indexOf('.'))))
  const known = groups.filter((group) => served.has(group))
  return known.length > 0 ? known : ['other']
}

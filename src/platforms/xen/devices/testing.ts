/** For tests: a guest without a machine, which has pages, grants, event channels and a connection to the store. */
import { type Event, Observer } from '../../../paravirt/observe.ts'
import { traceLine } from '../../../paravirt/trace.ts'
import type { Sharing, SharedPage } from '../../../paravirt/sharing.ts'
import type { Signal, Signals } from '../../../paravirt/signals.ts'
import { StoreClient } from '../store/client.ts'
import { StoreServer } from '../store/server.ts'
import { TestPage } from '../store/testing.ts'
import type { BackendParts } from './xenbus.ts'

const DOMAIN = 1

export class TestMachine {
  readonly server: StoreServer
  readonly store: StoreClient
  readonly parts: BackendParts
  readonly reports: string[] = []
  /** Requests on rings that were answered. */
  readonly events: Event[] = []
  /** Errors with which requests are answered, by name, whatever they ask. */
  readonly refusals = new Map<string, string>()
  /** Mapped and not released, by reference. */
  readonly mapped = new Map<number, number>()
  /** Signals that the guest got, by port. */
  readonly raised = new Map<number, number>()
  wakes = 0
  #now = 0
  readonly #deadlines: { at: number; callback: () => void }[] = []
  readonly #granted = new Map<number, { page: TestPage; writable: boolean }>()
  readonly #ports = new Map<number, () => void>()

  constructor() {
    const observer = new Observer(
      () => this.#now,
      (request) => this.refusals.get(request.name),
    )
    observer.listen((event) => {
      const { request, result } = event
      if (typeof result === 'string' && !Object.hasOwn(request.errors, result))
        throw new Error(`${request.name} does not declare ${result}`)
      this.events.push(event)
    })
    this.server = new StoreServer(() => this.#now, observer.rings)
    this.server.connect(DOMAIN)
    this.store = new StoreClient(this.server)
    const find = (reference: number, writable: boolean) => {
      const granted = this.#granted.get(reference)
      return granted && (granted.writable || !writable) ? granted.page : undefined
    }
    const map = (page: TestPage, reference: number, writable: boolean): SharedPage => {
      this.mapped.set(reference, (this.mapped.get(reference) ?? 0) + 1)
      return {
        bytes: page.bytes,
        write: (offset, bytes) => {
          if (!writable) throw new Error('a write to a page mapped for reading')
          page.write(offset, bytes)
        },
        release: () => {
          const count = (this.mapped.get(reference) ?? 0) - 1
          if (count < 0) throw new Error('released twice')
          if (count === 0) this.mapped.delete(reference)
          else this.mapped.set(reference, count)
        },
      }
    }
    const sharing: Sharing = {
      map: (reference, writable) => {
        const page = find(reference, writable)
        return page && map(page, reference, writable)
      },
      restore: (reference, writable) => map(find(reference, writable) as TestPage, reference, writable),
      read: (reference, offset, length) =>
        offset + length > 4096 ? undefined : find(reference, false)?.bytes.slice(offset, offset + length),
      write: (reference, offset, bytes) => {
        const page = offset + bytes.length > 4096 ? undefined : find(reference, true)
        page?.write(offset, bytes)
        return page !== undefined
      },
    }
    const signal = (port: number): Signal => ({
      own: port,
      raise: () => this.raised.set(port, (this.raised.get(port) ?? 0) + 1),
      close: () => this.#ports.delete(port),
    })
    const signals: Signals = {
      connect: (port, listener) => {
        if (!this.raised.has(port) || this.#ports.has(port)) return undefined
        this.#ports.set(port, listener)
        return signal(port)
      },
      restore: (own, listener) => {
        this.#ports.set(own, listener)
        return signal(own)
      },
    }
    this.parts = {
      store: this.store,
      domain: DOMAIN,
      sharing,
      signals,
      rings: observer.rings,
      now: () => this.#now,
      deadline: (callback) => {
        const entry = { at: Infinity, callback }
        this.#deadlines.push(entry)
        return { set: (at) => void (entry.at = at) }
      },
      wake: () => void this.wakes++,
      report: (line) => void this.reports.push(line),
    }
  }

  /** Lines of the trace since the last time, of all rings but the store's. */
  takeTrace(): string[] {
    const all = this.events.splice(0).filter(({ request }) => !request.name.startsWith('XS_'))
    return all.map((event) => traceLine(event).slice(16).trim())
  }

  grant(reference: number, writable = true): TestPage {
    const page = new TestPage()
    this.#granted.set(reference, { page, writable })
    return page
  }

  offer(port: number): void {
    this.raised.set(port, 0)
  }

  /** The guest signals; the host does its work. */
  notify(port: number): void {
    this.#ports.get(port)?.()
    this.run()
  }

  connected(port: number): boolean {
    return this.#ports.has(port)
  }

  /** What is due is done. */
  run(nanoseconds = 0): void {
    this.#now += nanoseconds
    for (let again = true; again; ) {
      again = false
      for (const deadline of this.#deadlines)
        if (deadline.at <= this.#now) {
          deadline.at = Infinity
          deadline.callback()
          again = true
        }
    }
  }

  /** The frontend's nodes. */
  write(path: string, entries: Readonly<Record<string, string | number>>): void {
    for (const [name, value] of Object.entries(entries)) this.store.write(`${path}/${name}`, value)
    this.run()
  }
}

/** A frontend's ring in a page. */
export class TestRing {
  readonly page: TestPage
  readonly entrySize: number
  readonly entries: number
  produced = 0
  consumed = 0

  constructor(page: TestPage, entrySize: number) {
    this.page = page
    this.entrySize = entrySize
    this.entries = 1 << Math.floor(Math.log2((4096 - 64) / entrySize))
    page.view.setUint32(4, 1, true)
    page.view.setUint32(12, 1, true)
  }

  push(request: Uint8Array): void {
    this.page.bytes.set(request, 64 + (this.produced++ % this.entries) * this.entrySize)
    this.page.view.setUint32(0, this.produced, true)
  }

  /** Responses since the last time. */
  responses(length: number): DataView[] {
    const all = []
    while (this.consumed < this.page.view.getUint32(8, true)) {
      const at = 64 + (this.consumed++ % this.entries) * this.entrySize
      all.push(new DataView(this.page.bytes.slice(at, at + length).buffer))
    }
    this.page.view.setUint32(12, this.consumed + 1, true)
    return all
  }
}

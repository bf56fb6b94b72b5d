/**
 * What every backend has in common: two folders in the store, a state on either side that the other watches, and what
 * it takes from the hypervisor (xen/io/xenbus.h; Linux's drivers/xen/xenbus).
 */
import type { RingWatch } from '../../../paravirt/observe.ts'
import type { Sharing, SharedPage } from '../../../paravirt/sharing.ts'
import type { Signals } from '../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { StoreClient, Value } from '../store/client.ts'
import { backendOf, frontendOf } from '../store/domain.ts'

/** enum xenbus_state. */
export const XenbusState = {
  UNKNOWN: 0,
  INITIALISING: 1,
  INIT_WAIT: 2,
  INITIALISED: 3,
  CONNECTED: 4,
  CLOSING: 5,
  CLOSED: 6,
} as const

/** What a backend needs of the rest. */
export interface BackendParts {
  readonly store: StoreClient
  readonly domain: number
  readonly sharing: Sharing
  readonly signals: Signals
  /** Who watches requests on rings. */
  readonly rings: RingWatch
  readonly now: () => number
  readonly deadline: (callback: () => void) => { set(at: number): void }
  /** Somebody outside the machine has done something: a machine that waits looks again. */
  readonly wake: () => void
  /** One line for the user. */
  readonly report: (line: string) => void
}

/** A guest's mistake in the store: what Linux would write to the error node, and as which errno. */
export class FrontendError extends Error {
  override readonly name = 'FrontendError'
  readonly errno: number

  constructor(errno: number, message: string) {
    super(message)
    this.errno = errno
  }
}

export const Errno = { EIO: 5, EINVAL: 22, ENOSYS: 38, EOPNOTSUPP: 95 } as const

/** What a device does at the moments of its life. */
export interface BackendDevice {
  /** The frontend has published its rings. Throws FrontendError. */
  connect(frontend: Frontend): void
  /** Let go of everything of the guest's; harmless if there is nothing. */
  disconnect(): void
}

/** The frontend's folder, read with care: it is the guest's. */
export class Frontend {
  readonly path: string
  readonly #store: StoreClient

  constructor(store: StoreClient, path: string) {
    this.#store = store
    this.path = path
  }

  /** The folder of a queue. */
  queue(index: number): Frontend {
    return new Frontend(this.#store, `${this.path}/queue-${index}`)
  }

  text(name: string): string | undefined {
    return this.#store.read(`${this.path}/${name}`)
  }

  /** Unsigned decimal, as scanf's %u reads it; undefined if it is none. */
  number(name: string): number | undefined {
    const digits = /^\s*\+?(\d+)/.exec(this.text(name) ?? '')?.[1]
    return digits === undefined ? undefined : Number(BigInt.asUintN(32, BigInt(digits)))
  }

  flag(name: string): boolean {
    return (this.number(name) ?? 0) !== 0
  }

  required(name: string): number {
    const value = this.number(name)
    if (value === undefined) throw new FrontendError(Errno.EINVAL, `reading ${this.path}/${name}`)
    return value
  }
}

export class Backend implements Stateful {
  readonly path: string
  readonly #parts: BackendParts
  readonly #device: BackendDevice
  readonly #frontend: Frontend
  readonly #name: string
  readonly #kind: 'vbd' | 'vif' | 'console'
  #state: number = XenbusState.INITIALISING
  #stop: () => void = () => {}

  constructor(parts: BackendParts, kind: 'vbd' | 'vif' | 'console', id: number, device: BackendDevice) {
    const place = { domain: parts.domain, kind, id }
    this.#parts = parts
    this.#device = device
    this.#kind = kind
    this.#name = `backend/${kind}/${parts.domain}/${id}`
    this.path = backendOf(place)
    this.#frontend = new Frontend(parts.store, frontendOf(place))
  }

  /** The frontend is watched as before: whoever made this has started it. */
  transfer(state: Transfer): void {
    this.#state = state.field('state', this.#state)
  }

  /** Offer the device, with what the frontend should know before it begins. */
  start(features: Readonly<Record<string, Value>>): void {
    this.publish(features)
    this.switch(XenbusState.INIT_WAIT)
    this.#stop = this.#parts.store.watch(`${this.#frontend.path}/state`, () => this.#frontendChanged())
  }

  stop(): void {
    this.#stop()
    this.#device.disconnect()
  }

  publish(entries: Readonly<Record<string, Value>>): void {
    this.#parts.store.transaction(() => {
      for (const [name, value] of Object.entries(entries)) this.#parts.store.write(`${this.path}/${name}`, value)
    })
  }

  get state(): number {
    return this.#state
  }

  switch(state: number): void {
    if (this.#state === state) return
    this.#state = state
    this.#parts.store.write(`${this.path}/state`, state)
  }

  /** Say what is wrong where Linux does, and close. */
  #fail({ errno, message }: FrontendError): void {
    this.#parts.store.write(`/local/domain/0/error/${this.#name}/error`, `${-errno} ${message}`)
    this.switch(XenbusState.CLOSING)
  }

  #frontendChanged(): void {
    const state = this.#frontend.number('state') ?? XenbusState.UNKNOWN
    switch (state) {
      case XenbusState.INITIALISING:
        if (this.#state === XenbusState.CLOSED) this.switch(XenbusState.INIT_WAIT)
        break
      // A network card's frontend has nothing to wait for: it goes to CONNECTED at once.
      case XenbusState.INITIALISED:
      case XenbusState.CONNECTED:
        if (this.#kind === 'vif' && state === XenbusState.INITIALISED) break
        if (this.#state === XenbusState.CONNECTED) break
        this.#device.disconnect()
        try {
          this.#device.connect(this.#frontend)
        } catch (error) {
          if (!(error instanceof FrontendError)) throw error
          this.#device.disconnect()
          this.#fail(error)
        }
        break
      case XenbusState.CLOSING:
        if (this.#kind === 'vif') this.#device.disconnect()
        this.switch(XenbusState.CLOSING)
        break
      // A frontend that has gone altogether has no state.
      case XenbusState.UNKNOWN:
      case XenbusState.CLOSED:
        this.#device.disconnect()
        this.switch(XenbusState.CLOSED)
        break
      default:
        if (state !== XenbusState.INIT_WAIT)
          this.#fail(new FrontendError(Errno.EINVAL, `saw state ${state} at frontend`))
    }
  }
}

/** Map pages of a ring, all or none. Throws FrontendError. */
export function mapRing(sharing: Sharing, references: readonly number[], port: number): SharedPage[] {
  const pages: SharedPage[] = []
  for (const reference of references) {
    const page = sharing.map(reference, true)
    if (page) {
      pages.push(page)
      continue
    }
    for (const mapped of pages) mapped.release()
    throw new FrontendError(Errno.EINVAL, `mapping ring-ref port ${port}`)
  }
  return pages
}

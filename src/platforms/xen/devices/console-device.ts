/**
 * Further consoles, hvc1 and so on: devices whose ring and event channel the guest makes (Linux's
 * drivers/tty/hvc/hvc_xen.c; libxl's `type=ioemu`).
 */
import type { ConsolePort } from '../../../paravirt/effects.ts'
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { addDevice } from '../store/domain.ts'
import { ConsoleBackend } from './console.ts'
import { Backend, type BackendParts, Errno, type Frontend, FrontendError, mapRing, XenbusState } from './xenbus.ts'

export class ConsoleDevice implements Stateful {
  readonly #parts: BackendParts
  readonly #port: ConsolePort
  readonly #id: number
  readonly #backend: Backend
  /** Reference and port of its ring, if it is connected. */
  #ring: { readonly reference: number; readonly port: number } | undefined
  #console: ConsoleBackend | undefined

  /** `id` is 1 or more: 0 is the console that the builder makes. */
  constructor(parts: BackendParts, id: number, port: ConsolePort) {
    this.#parts = parts
    this.#port = port
    this.#id = id
    addDevice(parts.store, {
      domain: parts.domain,
      kind: 'console',
      id,
      frontend: { 'backend-id': 0, state: XenbusState.INITIALISING, protocol: 'vt100', type: 'ioemu' },
      backend: { 'frontend-id': parts.domain, online: 1, state: XenbusState.INITIALISING, protocol: 'vt100' },
    })
    this.#backend = new Backend(parts, 'console', id, this)
    this.#backend.start({})
  }

  transfer(state: Transfer): void {
    state.part('backend', this.#backend)
    this.#ring = state.field('ring', this.#ring)
    if (state.loading && this.#ring) {
      const { reference, port } = this.#ring
      this.#console = this.#on(this.#parts.sharing.restore(reference, true), port)
    }
    if (this.#console) state.part('console', this.#console)
  }

  connect(frontend: Frontend): void {
    const port = frontend.required('port')
    const reference = frontend.required('ring-ref')
    const [page] = mapRing(this.#parts.sharing, [reference], port)
    if (!page) throw new FrontendError(Errno.EINVAL, 'no ring')
    this.#ring = { reference, port }
    this.#console = this.#on(page, port)
    this.#backend.switch(XenbusState.CONNECTED)
  }

  #on(page: SharedPage, port: number): ConsoleBackend {
    const { signals, rings } = this.#parts
    return new ConsoleBackend({ page, signals, port, console: this.#port, rings, name: `console/${this.#id}` })
  }

  disconnect(): void {
    this.#console?.close()
    this.#console = undefined
    this.#ring = undefined
  }

  close(): void {
    this.#backend.stop()
  }
}

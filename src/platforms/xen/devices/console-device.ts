/**
 * Further consoles, hvc1 and so on: devices whose ring and event channel the guest makes (Linux's
 * drivers/tty/hvc/hvc_xen.c; libxl's `type=ioemu`).
 */
import type { ConsolePort } from '../../../paravirt/effects.ts'
import { addDevice } from '../store/domain.ts'
import { ConsoleBackend } from './console.ts'
import { Backend, type BackendParts, Errno, type Frontend, FrontendError, mapRing, XenbusState } from './xenbus.ts'

export class ConsoleDevice {
  readonly #parts: BackendParts
  readonly #port: ConsolePort
  readonly #backend: Backend
  #console: ConsoleBackend | undefined

  /** `id` is 1 or more: 0 is the console that the builder makes. */
  constructor(parts: BackendParts, id: number, port: ConsolePort) {
    this.#parts = parts
    this.#port = port
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

  connect(frontend: Frontend): void {
    const port = frontend.required('port')
    const [page] = mapRing(this.#parts.sharing, [frontend.required('ring-ref')], port)
    if (!page) throw new FrontendError(Errno.EINVAL, 'no ring')
    this.#console = new ConsoleBackend(page, this.#parts.signals, port, this.#port)
    this.#backend.switch(XenbusState.CONNECTED)
  }

  disconnect(): void {
    this.#console?.close()
    this.#console = undefined
  }

  close(): void {
    this.#backend.stop()
  }
}

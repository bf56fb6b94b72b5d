/**
 * What the toolstack asks of a running domain through the store: to shut down, to handle a SysRq key, to use less or
 * more memory (xenstore-paths; libxl's `xl shutdown`, `sysrq`, `mem-set`). The guest's drivers watch these nodes.
 */
import type { GuestControl, ShutdownRequest } from '../../../paravirt/platform.ts'
import type { StoreClient } from '../store/client.ts'
import { homeOf } from '../store/paths.ts'

export class DomainControl implements GuestControl {
  readonly #store: StoreClient
  readonly #home: string
  readonly #wake: () => void

  /** `wake`: the guest has been told something while it may be waiting. */
  constructor(store: StoreClient, domain: number, wake: () => void) {
    this.#store = store
    this.#home = homeOf(domain)
    this.#wake = wake
  }

  shutdown(request: ShutdownRequest): boolean {
    const path = `${this.#home}/control/shutdown`
    const feature = request === 'halt' ? 'poweroff' : request
    if (this.#store.read(path) !== '' || this.#store.read(`${this.#home}/control/feature-${feature}`) !== '1')
      return false
    this.#store.write(path, request)
    this.#wake()
    return true
  }

  sysrq(key: string): void {
    this.#store.write(`${this.#home}/control/sysrq`, key)
    this.#wake()
  }

  setMemory(kibibytes: number): void {
    const most = Number(this.#store.read(`${this.#home}/memory/static-max`))
    this.#store.write(`${this.#home}/memory/target`, Math.min(kibibytes, most))
    this.#wake()
  }
}

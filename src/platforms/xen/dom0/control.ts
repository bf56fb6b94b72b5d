/**
 * What the toolstack asks of a running domain through the store: to shut down, to handle a SysRq key, to use less or
 * more memory (xenstore-paths; libxl's `xl shutdown`, `sysrq`, `mem-set`). The guest's drivers watch these nodes.
 */
import type { StoreClient } from '../store/client.ts'
import { homeOf } from '../store/paths.ts'

export const shutdownRequests = ['poweroff', 'reboot', 'halt', 'suspend'] as const
export type ShutdownRequest = (typeof shutdownRequests)[number]

export class DomainControl {
  readonly #store: StoreClient
  readonly #home: string

  constructor(store: StoreClient, domain: number) {
    this.#store = store
    this.#home = homeOf(domain)
  }

  /** False: the guest has said that it cannot, or has not taken the last request yet. */
  shutdown(request: ShutdownRequest): boolean {
    const path = `${this.#home}/control/shutdown`
    const feature = request === 'halt' ? 'poweroff' : request
    if (this.#store.read(path) !== '' || this.#store.read(`${this.#home}/control/feature-${feature}`) !== '1')
      return false
    this.#store.write(path, request)
    return true
  }

  /** `key` is a character. */
  sysrq(key: string): void {
    this.#store.write(`${this.#home}/control/sysrq`, key)
  }

  /** How much memory the guest shall use, in KiB; at most what it was made with. */
  setTarget(kibibytes: number): void {
    const most = Number(this.#store.read(`${this.#home}/memory/static-max`))
    this.#store.write(`${this.#home}/memory/target`, Math.min(kibibytes, most))
  }
}

/**
 * What the toolstack asks of a running domain through the store: to shut down, to handle a SysRq key, to use less or
 * more memory (xenstore-paths; libxl's `xl shutdown`, `sysrq`, `mem-set`). The guest's drivers watch these nodes.
 */
import type { GuestControl, ShutdownRequest } from '../../../paravirt/platform.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { StoreClient } from '../store/client.ts'
import { homeOf } from '../store/paths.ts'

const features = ['poweroff', 'reboot', 'suspend'] as const

export class DomainControl implements GuestControl, Stateful {
  readonly #store: StoreClient
  readonly #home: string
  readonly #wake: () => void
  /** The next suspension is for a checkpoint, or nobody has asked for one. */
  #checkpoint = true
  /** What the guest has said that it can before it was restored: it does not say it again. */
  readonly #known: string[] = []

  /** `wake`: the guest has been told something while it may be waiting. */
  constructor(store: StoreClient, domain: number, wake: () => void) {
    this.#store = store
    this.#home = homeOf(domain)
    this.#wake = wake
  }

  transfer(state: Transfer): void {
    this.#checkpoint = state.field('checkpoint', this.#checkpoint)
    state.list('known', this.#known)
  }

  /** The domain was restored: it is the guest of `before`. */
  follow(before: DomainControl): void {
    this.#known.push(...features.filter((feature) => before.#can(feature)))
  }

  #can(feature: string): boolean {
    return this.#known.includes(feature) || this.#store.read(`${this.#home}/control/feature-${feature}`) === '1'
  }

  /** The domain has suspended itself: whether it only goes on (`xl save --checkpoint`), or is restored. */
  suspended(): 'goes on' | 'restored' {
    const answer = this.#checkpoint ? 'goes on' : 'restored'
    this.#checkpoint = true
    return answer
  }

  shutdown(request: ShutdownRequest): boolean {
    const path = `${this.#home}/control/shutdown`
    const word = request === 'checkpoint' ? 'suspend' : request
    const feature = word === 'halt' ? 'poweroff' : word
    if (this.#store.read(path) !== '' || !this.#can(feature)) return false
    if (word === 'suspend') this.#checkpoint = request === 'checkpoint'
    this.#store.write(path, word)
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

/**
 * Pages of a guest under its requests. A frontend that grants its pages persistently sends the same references again
 * and again: they stay mapped, up to a limit (xen-blkback's max_persistent_grants).
 */
import type { SharedPage, Sharing } from '../../../../paravirt/sharing.ts'
import type { Stateful, Transfer } from '../../../../snapshot/stateful.ts'

const MAX_PERSISTENT = 1056

export class BlockPages implements Stateful {
  readonly #sharing: Sharing
  readonly #persistent: boolean
  /** The least recently used first. */
  readonly #kept = new Map<number, SharedPage>()
  readonly #borrowed: SharedPage[] = []

  constructor(sharing: Sharing, persistent: boolean) {
    this.#sharing = sharing
    this.#persistent = persistent
  }

  /** Between requests: only what is kept. */
  transfer(state: Transfer): void {
    const references = [...this.#kept.keys()]
    state.list('kept', references)
    if (state.loading)
      for (const reference of references) this.#kept.set(reference, this.#sharing.restore(reference, true))
  }

  /** A page for the request at hand; undefined if it is not granted. */
  get(reference: number, writable: boolean): SharedPage | undefined {
    if (!this.#persistent) return this.#borrow(reference, writable)
    const kept = this.#kept.get(reference)
    if (kept) {
      this.#kept.delete(reference)
      this.#kept.set(reference, kept)
      return kept
    }
    const page = this.#sharing.map(reference, true)
    if (!page) return undefined
    if (this.#kept.size >= MAX_PERSISTENT) {
      const [[oldest, unused]] = this.#kept as unknown as [[number, SharedPage]]
      this.#kept.delete(oldest)
      unused.release()
    }
    this.#kept.set(reference, page)
    return page
  }

  /** The request is done. */
  done(): void {
    for (const page of this.#borrowed.splice(0)) page.release()
  }

  release(): void {
    this.done()
    for (const page of this.#kept.values()) page.release()
    this.#kept.clear()
  }

  #borrow(reference: number, writable: boolean): SharedPage | undefined {
    const page = this.#sharing.map(reference, writable)
    if (page) this.#borrowed.push(page)
    return page
  }
}

/**
 * When each vCPU last forgot its translations, so that a frame that ceases to be writable need not be flushed at once:
 * only when it is about to become a page table, a descriptor table or another owner's, and only on the vCPUs that have
 * forgotten nothing since (Xen's tlbflush_timestamp). Without it a stale translation could let the guest write to
 * its own page tables.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

export interface TlbEffects {
  /** Forget all translations, of the kernel's and the user's tables. */
  flush(vcpu: number): void
  /** Forget the page at a linear address. */
  flushPage(vcpu: number, low: number, high: number): void
  /** What translations through tables that are not a vCPU's own now say may be wrong from here on. */
  tablesChanged(): void
}

export class Tlbs implements Stateful {
  readonly vcpus: number
  /** The time now, counted in flushes. */
  now = 1
  readonly #effects: TlbEffects
  readonly #flushed: Float64Array

  constructor(vcpus: number, effects: TlbEffects) {
    this.vcpus = vcpus
    this.#effects = effects
    this.#flushed = new Float64Array(vcpus)
  }

  transfer(state: Transfer): void {
    this.now = state.field('now', this.now)
    state.array('flushed', this.#flushed)
  }

  flush(vcpu: number): void {
    this.#effects.flush(vcpu)
    this.#flushed[vcpu] = ++this.now
  }

  flushAll(): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) this.flush(vcpu)
  }

  /** Flush those that may know translations from time `stamp`. */
  flushSince(stamp: number): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) if (this.#flushed[vcpu] <= stamp) this.flush(vcpu)
  }

  flushPage(vcpu: number, low: number, high: number): void {
    this.#effects.flushPage(vcpu, low, high)
  }

  /** An entry that was present has changed. */
  changed(): void {
    this.#effects.tablesChanged()
  }

  /** A vCPU's roots were loaded: it knows nothing through them that has changed since. */
  loaded(vcpu: number): void {
    this.#flushed[vcpu] = ++this.now
  }
}

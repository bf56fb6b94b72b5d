/**
 * Copies between hypercalls and the guest's linear memory, by the page tables that the caller runs on. Whatever cannot
 * be reached is `false`, which handlers answer with -EFAULT; no fault is left behind. An address is two halves.
 */
import type { Effects } from '../../paravirt/effects.ts'
import type { Kind } from './kind.ts'

const PAGE = 4096

export class GuestMemory {
  readonly #effects: Effects
  readonly #kind: () => Pick<Kind, 'mayAccess'>

  constructor(effects: Effects, kind: () => Pick<Kind, 'mayAccess'>) {
    this.#effects = effects
    this.#kind = kind
  }

  /** From the guest to `target`, from its start. */
  copyIn(vcpu: number, low: number, high: number, target: Uint8Array, length: number): boolean {
    const { memory } = this.#effects
    if (length === 0) return true
    if (!this.#kind().mayAccess(low, high)) return false
    const { view } = memory
    for (let done = 0; done < length; ) {
      const at = low + done
      const from = memory.translate(vcpu, at >>> 0, carried(high, at), false)
      if (from < 0) return false
      const n = Math.min(length - done, PAGE - (from & (PAGE - 1)))
      for (let i = 0; i < n; i++) target[done + i] = view.getUint8(from + i)
      done += n
    }
    return true
  }

  /** The first `length` bytes of `source` to the guest. What lies before a page that cannot be written is written. */
  copyOut(vcpu: number, low: number, high: number, source: Uint8Array, length = source.length): boolean {
    const { memory } = this.#effects
    if (length === 0) return true
    if (!this.#kind().mayAccess(low, high)) return false
    for (let done = 0; done < length; ) {
      const at = low + done
      const to = memory.translate(vcpu, at >>> 0, carried(high, at), true)
      if (to < 0) return false
      const n = Math.min(length - done, PAGE - (to & (PAGE - 1)))
      memory.place(to, source.subarray(done, done + n))
      done += n
    }
    return true
  }
}

/** The high half of an address whose low half became `low` by additions. */
const carried = (high: number, low: number): number => (low > 0xffffffff ? (high + 1) >>> 0 : high)

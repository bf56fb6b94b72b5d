/** How often a guest used the bytes that it shares with its hypervisor. */
import type { SharedByte } from '../paravirt/effects.ts'
import type { Op } from '../paravirt/ops.ts'

/** Something that a guest did without asking. */
export interface Seen {
  readonly what: string
  /** Linux's operation, if it has a name for it. */
  readonly op: Op | undefined
  readonly count: number
}

interface Use {
  loads: number
  stores: number
}

export class SharedCounts {
  readonly #uses = new Map<SharedByte, Use>()
  /** By page, then by address. */
  readonly #pages = new Map<number, Map<number, SharedByte>>()
  readonly #places = new Map<SharedByte, (number | undefined)[]>()

  /** A vCPU has this byte there now, or nowhere. Which pages must be watched now, and which no more. */
  move(byte: SharedByte, vcpu: number, address: number | undefined): [page: number, watched: boolean][] {
    const places = this.#places.get(byte) ?? []
    this.#places.set(byte, places)
    if (!this.#uses.has(byte)) this.#uses.set(byte, { loads: 0, stores: 0 })
    const before = places[vcpu]
    places[vcpu] = address
    const changed = new Set<number>()
    // Several vCPUs may have it at one place.
    if (before !== undefined && !places.includes(before)) {
      this.#pages.get(before >>> 12)?.delete(before)
      changed.add(before >>> 12)
    }
    if (address !== undefined) {
      const page = this.#pages.get(address >>> 12) ?? new Map<number, SharedByte>()
      this.#pages.set(address >>> 12, page.set(address, byte))
      changed.add(address >>> 12)
    }
    return [...changed].map((page) => [page, (this.#pages.get(page) as Map<number, SharedByte>).size > 0])
  }

  load(address: number, size: number): void {
    this.#touch(address, size, 'loads')
  }

  store(address: number, size: number): void {
    this.#touch(address, size, 'stores')
  }

  #touch(address: number, size: number, how: keyof Use): void {
    for (const [at, byte] of this.#pages.get(address >>> 12) ?? [])
      if (at >= address && at < address + size) (this.#uses.get(byte) as Use)[how]++
  }

  /** What has a name among Linux's operations. */
  list(): Seen[] {
    return [...this.#uses].flatMap(([{ name, loads, stores }, use]) => [
      ...(loads ? [{ what: `load from ${name}`, op: loads, count: use.loads }] : []),
      ...(stores ? [{ what: `store to ${name}`, op: stores, count: use.stores }] : []),
    ])
  }
}

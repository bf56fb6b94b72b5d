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
  /** Of 0, and of anything else. */
  zeros: number
  others: number
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
    if (!this.#uses.has(byte)) this.#uses.set(byte, { loads: 0, zeros: 0, others: 0 })
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
    for (const { use } of this.#touched(address, size)) use.loads++
  }

  store(address: number, size: number, value: number): void {
    for (const { use, at } of this.#touched(address, size)) {
      const byte = (value >>> (8 * (at - address))) & 0xff
      if (byte === 0) use.zeros++
      else use.others++
    }
  }

  *#touched(address: number, size: number): Iterable<{ use: Use; at: number }> {
    for (const [at, byte] of this.#pages.get(address >>> 12) ?? [])
      if (at >= address && at < address + size) yield { use: this.#uses.get(byte) as Use, at }
  }

  /** What has a name among Linux's operations. */
  list(): Seen[] {
    return [...this.#uses].flatMap(([{ name, loads, stores }, use]) => {
      const seen: Seen[] = []
      if (loads) seen.push({ what: `load from ${name}`, op: loads, count: use.loads })
      if (typeof stores === 'string') seen.push({ what: `store to ${name}`, op: stores, count: use.zeros + use.others })
      else if (stores)
        seen.push(
          { what: `store of 0 to ${name}`, op: stores.zero, count: use.zeros },
          { what: `store of 1 to ${name}`, op: stores.other, count: use.others },
        )
      return seen
    })
  }
}

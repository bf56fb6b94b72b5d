/** A kernel's symbols: names to addresses and back. */

export interface SymbolEntry {
  readonly address: bigint
  /** As nm(1) writes it: T and t are code. */
  readonly type: string
  readonly name: string
}

export interface Place {
  readonly name: string
  /** Bytes after the symbol's address. */
  readonly offset: number
}

/** No function is larger: what lies further from the last symbol is not part of it. */
const FARTHEST = 1n << 24n

export class SymbolTable {
  readonly #sorted: readonly SymbolEntry[]
  readonly #byName = new Map<string, SymbolEntry>()

  constructor(entries: readonly SymbolEntry[]) {
    this.#sorted = entries.toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0))
    // A name may stand for several static functions; the first is what the kernel's own look-up finds.
    for (const entry of entries) if (!this.#byName.has(entry.name)) this.#byName.set(entry.name, entry)
  }

  get size(): number {
    return this.#sorted.length
  }

  entries(): readonly SymbolEntry[] {
    return this.#sorted
  }

  address(name: string): bigint | undefined {
    return this.#byName.get(name)?.address
  }

  /** All names of exactly this address. */
  at(address: bigint): string[] {
    const names: string[] = []
    for (let i = this.#after(address) - 1; i >= 0 && this.#sorted[i]!.address === address; i--)
      names.unshift(this.#sorted[i]!.name)
    return names
  }

  /** The symbol that an address lies in. */
  find(address: bigint): Place | undefined {
    let i = this.#after(address) - 1
    const found = this.#sorted[i]
    if (!found || address - found.address > FARTHEST) return undefined
    while (i > 0 && this.#sorted[i - 1]!.address === found.address) i--
    return { name: this.#sorted[i]!.name, offset: Number(address - found.address) }
  }

  /** The next symbol's address after this one: where a variable or function ends at the latest. */
  end(address: bigint): bigint | undefined {
    return this.#sorted[this.#after(address)]?.address
  }

  /** Index of the first symbol above the address. */
  #after(address: bigint): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#sorted[middle]!.address <= address) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** `do_idle+0x1c`, as the kernel writes it, or the bare address. */
export function placeText(table: SymbolTable | undefined, address: bigint): string {
  const place = table?.find(address)
  if (!place) return `0x${address.toString(16)}`
  return place.offset === 0 ? place.name : `${place.name}+0x${place.offset.toString(16)}`
}

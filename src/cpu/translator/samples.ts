/** Where a page's code was seen: counts for each 64-byte line, and which region has the code of an offset. */

const LINE_SHIFT = 7

export class PageSamples<Region> {
  readonly #counts = new Map<number, number>()
  readonly #misses = new Map<number, number>()
  readonly #owners = new Map<number, Region>()

  /** Count samples of an offset, in its line or (exactly) by itself; how many there were and are. */
  count(offset: number, exactly: boolean, samples: number): { before: number; now: number } {
    const key = exactly ? offset : (offset >> LINE_SHIFT) * 2 + (this.#owners.has(offset) ? 1 : 0)
    const before = this.#counts.get(key) ?? 0
    const now = before + samples
    this.#counts.set(key, now)
    return { before, now }
  }

  /** Count times that a region went to an offset that begins none; how many there were. */
  miss(offset: number, times: number): number {
    const misses = (this.#misses.get(offset) ?? 0) + times
    this.#misses.set(offset, misses)
    return misses
  }

  owner(offset: number): Region | undefined {
    return this.#owners.get(offset)
  }

  /** A region is no more. */
  disown(region: Region): void {
    for (const [offset, owner] of this.#owners) if (owner === region) this.#owners.delete(offset)
  }

  /** A region has the code at an offset; whoever had it first keeps it. */
  own(offset: number, region: Region): void {
    if (!this.#owners.has(offset)) this.#owners.set(offset, region)
  }
}

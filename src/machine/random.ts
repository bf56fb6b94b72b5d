/** Where RDRAND and RDSEED get their numbers: the host's generator, or one that repeats for deterministic machines. */
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

/** Random 32-bit words, fetched from the host many at a time. */
export function hostRandom(): () => number {
  const words = new Int32Array(1024)
  let next = words.length
  return () => {
    if (next === words.length) {
      crypto.getRandomValues(words)
      next = 0
    }
    return words[next++] as number
  }
}

/** The same words each time: Weyl's sequence, mixed (the finaliser of MurmurHash3). */
export class RepeatedRandom implements Stateful {
  #last = 0

  next(): number {
    this.#last = (this.#last + 0x9e3779b9) | 0
    let word = this.#last
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
    return word ^ (word >>> 16)
  }

  transfer(state: Transfer): void {
    this.#last = state.field('last', this.#last)
  }
}

/**
 * Elements of an array in the guest's memory, one after another, as 32-bit words and without allocation: its page is
 * looked up once, unless `refresh` is called because the page tables may have changed.
 */
import type { MemoryEffects } from '../../../paravirt/effects.ts'
import type { GuestMemory } from '../guest-memory.ts'

const PAGE = 4096
const MOST = 6

export class GuestArray {
  /** The element that `read` has read. */
  readonly words = new Int32Array(MOST)
  readonly #bytes = new Uint8Array(this.words.buffer)
  readonly #memory: MemoryEffects
  readonly #guest: GuestMemory
  #vcpu = 0
  #size = 0
  #low = 0
  #high = 0
  /** Where the next element is in memory, and how many bytes of its page there are from there; 0: not looked up. */
  #at = 0
  #left = 0

  constructor(memory: MemoryEffects, guest: GuestMemory) {
    this.#memory = memory
    this.#guest = guest
  }

  /** Elements of `size` bytes (a multiple of 4) from a linear address on. */
  start(vcpu: number, low: number, high: number, size: number): void {
    this.#vcpu = vcpu
    this.#size = size
    this.#low = low >>> 0
    this.#high = high >>> 0
    this.#left = 0
  }

  /** The address of the next element, halves unsigned. */
  get low(): number {
    return this.#low
  }

  get high(): number {
    return this.#high
  }

  refresh(): void {
    this.#left = 0
  }

  /** The next element into `words`; false where it cannot be read, and it stays the next. */
  read(): boolean {
    const size = this.#size
    if (this.#left < size) {
      this.#at = this.#memory.translate(this.#vcpu, this.#low, this.#high, false)
      if (this.#at < 0) return false
      this.#left = PAGE - (this.#low & (PAGE - 1))
      if (this.#left < size || this.#at & 3) {
        this.#left = 0
        return this.#guest.copyIn(this.#vcpu, this.#low, this.#high, this.#bytes, size)
      }
    }
    const { words } = this
    const ram = this.#memory.words
    const from = this.#at >>> 2
    for (let i = 0; i < size >>> 2; i++) words[i] = ram[from + i]
    return true
  }

  /** What was read is done with. */
  next(): void {
    const low = this.#low + this.#size
    this.#low = low >>> 0
    if (low > 0xffffffff) this.#high = (this.#high + 1) >>> 0
    this.#at += this.#size
    this.#left -= this.#size
  }
}

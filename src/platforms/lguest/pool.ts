/** Frames for shadow page tables: taken empty, given back. */
import type { MemoryEffects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { PAGE } from './frames.ts'

const zeros = new Uint8Array(PAGE)

export class Pool implements Stateful {
  readonly #memory: MemoryEffects
  /** The first that was never used. */
  #next: number
  readonly #free: number[] = []

  /** From frame `first` on. */
  constructor(memory: MemoryEffects, first: number) {
    this.#memory = memory
    this.#next = first
  }

  transfer(state: Transfer): void {
    this.#next = state.field('next', this.#next)
    state.list('free', this.#free)
  }

  /** Its number; undefined: there is none left. */
  take(): number | undefined {
    const free = this.#free.pop()
    if (free !== undefined) {
      this.#memory.place(free * PAGE, zeros)
      return free
    }
    if (this.#next >= this.#memory.frames) return undefined
    this.#memory.setKind(this.#next, 'ram')
    return this.#next++
  }

  give(frame: number): void {
    this.#free.push(frame)
  }
}

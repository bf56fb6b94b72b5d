/**
 * Which registers a region needs in its locals where it takes them from the state block: at its entry, after calls and
 * after instructions that the interpreter's functions do. Those are what it reads before it writes it, and what it may
 * have to put back, because on another way to the same exit it was changed.
 */
import type { Effect } from '../isa/ir.ts'
import type { Block, Instruction, Places } from './blocks.ts'
import { successors } from './dominators.ts'
import { usageOf } from './usage.ts'

export class Liveness {
  readonly #records: Places
  readonly #changedAt: ReadonlyMap<Block, number>
  readonly #live = new Map<Block, number>()

  constructor(records: Places, blocks: readonly Block[], changedAt: ReadonlyMap<Block, number>) {
    this.#records = records
    this.#changedAt = changedAt
    for (let changed = true; changed; ) {
      changed = false
      for (const b of blocks.toReversed()) {
        const live = this.after(b, -1)
        if (live === this.#live.get(b)) continue
        this.#live.set(b, live)
        changed = true
      }
    }
  }

  /** Needed when a block begins. */
  at(b: Block): number {
    return this.#live.get(b) ?? 0
  }

  /** Needed after the instruction of a block with this number. */
  after(b: Block, number: number): number {
    const { instructions } = b
    const changed: number[] = []
    let now = this.#changedAt.get(b) as number
    for (const i of instructions) {
      changed.push(now)
      now = this.changedAfter(i, now)
    }
    let live = now
    for (const next of b.call === undefined ? successors(b) : b.targets) live |= this.at(next)
    for (let n = instructions.length - 1; n > number; n--) {
      const i = instructions[n] as Instruction
      const before = changed[n] as number
      if (!i.decoded.translatable && !i.decoded.enablesInterrupts) live = before
      else {
        const { reads, kills, written } = usageOf(this.#records, i)
        live = (live & ~kills) | reads | before | (jumpsWithin(i.decoded.effects) ? written : 0)
      }
    }
    return live
  }

  /** What is changed after an instruction, from what was before. */
  changedAfter(i: Instruction, before: number): number {
    if (i.decoded.translatable) return before | usageOf(this.#records, i).written
    return i.decoded.enablesInterrupts ? before : 0
  }
}

/** An arm of it jumps. */
function jumpsWithin(effects: readonly Effect[]): boolean {
  return effects.some(
    (e) => e.kind === 'if' && [...e.then, ...e.else].some((x) => x.kind === 'jump' || jumpsWithin([x])),
  )
}

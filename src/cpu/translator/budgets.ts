/**
 * Where a region looks whether the slice's budget lasts. A block only takes its instructions from it; those that begin
 * a loop, follow a call or a dispatch, or are the entry look whether it covers the longest way to the next block that looks. What is
 * left then, less than two slices' margins, is the interpreter's.
 */
import type { Block } from './blocks.ts'
import { successors } from './dominators.ts'

/** The longest way without looking, unless one block is longer. */
const MOST = 120

/** The blocks that look, and the instructions that there must be. `blocks` are in their order. */
export function budgetChecks(blocks: readonly Block[]): Map<Block, number> {
  const follows = (b: Block) =>
    b.predecessors.some((x) => x.dispatches || (x.call !== undefined && !x.targets.includes(b)))
  const looks = new Set(blocks.filter((b, i) => !b.dispatches && (i === 0 || b.loop || follows(b))))
  const cover = new Map<Block, number>()
  for (const b of blocks.toReversed()) {
    let longest = 0
    for (const next of successors(b)) {
      if (next.dispatches || looks.has(next)) continue
      const way = cover.get(next) as number
      if (b.instructions.length + way > MOST) looks.add(next)
      else longest = Math.max(longest, way)
    }
    cover.set(b, b.instructions.length + longest)
  }
  return new Map([...looks].map((b) => [b, cover.get(b) as number]))
}

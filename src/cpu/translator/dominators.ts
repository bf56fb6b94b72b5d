/** The order in which structured emission wants blocks: reverse postorder, with dominators, loops and merges. */
import { endPage, pageOf, type Block, type Instruction } from './blocks.ts'

/** Where control may go from a block within the region. */
export function successors(b: Block): Block[] {
  return [b.taken, b.next].flatMap((e) => (e && 'block' in e ? [e.block] : [])).concat(b.targets)
}

/** The blocks from `entry` (dominators after Cooper, Harvey, Kennedy); edges that are irreducible become exits. */
export function order(entry: Block): Block[] {
  for (;;) {
    const blocks: Block[] = []
    const visited = new Set<Block>()
    const visit = (b: Block) => {
      visited.add(b)
      for (const next of successors(b)) if (!visited.has(next)) visit(next)
      blocks.push(b)
    }
    visit(entry)
    blocks.reverse()
    blocks.forEach((b, i) => {
      b.order = i
      b.dominator = undefined
      b.children = []
      b.predecessors = []
      b.loop = b.merge = false
    })
    for (const b of blocks) for (const next of successors(b)) next.predecessors.push(b)
    dominators(blocks)
    if (!cutIrreducible(blocks)) {
      for (const b of blocks) {
        b.dominator?.children.push(b)
        b.loop = b.predecessors.some((x) => x.order >= b.order)
        b.merge = b.predecessors.filter((x) => x.order < b.order).length > 1
      }
      return blocks
    }
  }
}

/** The blocks that lead back to a loop's first. */
export const latchesOf = (head: Block): Block[] => head.predecessors.filter((b) => b.order >= head.order)

/** The innermost loop that a block is in, by its first block. */
export function loopsOf(blocks: readonly Block[]): Map<Block, Block> {
  const loops = new Map<Block, Block>()
  for (const head of blocks.filter((b) => b.loop).sort((a, b) => b.order - a.order))
    for (const b of bodyOf(head)) if (!loops.has(b)) loops.set(b, head)
  return loops
}

/** The blocks of the loop that begins with `head`, or of one of those that do, by the block that leads back to it. */
export function bodyOf(head: Block, last?: Block): Set<Block> {
  const body = new Set([head])
  const work = last ? [last] : latchesOf(head)
  for (let b = work.pop(); b; b = work.pop()) {
    if (body.has(b)) continue
    body.add(b)
    work.push(...b.predecessors)
  }
  return body
}

/**
 * The loops that share a head, the outermost first, each by the blocks that lead back: the smallest is taken for the inner
 * one. As one loop, what only the outer one changes would be moved around by the inner one, too.
 */
export function nestedLoops(head: Block): Set<Block>[] {
  const size = new Map(latchesOf(head).map((last) => [last, bodyOf(head, last).size]))
  const [inner, ...outer] = [...size.keys()].sort((a, b) => (size.get(a) as number) - (size.get(b) as number))
  const levels = [new Set(outer), new Set(inner && [inner])]
  return levels.filter((lasts) => lasts.size > 0)
}

function dominators(blocks: Block[]): void {
  const entry = blocks[0] as Block
  entry.dominator = entry
  const meet = (a: Block, b: Block): Block => {
    while (a !== b) {
      while (a.order > b.order) a = a.dominator as Block
      while (b.order > a.order) b = b.dominator as Block
    }
    return a
  }
  for (let changed = true; changed; ) {
    changed = false
    for (const b of blocks.slice(1)) {
      let best: Block | undefined
      for (const x of b.predecessors) if (x.dominator) best = best ? meet(best, x) : x
      if (best !== b.dominator) {
        b.dominator = best
        changed = true
      }
    }
  }
  entry.dominator = undefined
}

function dominates(a: Block, b: Block): boolean {
  for (let x: Block | undefined = b; x; x = x.dominator) if (x === a) return true
  return false
}

/** Turn edges back to a block that does not dominate their source into exits; true if there was one. */
function cutIrreducible(blocks: Block[]): boolean {
  let cut = false
  for (const b of blocks) {
    const kept = b.targets.filter((target) => target.order > b.order || dominates(target, b))
    if (kept.length < b.targets.length) cut = true
    b.targets = kept
    for (const side of ['taken', 'next'] as const) {
      const e = b[side]
      if (!e || !('block' in e) || e.block.order > b.order || dominates(e.block, b)) continue
      const first = e.block.instructions[0] as Instruction
      const same = endPage(b) === pageOf(first.place)
      b[side] = same ? { record: first.at } : { place: first.place }
      cut = true
    }
  }
  return cut
}

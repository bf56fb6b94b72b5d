/**
 * The heads of blocks in loops: where several blocks lead, the flags must be in the state block if an instruction may
 * leave before others replace them, and most loops begin with a load. So what comes before the replacement is copied to
 * the end of each way that leads there, where the producer of the flags is known, and the ways meet behind it.
 */
import { newBlock, type Block, type Edge, type Instruction } from './blocks.ts'
import { isQuiet } from './dead-flags.ts'
import { loopsOf, successors } from './dominators.ts'

/** Instructions of a head at most, ways that lead to it, and instructions of all copies in a region. */
const MOST = 5
const MOST_WAYS = 4
const MOST_TOGETHER = 80

/** `blocks` in their order; whether there are copies now, so that they must be put in order again. */
export function copyHeads(blocks: readonly Block[]): boolean {
  const loops = loopsOf(blocks)
  let room = MOST_TOGETHER
  let copied = false
  for (const b of blocks) {
    const ways = b.predecessors.reduce((sum, x) => sum + successors(x).filter((to) => to === b).length, 0)
    const copies = b === blocks[0] ? ways : ways - 1
    const length = loops.has(b) && copies > 0 && copies < MOST_WAYS ? headOf(b) : 0
    if (length === 0 || copies * length > room) continue
    room -= copies * length
    split(b, length, b === blocks[0])
    copied = true
  }
  return copied
}

/** How many instructions come before the flags are replaced by one that cannot leave; 0 if none of them can. */
function headOf({ instructions }: Block): number {
  let leaves = false
  for (const [n, { crosses, decoded }] of instructions.entries()) {
    const { translatable, enablesInterrupts, effects } = decoded
    if (!translatable || enablesInterrupts || crosses !== undefined) return 0
    const quiet = isQuiet(effects)
    if (effects.some(({ kind }) => kind === 'flags')) return quiet && leaves ? n : 0
    if (n === MOST) return 0
    leaves ||= !quiet
  }
  return 0
}

/** Its first way keeps the block's head, unless that is the region's entry; each other gets a copy. */
function split(b: Block, length: number, entry: boolean): void {
  const head = b.instructions.slice(0, length)
  const tail = b.instructions.slice(length)
  const rest: Block = { ...b, place: (tail[0] as Instruction).place, instructions: tail }
  let used = entry
  const way = (to: Block): Block => {
    if (to !== b) return to
    if (used) return { ...newBlock(b.place, head), next: { block: rest } }
    used = true
    return b
  }
  const edge = (e: Edge): Edge => ('block' in e ? { block: way(e.block) } : e)
  const ends = new Set(b.predecessors)
  if (ends.delete(b)) ends.add(rest)
  for (const x of ends) {
    if (x.taken) x.taken = edge(x.taken)
    if (x.next) x.next = edge(x.next)
    x.targets = x.targets.map(way)
  }
  for (const to of successors(rest)) to.predecessors = to.predecessors.map((x) => (x === b ? rest : x))
  b.instructions = head
  delete b.taken
  delete b.call
  b.targets = []
  b.next = { block: rest }
}

/**
 * The control-flow graph of a region: what can be reached in one page from an entry, over decoded records.
 *
 * Instructions that cannot be translated, places that are not decoded yet and the page's end are exits to the
 * interpreter. Blocks come in reverse postorder with their dominators, as the structured emission wants them.
 */
import type { Effect } from '../isa/ir.ts'
import type { Form } from '../isa/variants.ts'
import { R } from '../layout.ts'
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'

/** A record's static facts. */
export interface Decoded {
  effects: readonly Effect[]
  form: Form
  translatable: boolean
  /** Control never reaches the next record. */
  ends: boolean
  /** Ends with a jump to a computed place: a return, mostly. */
  jumps: boolean
  /** Pushes the address of the next instruction: a call, if it branches. */
  calls: boolean
}

export interface Instruction {
  /** The record in its stream, where the interpreter can take over. */
  at: number
  /** The record with the instruction's fields. */
  fields: number
  offset: number
  length: number
  decoded: Decoded
}

/** `offset`: a place in the page that was not decoded yet. */
export type Edge = { block: Block } | { record: number } | { offset: number }

export interface Block {
  offset: number
  instructions: Instruction[]
  /** The last instruction's branch in the page, if it has one. */
  taken?: Edge
  /** Where control goes otherwise; absent if the last instruction leaves. */
  next?: Edge
  /** Where a computed jump may go in the region: after its calls. */
  returns: Block[]
  order: number
  dominator: Block | undefined
  children: Block[]
  predecessors: Block[]
  loop: boolean
  merge: boolean
}

const MAX_INSTRUCTIONS = 400
/** Places after calls that a return is compared with. */
const MAX_RETURNS = 4

/** Reads records of one page. */
export interface Records {
  i32: Int32Array
  u16: Uint16Array
  /** Index table of the page. */
  table: number
  decoded(handler: number): Decoded
}

/** The instruction at an offset, or the record at which the interpreter must go on; undefined: not decoded. */
function instructionAt(r: Records, offset: number): Instruction | number | undefined {
  let record = r.i32[(r.table >> 2) + offset] as number
  if (record === 0) return undefined
  for (;;) {
    const handler = r.u16[record >> 1] as number
    if (handler === Pseudo.check) record += R.SIZE
    else if (handler === Pseudo.goto) record = r.i32[(record + R.DISP) >> 2] as number
    else if (handler === Pseudo.region) {
      const fields = r.i32[(record + R.IMM) >> 2] as number
      return make(r, record, fields)
    } else if (handler < PSEUDO.length) return record
    else return make(r, record, record)
  }
}

function make(r: Records, at: number, fields: number): Instruction {
  const word = r.u16[(fields + R.OFFSET_LENGTH) >> 1] as number
  return { at, fields, offset: word >> 4, length: word & 15, decoded: r.decoded(r.u16[fields >> 1] as number) }
}

/** Offset in the page that an instruction branches to, -1 if it does not branch in its page. */
function branchTarget(r: Records, i: Instruction): number {
  return i.decoded.form === 'p' ? (r.i32[(i.fields + R.IMM) >> 2] as number) : -1
}

/** The graph from `entry`, whose record has a copy at `copy`; undefined if nothing of it can be translated. */
export function regionGraph(r: Records, entry: number, copy: number): Block[] | undefined {
  const known = new Map<number, Instruction | number | undefined>([[entry, make(r, copy, copy)]])
  const at = (offset: number) => {
    if (!known.has(offset)) known.set(offset, known.size < MAX_INSTRUCTIONS ? instructionAt(r, offset) : undefined)
    return known.get(offset)
  }
  const leaders = new Set([entry])
  const sites = new Set<number>()
  const work = [entry]
  const seen = new Set<number>()
  while (work.length) {
    let offset = work.pop() as number
    for (;;) {
      if (seen.has(offset)) break
      seen.add(offset)
      const i = at(offset)
      if (typeof i !== 'object' || !i.decoded.translatable) break
      const target = branchTarget(r, i)
      if (target >= 0) {
        leaders.add(target)
        work.push(target)
      }
      const after = offset + i.length
      if (target >= 0 && i.decoded.calls && after < 4096 && sites.size < MAX_RETURNS) {
        leaders.add(after)
        sites.add(after)
        work.push(after)
      }
      if (i.decoded.ends) break
      offset += i.length
      if (target >= 0) leaders.add(offset)
      if (offset >= 4096) break
    }
  }
  const first = at(entry)
  if (typeof first !== 'object' || !first.decoded.translatable) return undefined
  return order(buildBlocks(r, entry, leaders, sites, at))
}

function buildBlocks(
  r: Records,
  entry: number,
  leaders: ReadonlySet<number>,
  sites: ReadonlySet<number>,
  at: (offset: number) => Instruction | number | undefined,
): Block {
  const blocks = new Map<number, Block>()
  const edge = (offset: number): Edge => {
    const i = at(offset)
    if (i === undefined) return { offset }
    if (typeof i === 'number') return { record: i }
    return i.decoded.translatable ? { block: block(offset) } : { record: i.at }
  }
  const block = (offset: number): Block => {
    const made = blocks.get(offset)
    if (made) return made
    const b: Block = {
      offset,
      instructions: [],
      returns: [],
      order: -1,
      dominator: undefined,
      children: [],
      predecessors: [],
      loop: false,
      merge: false,
    }
    blocks.set(offset, b)
    let here = offset
    for (;;) {
      const i = at(here) as Instruction
      b.instructions.push(i)
      here = i.offset + i.length
      const target = branchTarget(r, i)
      if (target >= 0) b.taken = edge(target)
      if (i.decoded.jumps && !i.decoded.calls)
        for (const site of sites) {
          const e = edge(site)
          if ('block' in e) b.returns.push(e.block)
        }
      if (i.decoded.ends) return b
      const next = here < 4096 ? at(here) : undefined
      if (target >= 0 || leaders.has(here) || typeof next !== 'object' || !next.decoded.translatable) {
        // At the page's end a pseudo record says how to go on.
        b.next = here < 4096 ? edge(here) : { record: i.fields + R.SIZE }
        return b
      }
    }
  }
  return block(entry)
}

function successors(b: Block): Block[] {
  return [b.taken, b.next].flatMap((e) => (e && 'block' in e ? [e.block] : [])).concat(b.returns)
}

/** Reverse postorder, dominators (Cooper, Harvey, Kennedy), loops and merges; edges that are irreducible become exits. */
function order(entry: Block): Block[] {
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
    for (const side of ['taken', 'next'] as const) {
      const e = b[side]
      if (!e || !('block' in e) || e.block.order > b.order || dominates(e.block, b)) continue
      b[side] = { record: (e.block.instructions[0] as Instruction).at }
      cut = true
    }
    const kept = b.returns.filter((to) => to.order > b.order || dominates(to, b))
    if (kept.length < b.returns.length) cut = true
    b.returns = kept
  }
  return cut
}

/** The first offset of the straight line that leads to `offset`, as far as it is decoded. */
export function lineStart(r: Records, offset: number): number {
  const targets = new Set<number>()
  const before = new Map<number, Instruction>()
  for (let at = 0; at < 4096; at++) {
    const i = instructionAt(r, at)
    if (typeof i !== 'object' || i.offset !== at) continue
    const target = branchTarget(r, i)
    if (target >= 0) targets.add(target)
    if (!i.decoded.ends && target < 0 && i.decoded.translatable) before.set(at + i.length, i)
  }
  for (;;) {
    const previous = before.get(offset)
    if (!previous || targets.has(offset)) return offset
    offset = previous.offset
  }
}

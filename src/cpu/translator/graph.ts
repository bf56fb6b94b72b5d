/**
 * The control-flow graph of a region: what its entry reaches, over decoded records, as one function.
 *
 * Places are distances from the start of the entry's page, so a graph spans pages and holds wherever it is mapped. Calls
 * go on after themselves. Places that are not decoded yet, and instructions that leave the stream by a procedure, are
 * exits to the interpreter.
 */
import { R } from '../layout.ts'
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'
import { pageOf, type Block, type Edge, type Instruction, type Outline, type Records } from './blocks.ts'
import { order } from './dominators.ts'
import { jumpTargets } from './jump-tables.ts'
import { Leaves } from './leaves.ts'

const MAX_INSTRUCTIONS = 500
/** Pages that a region's own code, without callees, is at most away from its entry's. */
const MAX_PAGE_DISTANCE = 4
/** A call of a place so near after itself only pushes an address. */
const NEAR = 16

/** The instruction at a place, or the record at which the interpreter must go on; undefined: not decoded. */
function instructionAt<Known extends Outline>(
  r: Records,
  place: number,
  known: (fields: number) => Known,
): Instruction<Known> | number | undefined {
  const page = pageOf(place)
  const table = r.table(page)
  if (table === undefined) return undefined
  let record = r.i32[(table >> 2) + place - page * 4096] as number
  if (record === 0) return undefined
  for (;;) {
    const handler = r.u16[record >> 1] as number
    if (handler === Pseudo.check) record += R.SIZE
    else if (handler === Pseudo.goto) record = r.i32[(record + R.DISP) >> 2] as number
    else if (handler === Pseudo.region) return make(r, page, record, r.i32[(record + R.IMM) >> 2] as number, known)
    else if (handler === Pseudo.guard)
      return { ...make(r, page, record, record + R.SIZE, known), crosses: r.i32[(record + R.IMM) >> 2] as number }
    else if (handler < PSEUDO.length) return record
    else return make(r, page, record, record, known)
  }
}

function make<Known extends Outline>(
  r: Records,
  page: number,
  at: number,
  fields: number,
  known: (fields: number) => Known,
): Instruction<Known> {
  const word = r.u16[(fields + R.OFFSET_LENGTH) >> 1] as number
  const decoded = known(fields)
  return { at, fields, crosses: undefined, place: page * 4096 + (word >> 4), length: word & 15, decoded }
}

/** Place that an instruction branches to, if it is a direct branch. */
function branchTarget(r: Records, i: Instruction<Outline>): number | undefined {
  const { form } = i.decoded
  if (form !== 'p' && form !== 'o') return undefined
  const imm = r.i32[(i.fields + R.IMM) >> 2] as number
  const distance = form === 'o' ? (r.i32[(i.fields + R.DISP) >> 2] as number) : 0
  return pageOf(i.place) * 4096 + imm + distance
}

/** How control leaves an instruction. */
function flow(r: Records, i: Instruction): { target: number | undefined; call: number | 'computed' | undefined } {
  const target = i.decoded.translatable ? branchTarget(r, i) : undefined
  if (!i.decoded.calls || !i.decoded.translatable) return { target, call: undefined }
  const after = i.place + i.length
  if (target !== undefined && target >= after && target < after + NEAR) return { target, call: undefined }
  return { target: undefined, call: target ?? 'computed' }
}

/** An instruction that a region can have: translated, or done by its function unless that ends the stream. */
const fits = (i: Instruction | number | undefined): boolean =>
  typeof i === 'object' && (i.decoded.translatable || !i.decoded.ends)

/** The graph from `entry`, whose record has a copy at `copy`; undefined if nothing of it can be translated. */
export function regionGraph(r: Records, entry: number, copy: number): Block[] | undefined {
  const known = new Map<number, Instruction | number | undefined>([[entry, make(r, 0, copy, copy, r.decoded)]])
  const anywhere = (place: number) => {
    if (!known.has(place))
      known.set(place, known.size < MAX_INSTRUCTIONS ? instructionAt(r, place, r.decoded) : undefined)
    return known.get(place)
  }
  const at = (place: number) => (Math.abs(pageOf(place)) <= MAX_PAGE_DISTANCE ? anywhere(place) : undefined)
  const leaves = new Leaves(
    (place) => (fits(anywhere(place)) ? (anywhere(place) as Instruction) : undefined),
    (i) => flow(r, i),
  )
  const leaders = new Set([entry])
  const computed = new Map<Instruction, number[]>()
  // Breadth first, so that what does not fit is what is farthest away.
  const work = [entry]
  const seen = new Set<number>()
  for (let n = 0; n < work.length; n++) {
    let place = work[n] as number
    const line: Instruction[] = []
    while (!seen.has(place)) {
      seen.add(place)
      if (!fits(at(place))) break
      const i = at(place) as Instruction
      const { target, call } = flow(r, i)
      place = i.place + i.length
      if (typeof call === 'number') leaves.consider(i, call)
      if (target !== undefined) {
        leaders.add(target)
        work.push(target)
      }
      if (target !== undefined || call !== undefined || pageOf(place) !== pageOf(i.place)) leaders.add(place)
      if (i.decoded.name === 'jmp_indirect') {
        const targets = jumpTargets(r, i, line, (there) => instructionAt(r, there, r.decoded)).filter((to) =>
          fits(at(to)),
        )
        computed.set(i, targets)
        for (const to of targets) leaders.add(to)
        work.push(...targets)
      }
      if (i.decoded.ends && call === undefined) break
      line.push(i)
    }
  }
  return fits(at(entry)) ? order(buildBlocks(r, entry, { leaders, computed, leaves, at, anywhere })) : undefined
}

type Lookup = (place: number) => Instruction | number | undefined

/** Blocks of the function, or of a copy of a leaf that returns to the place `back`. */
interface Within {
  readonly blocks: Map<number, Block>
  readonly leaders: ReadonlySet<number>
  readonly at: Lookup
  readonly back: number | undefined
}

function buildBlocks(
  r: Records,
  entry: number,
  known: {
    leaders: ReadonlySet<number>
    computed: ReadonlyMap<Instruction, readonly number[]>
    leaves: Leaves
    at: Lookup
    anywhere: Lookup
  },
): Block {
  const main: Within = { blocks: new Map(), leaders: known.leaders, at: known.at, back: undefined }
  const edge = (place: number, from: number, within: Within): Edge => {
    const i = within.at(place)
    if (fits(i)) return { block: block(place, within) }
    if (i === undefined || pageOf(place) !== pageOf(from)) return { place }
    return { record: typeof i === 'number' ? i : (i as Instruction).at }
  }
  const block = (place: number, within: Within): Block => {
    const { blocks, leaders, at, back } = within
    const made = blocks.get(place)
    if (made) return made
    const b: Block = {
      place,
      instructions: [],
      targets: [],
      order: -1,
      dominator: undefined,
      children: [],
      predecessors: [],
      loop: false,
      merge: false,
    }
    blocks.set(place, b)
    let here = place
    for (;;) {
      const i = at(here) as Instruction
      b.instructions.push(i)
      here = i.place + i.length
      const { target, call } = flow(r, i)
      const leaf = back === undefined ? known.leaves.of(i) : undefined
      if (leaf) {
        const copy = { blocks: new Map(), leaders: leaf.leaders, at: known.anywhere, back: here }
        b.taken = { block: block(leaf.entry, copy) }
        return b
      }
      if (target !== undefined) b.taken = edge(target, i.place, within)
      if (call !== undefined) b.call = call
      if (i.decoded.ends && call === undefined) {
        const targets = back !== undefined && i.decoded.returns ? [back] : (known.computed.get(i) ?? [])
        b.targets = targets.filter((to) => fits(known.at(to))).map((to) => block(to, main))
        return b
      }
      if (b.taken || call !== undefined || leaders.has(here) || !fits(at(here))) {
        b.next = edge(here, i.place, within)
        return b
      }
    }
  }
  return block(entry, main)
}

/** How far around a place its line and function are looked for. */
const BEFORE = 2048
const AFTER = 1024

/** Where to begin for code seen at `place`: the first place of its straight line, and where functions may begin. */
export function entriesFor(r: Records, place: number): { line: number; functions: number[] } {
  const targets = new Set<number>()
  const called = new Set<number>()
  const before = new Map<number, Instruction<Outline>>()
  const flows = new Set<number>()
  const aligned: number[] = []
  const end = Math.min(4096, place + AFTER)
  const index = (r.table(0) ?? 0) >> 2
  for (let at = Math.max(0, place - BEFORE); at < end; at++) {
    if (r.i32[index + at] === 0) continue
    const i = instructionAt(r, at, r.outline)
    if (typeof i !== 'object') continue
    if (at % 16 === 0 && at <= place) aligned.push(at)
    const target = branchTarget(r, i)
    if (target !== undefined) (i.decoded.calls ? called : targets).add(target)
    if (i.decoded.ends) continue
    flows.add(at + i.length)
    if (target === undefined) before.set(at + i.length, i)
  }
  let line = place
  for (;;) {
    const previous = before.get(line)
    if (!previous || targets.has(line)) break
    line = previous.place
  }
  const near = [...called].filter((at) => at >= 0 && at <= place && at % 16 !== 0)
  const functions = near.concat(aligned.filter((at) => called.has(at) || (!flows.has(at) && !targets.has(at))))
  return { line, functions: functions.sort((x, y) => y - x) }
}

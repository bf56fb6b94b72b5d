/**
 * The control-flow graph of a region: what its entry reaches, over decoded records, as one function.
 *
 * Places are distances from the start of the entry's page, so a graph spans pages and holds wherever it is mapped. Calls
 * go on after themselves. Places that are not decoded yet, and instructions that leave the stream by a procedure, are
 * exits to the interpreter.
 */
import { R } from '../layout.ts'
import { newBlock, pageOf } from './blocks.ts'
import type { Block, Decoded, Edge, Found, Instruction, Outline, Places, Records } from './blocks.ts'
import { order } from './dominators.ts'
import { copyHeads } from './heads.ts'
import { Leaves } from './leaves.ts'
import type { LiveRecords } from './records.ts'

const MAX_INSTRUCTIONS = 500
/** Pages that a region's own code, without callees and returns that it jumps to, is at most away from its entry's. */
const MAX_PAGE_DISTANCE = 4
/** A call of a place so near after itself only pushes an address. */
const NEAR = 16

/** The instruction that a copy of the record at the entry has. */
function entryAt(r: Places, copy: number): Found {
  const word = r.word(copy) >>> 16
  return { at: copy, fields: copy, crosses: undefined, place: word >> 4, length: word & 15 }
}

/** Place that an instruction branches to, if it is a direct branch. */
function branchTarget(r: Places, i: Instruction<Outline>): number | undefined {
  const { form } = i.decoded
  if (form !== 'p' && form !== 'o') return undefined
  return pageOf(i.place) * 4096 + r.word(i.fields + R.IMM) + (form === 'o' ? r.word(i.fields + R.DISP) : 0)
}

/** How control leaves an instruction. */
function flow(
  r: Places,
  i: Instruction<Outline>,
): { target: number | undefined; call: number | 'computed' | undefined } {
  const target = i.decoded.translatable ? branchTarget(r, i) : undefined
  if (!i.decoded.calls || !i.decoded.translatable) return { target, call: undefined }
  const after = i.place + i.length
  if (target !== undefined && target >= after && target < after + NEAR) return { target, call: undefined }
  return { target: undefined, call: target ?? 'computed' }
}

/** An instruction that a region can have: translated, or done by its function unless that ends the stream. */
const fits = <Known extends Outline>(i: Instruction<Known> | number | undefined): i is Instruction<Known> =>
  typeof i === 'object' && (i.decoded.translatable || !i.decoded.ends)

/** What an entry reaches, with as much of the facts as was asked for. */
export interface Reached<Known extends Outline> {
  /** All that was looked at. */
  readonly known: ReadonlyMap<number, Instruction<Known> | number | undefined>
  /** Places that were reached, without copies of leaf functions. */
  readonly own: ReadonlySet<number>
  readonly leaders: ReadonlySet<number>
  /** Where computed jumps may go, by their places. */
  readonly computed: ReadonlyMap<number, readonly number[]>
  readonly leaves: Leaves
  readonly at: (place: number) => Instruction<Known> | number | undefined
  readonly anywhere: (place: number) => Instruction<Known> | number | undefined
}

/** What is reached from `entry`, whose record has a copy at `copy`. */
export function reach<Known extends Outline>(
  r: Places,
  entry: number,
  copy: number,
  facts: (fields: number) => Known,
): Reached<Known> {
  const make = (found: Found): Instruction<Known> => ({ ...found, decoded: facts(found.fields) })
  const known = new Map<number, Instruction<Known> | number | undefined>([[entry, make(entryAt(r, copy))]])
  const anywhere = (place: number) => {
    if (known.has(place)) return known.get(place)
    const found = known.size < MAX_INSTRUCTIONS ? r.find(place) : undefined
    const i = typeof found === 'object' ? make(found) : found
    known.set(place, i)
    return i
  }
  const returns = new Set<number>()
  const near = (place: number) => Math.abs(pageOf(place)) <= MAX_PAGE_DISTANCE
  const at = (place: number) => (near(place) || returns.has(place) ? anywhere(place) : undefined)
  const fitting = (place: number) => {
    const i = anywhere(place)
    return fits(i) ? i : undefined
  }
  const leaves = new Leaves(fitting, (i) => flow(r, i))
  const leaders = new Set([entry])
  const computed = new Map<number, readonly number[]>()
  // Breadth first, so that what does not fit is what is farthest away.
  const work = [entry]
  const seen = new Set<number>()
  for (let n = 0; n < work.length; n++) {
    let place = work[n] as number
    const line: Instruction<Known>[] = []
    while (!seen.has(place)) {
      const i = at(place)
      seen.add(place)
      if (!fits(i)) break
      const { target, call } = flow(r, i)
      place = i.place + i.length
      if (typeof call === 'number') leaves.consider(i, call)
      if (target !== undefined) {
        if (!near(target) && fitting(target)?.decoded.returns) returns.add(target)
        leaders.add(target)
        work.push(target)
      }
      if (target !== undefined || call !== undefined || pageOf(place) !== pageOf(i.place)) leaders.add(place)
      if (i.decoded.name === 'jmp_indirect') {
        const targets = r.targets(i, line).filter((to) => fits(at(to)))
        computed.set(i.place, targets)
        for (const to of targets) leaders.add(to)
        work.push(...targets)
      }
      if (i.decoded.ends && call === undefined) break
      line.push(i)
    }
  }
  return { known, own: seen, leaders, computed, leaves, at, anywhere }
}

/** What is worth knowing of a region before it is made. */
export interface Sketch {
  /** Its instructions, copies of leaf functions included. */
  readonly instructions: readonly Instruction<Outline>[]
  /** Some branch goes back. */
  readonly loop: boolean
  /** Places that it calls. */
  readonly callees: readonly number[]
}

export function sketch(r: Places, { own, known, leaves }: Reached<Outline>): Sketch {
  const places = new Set(own)
  for (const leaf of leaves.all()) for (const place of leaf.places) places.add(place)
  const instructions = [...places].map((place) => known.get(place)).filter(fits)
  const callees = new Set<number>()
  let loop = false
  for (const i of instructions) {
    const { target, call } = flow(r, i)
    if (target !== undefined && target <= i.place && places.has(target)) loop = true
    if (typeof call === 'number' && !leaves.of(i)) callees.add(call)
  }
  return { instructions, loop, callees: [...callees] }
}

/** The graph from `entry`, whose record has a copy at `copy`; undefined if nothing of it can be translated. */
export function regionGraph(r: Records, entry: number, copy: number): Block[] | undefined {
  const reached = reach(r, entry, copy, (fields) => r.decoded(fields))
  if (!fits(reached.at(entry))) return undefined
  const blocks = order(buildBlocks(r, entry, reached))
  return copyHeads(blocks) ? order(blocks[0] as Block) : blocks
}

type Lookup = (place: number) => Instruction | number | undefined

/** Blocks of the function, or of a copy of a leaf that returns to the place `back`. */
interface Within {
  readonly blocks: Map<number, Block>
  readonly leaders: ReadonlySet<number>
  readonly at: Lookup
  readonly back: number | undefined
}

function buildBlocks(r: Records, entry: number, known: Reached<Decoded>): Block {
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
    const b = newBlock(place, [])
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
        const targets = back !== undefined && i.decoded.returns ? [back] : (known.computed.get(i.place) ?? [])
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
export function entriesFor(r: LiveRecords, place: number): { line: number; functions: number[] } {
  const targets = new Set<number>()
  const called = new Set<number>()
  const before = new Map<number, Instruction<Outline>>()
  const flows = new Set<number>()
  const aligned: number[] = []
  const end = Math.min(4096, place + AFTER)
  for (let at = Math.max(0, place - BEFORE); at < end; at++) {
    if (r.record(at) === 0) continue
    const found = r.find(at)
    if (typeof found !== 'object') continue
    const i = { ...found, decoded: r.outline(found.fields) }
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

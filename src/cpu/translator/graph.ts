/**
 * The control-flow graph of a region: what its entry reaches, over decoded records, as one function.
 *
 * Places are distances from the start of the entry's page, so a graph spans pages and holds wherever it is mapped. Calls
 * go on after themselves, or in a copy of what they call (callees.ts). Places that are not decoded yet, and instructions
 * that leave the stream by a procedure, are exits to the interpreter.
 */
import { newBlock, pageOf } from './blocks.ts'
import type { Block, Decoded, Edge, Found, Instruction, Outline, Places, Records } from './blocks.ts'
import { Callees, type Callee } from './callees.ts'
import { order } from './dominators.ts'
import { branchTarget, fits, flow } from './flow.ts'
import { copyHeads } from './heads.ts'
import { isFixed } from './pointers.ts'
import type { LiveRecords } from './records.ts'

const MAX_INSTRUCTIONS = 500
/** With those that were looked at for callees. */
const MAX_KNOWN = 600
/** Pages that a region's own code, without callees and returns that it jumps to, is at most away from its entry's. */
const MAX_PAGE_DISTANCE = 4
/** The most instructions of a function that has copies of large callees. */
const MOST_AROUND = 128
/** Such a function does little else than call another. */
const STUB = 8
/** Calls of its own entry that a region makes jumps. */
const MAX_RECURSIONS = 6

/** The instruction that a copy of the record at the entry has. */
function entryAt(r: Places, copy: number): Found {
  const word = r.word(copy) >>> 16
  return { at: copy, fields: copy, crosses: undefined, place: word >> 4, length: word & 15 }
}

/** What an entry reaches, with as much of the facts as was asked for. */
export interface Reached<Known extends Outline> {
  readonly entry: number
  /** All that was looked at. */
  readonly known: ReadonlyMap<number, Instruction<Known> | number | undefined>
  /** Places that were reached, without copies of callees. */
  readonly own: ReadonlySet<number>
  readonly leaders: ReadonlySet<number>
  /** Where computed jumps and calls may go, by their places. */
  readonly computed: ReadonlyMap<number, readonly number[]>
  readonly callees: Callees
  /** Places of calls of the entry that are jumps. */
  readonly recursions: ReadonlySet<number>
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
  let most = MAX_INSTRUCTIONS
  const anywhere = (place: number) => {
    if (known.has(place)) return known.get(place)
    const found = known.size < most ? r.find(place) : undefined
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
  const computed = new Map<number, readonly number[]>()
  const targets = (i: Instruction<Outline>, line: readonly Instruction<Outline>[]): readonly number[] => {
    const guessed = computed.get(i.place) ?? r.targets(i, line)
    computed.set(i.place, guessed)
    return guessed
  }
  const leaders = new Set([entry])
  const calls: { call: Instruction<Known>; to: number | 'computed'; targets: readonly number[] }[] = []
  /** The stretches that branches back make loops. */
  const loops: { from: number; to: number }[] = []
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
      if (call !== undefined)
        calls.push({ call: i, to: call, targets: typeof call === 'number' ? [call] : targets(i, line) })
      if (target !== undefined) {
        if (!near(target) && fitting(target)?.decoded.returns) returns.add(target)
        else if (!near(target) && i.decoded.ends) calls.push({ call: i, to: target, targets: [target] })
        leaders.add(target)
        work.push(target)
        if (target <= i.place) loops.push({ from: target, to: i.place })
      }
      if (target !== undefined || call !== undefined || pageOf(place) !== pageOf(i.place)) leaders.add(place)
      if (i.decoded.name === 'jmp_indirect') {
        const guessed = targets(i, line)
        const inside = guessed.filter((to) => fits(at(to)))
        for (const to of inside) leaders.add(to)
        work.push(...inside)
        if (inside.length === 0) calls.push({ call: i, to: 'computed', targets: guessed })
      }
      if (i.decoded.ends && call === undefined) break
      line.push(i)
    }
  }
  const again = calls.filter(({ call, to }) => to === entry && fits(at(call.place + call.length)))
  const recursive = again.length <= MAX_RECURSIONS ? again : []
  const recursions = new Set(recursive.map(({ call }) => call.place))
  most = MAX_KNOWN
  const callees = new Callees({ word: (address) => r.word(address), targets }, seen.size, (place) => {
    const i = anywhere(place)
    return i === undefined && known.size < most ? 'cold' : fits(i) ? i : undefined
  })
  for (const { call, targets: guessed } of calls) {
    if (recursions.has(call.place)) continue
    const { place } = call
    const often = recursions.size > 0 || seen.size < STUB || loops.some(({ from, to }) => from <= place && place <= to)
    callees.consider(call, guessed, often && seen.size <= MOST_AROUND)
  }
  return { entry, known, own: seen, leaders, computed, callees, recursions, at, anywhere }
}

/** What is worth knowing of a region before it is made. */
export interface Sketch {
  /** Its instructions, copies of callees included. */
  readonly instructions: readonly Instruction<Outline>[]
  /** Some branch goes back. */
  readonly loop: boolean
  /** Places that it calls. */
  readonly callees: readonly number[]
}

export function sketch(r: Places, { own, known, callees, recursions }: Reached<Outline>): Sketch {
  const places = new Set([...own, ...callees.places()])
  const instructions = [...places].map((place) => known.get(place)).filter(fits)
  const called = new Set<number>()
  let loop = recursions.size > 0
  for (const i of instructions) {
    const { target, call } = flow(r, i)
    if (target !== undefined && target <= i.place && places.has(target)) loop = true
    if (typeof call === 'number' && own.has(i.place) && !callees.inlined.has(i.place) && !recursions.has(i.place))
      called.add(call)
  }
  return { instructions, loop, callees: [...called] }
}

/** The graph from `entry`, whose record has a copy at `copy`; undefined if nothing of it can be translated. */
export function regionGraph(r: Records, entry: number, copy: number): Block[] | undefined {
  const reached = reach(r, entry, copy, (fields) => r.decoded(fields))
  if (!fits(reached.at(entry))) return undefined
  const blocks = order(new Builder(r, reached).entry())
  return copyHeads(blocks) ? order(blocks[0] as Block) : blocks
}

/** Blocks of the function, or of a copy of a callee. */
interface Within {
  readonly blocks: Map<number, Block>
  readonly leaders: ReadonlySet<number>
  readonly at: (place: number) => Instruction | number | undefined
  readonly calls: ReadonlyMap<number, readonly Callee[]>
  /** Where the copy returns to. */
  readonly back: { readonly place: number; readonly within: Within } | undefined
}

class Builder {
  readonly #r: Records
  readonly #known: Reached<Decoded>
  readonly #main: Within
  /** Where calls of the entry and returns go. */
  readonly #dispatch: Block | undefined

  constructor(r: Records, known: Reached<Decoded>) {
    this.#r = r
    this.#known = known
    this.#main = {
      blocks: new Map(),
      leaders: known.leaders,
      at: known.at,
      calls: known.callees.inlined,
      back: undefined,
    }
    if (known.recursions.size > 0) this.#dispatch = { ...newBlock(known.entry, []), dispatches: true }
  }

  entry(): Block {
    const { entry, recursions } = this.#known
    const first = this.#block(entry, this.#main)
    const dispatch = this.#dispatch
    if (!dispatch) return first
    const after = [...recursions].map((place) => {
      const call = this.#known.at(place) as Instruction
      return call.place + call.length
    })
    dispatch.targets = [first, ...after.map((place) => this.#block(place, this.#main))]
    return dispatch
  }

  #edge(place: number, from: number, within: Within): Edge {
    const i = within.at(place)
    if (fits(i)) return { block: this.#block(place, within) }
    if (i === undefined || pageOf(place) !== pageOf(from)) return { place }
    const end = i as Instruction | number
    if (typeof end === 'number') return { record: end }
    return end.at === end.fields && end.crosses === undefined ? { last: end } : { record: end.at }
  }

  #block(place: number, within: Within): Block {
    const { blocks, leaders, at } = within
    const made = blocks.get(place)
    if (made) return made
    const b = newBlock(place, [])
    blocks.set(place, b)
    let here = place
    for (;;) {
      const i = at(here) as Instruction
      b.instructions.push(i)
      here = i.place + i.length
      const { target, call } = flow(this.#r, i)
      const tail = call === undefined ? within.calls.get(i.place) : undefined
      if (call !== undefined) {
        this.#call(b, i, call, within)
        return b
      }
      if (tail) {
        const copies = tail.map((callee) => this.#copy(callee, within.back))
        if (target === undefined) b.targets = copies
        else b.taken = { block: copies[0] as Block }
        return b
      }
      if (target !== undefined) b.taken = this.#edge(target, i.place, within)
      if (i.decoded.ends) {
        this.#jump(b, i, within)
        return b
      }
      if (b.taken || leaders.has(here) || !fits(at(here))) {
        b.next = this.#edge(here, i.place, within)
        return b
      }
    }
  }

  /** A block ends with a call. */
  #call(b: Block, i: Instruction, call: number | 'computed', within: Within): void {
    const after = i.place + i.length
    if (this.#dispatch && within === this.#main && this.#known.recursions.has(i.place)) {
      b.taken = { block: this.#dispatch }
      return
    }
    const back = { place: after, within }
    const copies = (within.calls.get(i.place) ?? []).map((callee) => this.#copy(callee, back))
    if (call === 'computed') b.targets = copies.sort((x, y) => x.place - y.place)
    else if (copies[0]) b.taken = { block: copies[0] }
    // Where a table or a pointer that stays leads elsewhere, control leaves: a region without calls keeps its registers.
    const certain = copies.length > 0 && (call !== 'computed' || copies.length > 1 || isFixed(this.#r, i))
    if (certain) return
    b.call = call
    b.next = this.#edge(after, i.place, within)
  }

  #copy({ entry, leaders, calls, places }: Callee, back: Within['back']): Block {
    const at = (place: number) => (places.has(place) ? this.#known.anywhere(place) : undefined)
    return this.#block(entry, { blocks: new Map(), leaders, at, calls, back })
  }

  /** A block ends with a jump: computed, if it has no branch. */
  #jump(b: Block, i: Instruction, within: Within): void {
    const { back } = within
    if (i.decoded.returns && back) {
      if (fits(back.within.at(back.place))) b.targets = [this.#block(back.place, back.within)]
    } else if (i.decoded.returns && this.#dispatch) b.taken = { block: this.#dispatch }
    else
      b.targets = (this.#known.computed.get(i.place) ?? [])
        .filter((to) => fits(within.at(to)))
        .map((to) => this.#block(to, within))
  }
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

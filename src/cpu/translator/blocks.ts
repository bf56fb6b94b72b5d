/** What a region's graph consists of: instructions, blocks of them, and the edges between. */
import type { Effect } from '../isa/ir.ts'
import type { Form } from '../isa/variants.ts'

/** A record's static facts, as far as no recording is needed. */
export interface Outline {
  form: Form
  /** The row's. */
  name: string
  /** Control never reaches the next record. */
  ends: boolean
  /** Pushes the address of the next instruction and branches. */
  calls: boolean
  /** A return from a call. */
  returns: boolean
  /** Made from its effects; otherwise the interpreter's function does it. */
  translatable: boolean
}

/** All of them. */
export interface Decoded extends Outline {
  effects: readonly Effect[]
  /** STI. */
  enablesInterrupts: boolean
}

/** Where an instruction is. */
export interface Found {
  /** The record in its stream, where the interpreter can take over. */
  readonly at: number
  /** The record with the instruction's fields. */
  readonly fields: number
  /** Its last bytes are in the next page, which must be this one. */
  readonly crosses: number | undefined
  readonly place: number
  readonly length: number
}

export interface Instruction<Known extends Outline = Decoded> extends Found {
  readonly decoded: Known
}

/** `place`: whoever goes there looks it up; `last`: an instruction that the interpreter's function does, and control goes elsewhere. */
export type Edge = { block: Block } | { record: number } | { place: number } | { last: Instruction }

export interface Block {
  place: number
  instructions: Instruction[]
  /** The last instruction's branch, if it has one. */
  taken?: Edge
  /** Where control goes otherwise, after a call when it returns; absent if the last instruction leaves. */
  next?: Edge
  /** Where its last instruction, a computed jump or call, may go, too. */
  targets: Block[]
  /** It has no instructions, but goes to the one of its targets that has the linear address in the local, else returns. */
  dispatches?: true
  /** The last instruction is a call: of this place, or of a computed one. */
  call?: number | 'computed'
  order: number
  dominator: Block | undefined
  children: Block[]
  predecessors: Block[]
  loop: boolean
  merge: boolean
}

/** A block without edges, that is in no order yet. */
export const newBlock = (place: number, instructions: Instruction[]): Block => ({
  place,
  instructions,
  targets: [],
  order: -1,
  dominator: undefined,
  children: [],
  predecessors: [],
  loop: false,
  merge: false,
})

/** Decoded code around an entry, by places. */
export interface Places {
  /** The instruction at a place, or the record at which the interpreter must go on; undefined: not decoded. */
  find(place: number): Found | number | undefined
  /** Four bytes of a record, by their address. */
  word(address: number): number
  /** Index table of a page, by its distance from the entry's; undefined: not to be built on. */
  table(page: number): number | undefined
  /** Where a computed jump or call may go. `line`: what comes before it without a branch between. */
  targets(jump: Instruction<Outline>, line: readonly Instruction<Outline>[]): readonly number[]
}

/** Enough of it to make a region. */
export interface Records extends Places {
  /** A copy of a record that nothing displaces, followed by one that goes on after it; 0 if there is none. */
  copy(record: number): number
  /** The facts of the instruction whose fields are in a record. */
  decoded(fields: number): Decoded
}

/** The page of what goes on from a block. */
export const endPage = (b: Block): number => pageOf((b.instructions.at(-1) ?? b).place)

export const pageOf = (place: number): number => Math.floor(place / 4096)

/** What a region's graph consists of: instructions, blocks of them, and the edges between. */
import type { Effect } from '../isa/ir.ts'
import type { Form } from '../isa/variants.ts'

/** A record's static facts, as far as no recording is needed. */
export interface Outline {
  form: Form
  /** Control never reaches the next record. */
  ends: boolean
  /** Pushes the address of the next instruction and branches. */
  calls: boolean
}

/** All of them. */
export interface Decoded extends Outline {
  effects: readonly Effect[]
  /** Made from its effects; otherwise the interpreter's function does it. */
  translatable: boolean
  /** The row's. */
  name: string
  /** A return from a call. */
  returns: boolean
  /** STI. */
  enablesInterrupts: boolean
}

export interface Instruction<Known extends Outline = Decoded> {
  /** The record in its stream, where the interpreter can take over. */
  at: number
  /** The record with the instruction's fields. */
  fields: number
  /** Its last bytes are in the next page, which must be this one. */
  crosses: number | undefined
  place: number
  length: number
  decoded: Known
}

/** `place`: whoever goes there looks it up. */
export type Edge = { block: Block } | { record: number } | { place: number }

export interface Block {
  place: number
  instructions: Instruction[]
  /** The last instruction's branch, if it has one. */
  taken?: Edge
  /** Where control goes otherwise, after a call when it returns; absent if the last instruction leaves. */
  next?: Edge
  /** Where its last instruction, a computed jump, may go, too. */
  targets: Block[]
  /** The last instruction is a call: of this place, or of a computed one. */
  call?: number | 'computed'
  order: number
  dominator: Block | undefined
  children: Block[]
  predecessors: Block[]
  loop: boolean
  merge: boolean
}

/** Reads records of the pages around an entry. */
export interface Records {
  /** Linear address of place 0, as mapped now. */
  linear: bigint
  /** Bytes of the guest's memory as mapped now, as far as they are there. */
  bytes(linear: bigint, count: number): Uint8Array
  i32: Int32Array
  u16: Uint16Array
  /** Index table of a page, by its distance from the entry's; undefined: not to be built on. */
  table(page: number): number | undefined
  /** A copy of a record that nothing displaces, followed by one that goes on after it; 0 if there is no room. */
  copy(record: number): number
  /** The facts of the instruction whose fields are in a record. */
  decoded(fields: number): Decoded
  outline(fields: number): Outline
}

export const pageOf = (place: number): number => Math.floor(place / 4096)

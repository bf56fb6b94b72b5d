/** The decoded records of the pages around an entry as the running vCPU has them. */
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'
import { R } from '../layout.ts'
import { pageOf, type Found, type Instruction, type Outline, type Places } from './blocks.ts'
import type { Facts } from './facts.ts'
import { jumpTargets } from './jump-tables.ts'
import { pointerTarget } from './pointers.ts'

/** Pages beside the entry's. */
const MAX_PAGES = 8

/** What live records ask of others. */
export interface Surroundings {
  /** The core's memory. */
  readonly i32: Int32Array
  readonly facts: Facts
  readonly is32: boolean
  /** A general register of the vCPU as it is now, by its offset from p. */
  register(offset: number): bigint
  /** The index table of the page at a distance from the entry's, as mapped now. */
  tableAt(page: number): number | undefined
  /** Bytes of the guest's memory as mapped now, as far as they are there. */
  bytes(linear: bigint, count: number): Uint8Array
}

export class LiveRecords implements Places {
  /** Linear address of place 0, as mapped now. */
  readonly linear: bigint
  readonly #around: Surroundings
  readonly #tables: Map<number, number | undefined>

  constructor(linear: bigint, table: number, around: Surroundings) {
    this.linear = linear
    this.#around = around
    this.#tables = new Map([[0, table]])
  }

  /** The record where a place's instruction is looked up; 0: none is decoded there. */
  record(place: number): number {
    const page = pageOf(place)
    const table = this.table(page)
    return table === undefined ? 0 : (this.#around.i32[(table >> 2) + place - page * 4096] as number)
  }

  find(place: number): Found | number | undefined {
    const { i32 } = this.#around
    let record = this.record(place)
    if (record === 0) return undefined
    const page = pageOf(place)
    for (;;) {
      const handler = (i32[record >> 2] as number) & 0xffff
      if (handler === Pseudo.check) record += R.SIZE
      else if (handler === Pseudo.goto) record = i32[(record + R.DISP) >> 2] as number
      else if (handler === Pseudo.region) return this.#found(page, record, i32[(record + R.IMM) >> 2] as number)
      else if (handler === Pseudo.guard)
        return this.#found(page, record, record + R.SIZE, i32[(record + R.IMM) >> 2] as number)
      else if (handler < PSEUDO.length) return record
      else return this.#found(page, record, record)
    }
  }

  #found(page: number, at: number, fields: number, crosses?: number): Found {
    const word = (this.#around.i32[fields >> 2] as number) >>> 16
    return { at, fields, crosses, place: page * 4096 + (word >> 4), length: word & 15 }
  }

  word(address: number): number {
    return this.#around.i32[address >> 2] as number
  }

  table(page: number): number | undefined {
    const known = this.#tables.get(page)
    if (known !== undefined || this.#tables.has(page)) return known
    const table = this.#tables.size > MAX_PAGES ? undefined : this.#around.tableAt(page)
    this.#tables.set(page, table)
    return table
  }

  targets(jump: Instruction<Outline>, line: readonly Instruction<Outline>[]): number[] {
    const table = jumpTargets(this, jump, line)
    const pointer = table.length === 0 ? pointerTarget(this, jump, line) : undefined
    return pointer === undefined ? table : [pointer]
  }

  get is32(): boolean {
    return this.#around.is32
  }

  register(offset: number): bigint {
    return this.#around.register(offset)
  }

  bytes(linear: bigint, count: number): Uint8Array {
    return this.#around.bytes(linear, count)
  }

  outline(fields: number): Outline {
    return this.#around.facts.outline((this.#around.i32[fields >> 2] as number) & 0xffff)
  }
}

/**
 * A copy of what one region is made from: the records of the code that its entry reaches, and the few addresses that its
 * code will have. So it can be made in another thread, while the machine runs on.
 */
import { R } from '../layout.ts'
import { pageOf, type Decoded, type Found, type Outline, type Places, type Records } from './blocks.ts'
import type { Facts } from './facts.ts'
import type { Reached, Sketch } from './graph.ts'

/** Numbers that an instruction has in `instructions`: place, record, record of its fields, page that it crosses into, copy, four words. */
const NUMBERS = 9
const WORDS = 5

/** Of plain values, to be posted. */
export interface Snapshot {
  readonly entry: number
  /** The copy of the record at the entry. */
  readonly copy: number
  readonly is32: boolean
  /** The state block of the only vCPU, whose address regions then have as a constant. */
  readonly state: number | undefined
  /** The part of the TLB that loads ask, if code of this kind has always the same: then it is a constant, too. */
  readonly tlb: number | undefined
  readonly instructions: Int32Array<ArrayBuffer>
  /** Places at which the interpreter must go on at a record, each with that. */
  readonly stops: readonly (readonly [number, number])[]
  readonly tables: readonly (readonly [number, number])[]
  /** Where computed jumps may go, by their places. */
  readonly computed: readonly (readonly [number, readonly number[]])[]
}

/** `copy`: makes a copy of a record in the arena, followed by a goto to the record after it; 0 if there is no room. */
export function takeSnapshot(
  places: Places,
  region: Pick<Snapshot, 'entry' | 'copy' | 'is32' | 'state' | 'tlb'>,
  { known, computed }: Reached<Outline>,
  { instructions: own }: Sketch,
  copy: (record: number) => number,
): Snapshot {
  const byFunction = new Set(own.filter((i) => !i.decoded.translatable).map(({ place }) => place))
  const all = [...known.values()].filter((i) => typeof i === 'object')
  const instructions = new Int32Array(all.length * NUMBERS)
  all.forEach(({ place, at, fields, crosses }, n) => {
    const here = n * NUMBERS
    instructions.set([place, at, fields, crosses ?? -1, byFunction.has(place) ? copy(fields) : 0], here)
    for (let word = 0; word < R.SIZE / 4; word++) instructions[here + WORDS + word] = places.word(fields + 4 * word)
  })
  const pages = new Set(all.map(({ place }) => pageOf(place)))
  const tables = [...pages].map((page) => [page, places.table(page)] as const)
  return {
    ...region,
    instructions,
    stops: [...known].flatMap(([place, i]) => (typeof i === 'number' ? [[place, i] as const] : [])),
    tables: tables.filter((pair): pair is readonly [number, number] => pair[1] !== undefined),
    computed: [...computed],
  }
}

export class SnapshotRecords implements Records {
  readonly #facts: Facts
  readonly #instructions: Int32Array
  readonly #byPlace = new Map<number, number>()
  readonly #byFields = new Map<number, number>()
  readonly #stops: ReadonlyMap<number, number>
  readonly #tables: ReadonlyMap<number, number>
  readonly #computed: ReadonlyMap<number, readonly number[]>

  constructor({ instructions, stops, tables, computed }: Snapshot, facts: Facts) {
    this.#facts = facts
    this.#instructions = instructions
    this.#stops = new Map(stops)
    this.#tables = new Map(tables)
    this.#computed = new Map(computed)
    for (let n = 0; n < instructions.length; n += NUMBERS) {
      this.#byPlace.set(instructions[n] as number, n)
      this.#byFields.set(instructions[n + 2] as number, n)
    }
  }

  find(place: number): Found | number | undefined {
    const n = this.#byPlace.get(place)
    if (n === undefined) return this.#stops.get(place)
    const i = this.#instructions
    const crosses = i[n + 3] as number
    return {
      at: i[n + 1] as number,
      fields: i[n + 2] as number,
      crosses: crosses < 0 ? undefined : crosses,
      place,
      length: ((i[n + WORDS] as number) >>> 16) & 15,
    }
  }

  word(address: number): number {
    const fields = address & -R.SIZE
    const n = this.#byFields.get(fields) as number
    return this.#instructions[n + WORDS + ((address - fields) >> 2)] as number
  }

  table(page: number): number | undefined {
    return this.#tables.get(page)
  }

  targets(jump: Found): readonly number[] {
    return this.#computed.get(jump.place) ?? []
  }

  copy(record: number): number {
    return this.#instructions[(this.#byFields.get(record) as number) + 4] as number
  }

  decoded(fields: number): Decoded {
    return this.#facts.decoded(this.word(fields) & 0xffff, this.word(fields + R.IMM) & 0xff)
  }
}

/**
 * What a part of the machine (device, clock, local APIC, part of a platform...) does to be in snapshots: one method,
 * `transfer`, hands over each field of its state by name. It serves both ways, so that what is saved and what is loaded
 * cannot differ:
 *
 *     transfer(state: Transfer): void {
 *       this.#index = state.field('index', this.#index)
 *       state.array('ram', this.#ram)
 *       state.part('timer', this.timer)
 *     }
 *
 * When loading, the part is a fresh one of a machine made with the same options; what is not state (options, functions,
 * who is connected to whom) it has already. It says no word to others then: their states are loaded as well.
 * `stateful.test.ts` fails for a part that forgets a field.
 */
import { SnapshotError } from './error.ts'

/** What a field can be. */
export type Plain =
  | undefined
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | readonly Plain[]
  | { readonly [name: string]: Plain }

/** A part's state as plain data. */
export interface Saved {
  [name: string]: Plain
}

export type TypedArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | Float64Array

export interface Transfer {
  readonly loading: boolean
  /** Saves `value` and returns it, or returns what was saved. A value that is undefined now may have been anything. */
  field<T extends Plain>(name: string, value: T): T
  /** Elements of a fixed number, in place. */
  array(name: string, array: TypedArray): void
  /** Elements of any number, in place. */
  list<T extends Plain>(name: string, list: T[]): void
  map<K extends Plain, V extends Plain>(name: string, map: Map<K, V>): void
  part(name: string, part: Stateful): void
  parts(name: string, parts: readonly Stateful[]): void
}

export interface Stateful {
  /** Hand over each field of the state. */
  transfer(state: Transfer): void
}

export function save(part: Stateful): Saved {
  const saved: Saved = {}
  part.transfer({
    loading: false,
    field: (name, value) => {
      if (Object.hasOwn(saved, name)) throw new Error(`two fields of a state are called '${name}'`)
      saved[name] = value
      return value
    },
    array: (name, array) => void (saved[name] = bytesOf(array).slice()),
    list: (name, list) => void (saved[name] = [...list]),
    map: (name, map) => void (saved[name] = [...map]),
    part: (name, inner) => void (saved[name] = save(inner)),
    parts: (name, inner) => void (saved[name] = inner.map(save)),
  })
  return saved
}

/** Throws SnapshotError where `saved` is no state of such a part; `where` is its name then. */
export function load(part: Stateful, saved: Plain, where = 'machine'): void {
  if (kind(saved) !== 'object') throw new SnapshotError(`${where} has no state`)
  const fields = new Map(Object.entries(saved as Saved))
  const take = (name: string, expected?: string): Plain => {
    if (!fields.has(name)) throw new SnapshotError(`${where} has no '${name}'`)
    const value = fields.get(name)
    fields.delete(name)
    if (expected !== undefined && kind(value) !== expected)
      throw new SnapshotError(`'${name}' of ${where} is ${kind(value)} instead of ${expected}`)
    return value
  }
  part.transfer({
    loading: true,
    field: <T extends Plain>(name: string, value: T) => {
      const loaded = take(name)
      if (loaded !== undefined && value !== undefined && kind(loaded) !== kind(value))
        throw new SnapshotError(`'${name}' of ${where} is ${kind(loaded)} instead of ${kind(value)}`)
      return loaded as T
    },
    array: (name, array) => {
      const bytes = take(name, 'bytes') as Uint8Array
      if (bytes.length !== array.byteLength)
        throw new SnapshotError(`'${name}' of ${where} has ${bytes.length} bytes instead of ${array.byteLength}`)
      bytesOf(array).set(bytes)
    },
    list: <T extends Plain>(name: string, list: T[]) => void list.splice(0, Infinity, ...(take(name, 'array') as T[])),
    map: <K extends Plain, V extends Plain>(name: string, map: Map<K, V>) => {
      map.clear()
      for (const [key, value] of take(name, 'array') as (readonly [K, V])[]) map.set(key, value)
    },
    part: (name, inner) => load(inner, take(name), `${where}.${name}`),
    parts: (name, inner) => {
      const states = take(name, 'array') as Plain[]
      if (states.length !== inner.length)
        throw new SnapshotError(`${where}.${name} has ${states.length} parts instead of ${inner.length}`)
      for (const [i, one] of inner.entries()) load(one, states[i], `${where}.${name}[${i}]`)
    },
  })
  for (const name of fields.keys()) throw new SnapshotError(`${where} has no use for '${name}'`)
}

function kind(value: Plain): string {
  if (value instanceof Uint8Array) return 'bytes'
  return Array.isArray(value) ? 'array' : typeof value
}

function bytesOf(array: TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

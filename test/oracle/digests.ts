/**
 * The committed digests: for each row, of the native results of its first cases in each mode. With them a host with
 * another processor checks ours.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Row } from '../../src/cpu/isa/row.ts'
import { rowTitle } from './cases.ts'
import { allModes, type Mode } from './segments.ts'

/** How many cases of each row and mode a digest is made of. */
export const DIGEST_CASES = 200

const file = join(import.meta.dirname, 'digests.json')
const NONE = '-'

export class Digests {
  readonly #rows: Map<string, string[]>

  private constructor(rows: Map<string, string[]>) {
    this.#rows = rows
  }

  static empty(): Digests {
    return new Digests(new Map())
  }

  static read(): Digests {
    const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
    return new Digests(new Map(Object.entries(json).map(([title, digests]) => [title, digests.split(' ')])))
  }

  get(row: Row, mode: Mode): string | undefined {
    return this.#rows.get(rowTitle(row))?.[allModes.indexOf(mode)]
  }

  set(row: Row, mode: Mode, digest: string): void {
    const title = rowTitle(row)
    const digests = this.#rows.get(title) ?? allModes.map(() => NONE)
    digests[allModes.indexOf(mode)] = digest
    this.#rows.set(title, digests)
  }

  write(): void {
    const json = Object.fromEntries([...this.#rows].map(([title, digests]) => [title, digests.join(' ')]))
    writeFileSync(file, `${JSON.stringify(json, undefined, 1)}\n`)
  }
}

/** The decoder's index of the instruction table: candidate rows by opcode map and opcode, most specific first. */
import { allRows, type Row } from '../isa/row.ts'

const rank = { F2: 0, F3: 0, '66': 1, NP: 2, none: 3 } as const

/** candidates[map << 8 | opcode]. */
export function candidateRows(): readonly (readonly Row[])[] {
  const table: Row[][] = Array.from({ length: 1024 }, () => [])
  for (const row of allRows())
    for (let i = 0; i < (row.plusR ? 8 : 1); i++) table[(row.map << 8) | (row.opcode + i)]?.push(row)
  for (const list of table) list.sort((a, b) => specificity(a) - specificity(b))
  return table
}

function specificity(row: Row): number {
  return rank[row.prefix] * 8 + (row.rexW === undefined ? 4 : 0) + (row.rm === undefined ? 2 : 0) + (row.plusR ? 1 : 0)
}

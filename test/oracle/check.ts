/** Runs the cases of a row on the host's processor and on ours, and keeps what differs. */
import { createHash } from 'node:crypto'
import type { Row } from '../../src/cpu/isa/row.ts'
import { casesOf, rowTitle, type RowCase } from './cases.ts'
import { canonical, compare, explain, type Difference } from './compare.ts'
import { toleranceOf } from './exceptions.ts'
import { runNative, type Case, type Result } from './native.ts'

export type Run = (cases: readonly Case[]) => Result[]

export interface Report {
  row: Row
  mode: 64 | 32
  cases: number
  failures: { index: number, rowCase: RowCase, differences: Difference[] }[]
  /** The native processor knows the encoding: most cases are not #UD. */
  plausible: boolean
  /** sha256 of the canonical native (or, without one, our own) results. */
  digest: string
}

function digestOf(row: Row, cases: readonly RowCase[], results: readonly Result[]): string {
  const hash = createHash('sha256')
  results.forEach((result, i) => hash.update(canonical(cases[i]!.case, result, toleranceOf(row, result))))
  return hash.digest('hex')
}

/** `native` or `ours` may be missing: then only the digest of the other is made. */
export function checkRow(
  row: Row, mode: 64 | 32, count: number, native: string | undefined, ours: Run | undefined,
): Report | undefined {
  const rowCases = casesOf(row, mode, count)
  if (rowCases.length === 0) return undefined
  const cases = rowCases.map((c) => c.case)
  const theirs = native === undefined ? undefined : runNative(native, cases)
  const own = ours?.(cases)
  const failures: Report['failures'] = []
  if (theirs && own)
    cases.forEach((c, index) => {
      const differences = compare(c, theirs[index]!, own[index]!, toleranceOf(row, theirs[index]!))
      if (differences.length > 0) failures.push({ index, rowCase: rowCases[index]!, differences })
    })
  const undefinedOpcodes = theirs?.filter((r) => r.trap === 6).length ?? 0
  const plausible = undefinedOpcodes < cases.length * 0.4
  return { row, mode, cases: cases.length, failures, plausible, digest: digestOf(row, rowCases, theirs ?? own ?? []) }
}

/** The first failures of a report as text. */
export function describeFailures(report: Report, limit: number): string {
  const { row, mode, cases, failures } = report
  const title = `${rowTitle(row)}, ${mode}-bit: ${failures.length} of ${cases} cases differ`
  return [title, ...failures.slice(0, limit).map(({ index, rowCase, differences }) =>
    explain(`case ${index}`, rowCase.case, rowCase.address, differences))].join('\n')
}

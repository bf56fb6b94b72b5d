/** Runs the cases of a row on the host's processor and on ours, and keeps what differs. */
import { createHash } from 'node:crypto'
import type { Row } from '../../src/cpu/isa/row.ts'
import { casesOf, rowTitle, type RowCase } from './cases.ts'
import { canonical, compare, explain, type Difference } from './compare.ts'
import { DIGEST_CASES } from './digests.ts'
import { toleranceOf, undefinedForUsers } from './exceptions.ts'
import type { Mode } from './segments.ts'
import { runNative, type Case, type Result } from './native.ts'

export type Run = (cases: readonly Case[]) => Result[]

export interface Report {
  row: Row
  mode: Mode
  cases: number
  failures: { index: number; rowCase: RowCase; differences: Difference[] }[]
  /** The native processor knows the encoding: most cases are not #UD. */
  plausible: boolean
  /** Start of the sha256 of the canonical native (or, without a runner, our own) results of the first DIGEST_CASES cases. */
  digest: string
}

function digestOf(row: Row, cases: readonly RowCase[], results: readonly Result[]): string {
  const hash = createHash('sha256')
  results
    .slice(0, DIGEST_CASES)
    .forEach((result, i) =>
      hash.update(canonical(cases[i]!.case, result, toleranceOf(row, cases[i]!.case.mode, result))),
    )
  return hash.digest('hex').slice(0, 16)
}

/** Cases that one native process runs. */
const BATCH = 8000

/**
 * Reports on rows in the given modes, `count` cases each, in order. `native` or `ours` may be missing: then only the
 * digest of the other is made.
 */
export function* checkRows(
  rows: readonly Row[],
  modes: readonly Mode[],
  count: number,
  native: string | undefined,
  ours: Run | undefined,
): Generator<Report> {
  let batch: Work[] = []
  let size = 0
  for (const row of rows)
    for (const mode of modes) {
      const rowCases = casesOf(row, mode, count)
      if (rowCases.length === 0) continue
      batch.push({ row, mode, rowCases })
      size += rowCases.length
      if (size < BATCH) continue
      yield* checkBatch(batch, native, ours)
      batch = []
      size = 0
    }
  yield* checkBatch(batch, native, ours)
}

interface Work {
  row: Row
  mode: Mode
  rowCases: RowCase[]
}

function* checkBatch(batch: readonly Work[], native: string | undefined, ours: Run | undefined): Generator<Report> {
  const all = batch.flatMap(({ rowCases }) => rowCases.map((c) => c.case))
  const theirs = native === undefined ? undefined : runNative(native, all)
  let at = 0
  for (const work of batch) {
    const end = at + work.rowCases.length
    yield checkRow(work, theirs?.slice(at, end), ours?.(all.slice(at, end)))
    at = end
  }
}

function checkRow({ row, mode, rowCases }: Work, theirs: Result[] | undefined, own: Result[] | undefined): Report {
  const failures: Report['failures'] = []
  if (theirs && own)
    rowCases.forEach((rowCase, index) => {
      const native = theirs[index]!
      const differences = compare(rowCase.case, native, own[index]!, toleranceOf(row, mode, native))
      if (differences.length > 0) failures.push({ index, rowCase, differences })
    })
  const undefinedOpcodes = theirs?.filter((r) => r.trap === 6).length ?? 0
  const plausible = undefinedOpcodes < rowCases.length * 0.4 || undefinedForUsers(row)
  return {
    row,
    mode,
    cases: rowCases.length,
    failures,
    plausible,
    digest: digestOf(row, rowCases, theirs ?? own ?? []),
  }
}

/** The first failures of a report as text. */
export function describeFailures(report: Report, limit: number): string {
  const { row, mode, cases, failures } = report
  const title = `${rowTitle(row)}, ${mode}-bit: ${failures.length} of ${cases} cases differ`
  return [
    title,
    ...failures
      .slice(0, limit)
      .map(({ index, rowCase, differences }) => explain(`case ${index}`, rowCase.case, rowCase.address, differences)),
  ].join('\n')
}

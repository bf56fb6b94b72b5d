/**
 * Every row of the instruction table that user code can execute, some cases each, against the host's processor; where
 * that is not Intel's, against the committed digests of one that is. Once interpreted, once translated.
 * `npm run oracle` runs many more cases.
 */
import { expect, test } from 'vitest'
import { rowTitle, testedRows } from './cases.ts'
import { checkRows, describeFailures, type Run } from './check.ts'
import { DIGEST_CASES, Digests } from './digests.ts'
import { referenceNative } from './native.ts'
import { createOurs } from './ours.ts'
import { allModes, type Mode } from './segments.ts'

const native = referenceNative()

/** The rows that differ from the host's processor, some with why. */
function againstHost(run: Run, modes: readonly Mode[], count: number): string[] {
  return [...checkRows(testedRows(), modes, count, native, run)]
    .filter((report) => report.failures.length > 0)
    .map((report) => describeFailures(report, 1))
}

/** The rows whose digests on an Intel processor are others. */
function againstDigests(run: Run): string[] {
  const digests = Digests.read()
  return [...checkRows(testedRows(), allModes, DIGEST_CASES, undefined, run)]
    .filter(({ row, mode, digest }) => digests.get(row, mode) !== digest)
    .map(({ row, mode }) => `${rowTitle(row)}, ${mode}-bit: digest differs`)
}

/** The rows for which two engines of ours have other digests. */
function againstEachOther(one: Run, other: Run, modes: readonly Mode[], count: number): string[] {
  const theirs = [...checkRows(testedRows(), modes, count, undefined, other)]
  return [...checkRows(testedRows(), modes, count, undefined, one)]
    .filter(({ digest }, i) => digest !== theirs[i]!.digest)
    .map(({ row, mode }) => `${rowTitle(row)}, ${mode}-bit: the engines differ`)
}

test('our processor does what the host’s does', { timeout: 900_000 }, async () => {
  const { run } = await createOurs()
  const wrong = native === undefined ? againstDigests(run) : againstHost(run, allModes, 16)
  expect(wrong.join('\n\n')).toBe('')
})

test('and so does translated code', { timeout: 900_000 }, async () => {
  // Segmented code is never translated.
  const modes = [64, 32] as const
  const cases = 6
  const { run, translated } = await createOurs('translator')
  const wrong =
    native === undefined
      ? againstEachOther(run, (await createOurs()).run, modes, cases)
      : againstHost(run, modes, cases)
  expect(wrong.join('\n\n')).toBe('')
  // x87, strings and what has no fast path are the interpreter's.
  expect(translated()).toBeGreaterThan(testedRows().length * cases)
})

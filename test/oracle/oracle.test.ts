/**
 * Every row of the instruction table that user code can execute, some cases each, against the host's processor; where
 * that is not Intel's, against the committed digests of one that is. `npm run oracle` runs many more cases.
 */
import { expect, test } from 'vitest'
import { rowTitle, testedRows } from './cases.ts'
import { checkRows, describeFailures } from './check.ts'
import { DIGEST_CASES, Digests } from './digests.ts'
import { referenceNative } from './native.ts'
import { createOurs } from './ours.ts'
import { allModes } from './segments.ts'

const CASES = 16

test('our processor does what the host’s does', { timeout: 300_000 }, async () => {
  const native = referenceNative()
  const ours = await createOurs()
  const wrong: string[] = []
  if (native === undefined) {
    const digests = Digests.read()
    for (const { row, mode, digest } of checkRows(testedRows(), allModes, DIGEST_CASES, undefined, ours))
      if (digests.get(row, mode) !== digest) wrong.push(`${rowTitle(row)}, ${mode}-bit: digest differs`)
  } else
    for (const report of checkRows(testedRows(), allModes, CASES, native, ours))
      if (report.failures.length > 0) wrong.push(describeFailures(report, 1))
  expect(wrong.join('\n\n')).toBe('')
})

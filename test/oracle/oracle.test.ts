/**
 * Every row of the instruction table that user code can execute, some cases each, against the host's processor; where
 * that is not Intel's, against the committed digests of one that is. `npm run oracle` runs many more cases.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { testedRows } from './cases.ts'
import { checkRows, describeFailures, digestKey, DIGEST_CASES } from './check.ts'
import { referenceNative } from './native.ts'
import { createOurs } from './ours.ts'
import { allModes } from './segments.ts'

const CASES = 40

test('our processor does what the host’s does', { timeout: 120_000 }, async () => {
  const native = referenceNative()
  const ours = await createOurs()
  const wrong: string[] = []
  if (native === undefined) {
    const digests = JSON.parse(readFileSync(join(import.meta.dirname, 'digests.json'), 'utf8')) as Record<string, string>
    for (const { row, mode, digest } of checkRows(testedRows(), allModes, DIGEST_CASES, undefined, ours))
      if (digests[digestKey(row, mode)] !== digest) wrong.push(`${digestKey(row, mode)}: digest differs`)
  } else
    for (const report of checkRows(testedRows(), [64, 32], CASES, native, ours))
      if (report.failures.length > 0) wrong.push(describeFailures(report, 1))
  expect(wrong.join('\n\n')).toBe('')
})

/**
 * Seeded sequences of hypercalls, played by guests/xen: what it is answered (return values, structures, page tables,
 * exception frames) is what Debian's Xen 4.17 answered, which test/xen/answers.txt has as a digest for each seed.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { buildXenGuest } from './guests/build.ts'
import { batches, batchLine, playHere } from './xen/play.ts'

const answers = readFileSync(join(import.meta.dirname, 'xen/answers.txt'), 'utf8')
  .trimEnd()
  .split('\n')

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('hypercalls as Xen 4.17 answers them', () => {
  test('all seeds', { timeout: 300_000 }, async () => {
    for (const batch of batches) {
      const { first, seeds, vcpus } = batch
      const { lines, exit } = await playHere(buildXenGuest(), batchLine(batch), vcpus)
      expect(lines).toEqual([...answers.slice(first - 1, first - 1 + seeds), 'end'])
      expect(exit).toBe('power-off')
    }
  })

  test('interpreted, and translated as soon as it can be', { timeout: 300_000 }, async () => {
    const few = answers.slice(0, 12)
    for (const translate of [false, 'eager'] as const) {
      const { lines } = await playHere(buildXenGuest(), `seeds=${few.length} fifo=0`, 1, { translate })
      expect(lines.slice(0, -1), String(translate)).toEqual(few)
    }
  })
})

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { operations } from './operations.ts'
import { ourServer } from './ours.ts'
import { digest, play } from './play.ts'
import { COUNT, SEEDS } from './seeds.ts'

const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'digests.json'), 'utf8')) as Record<string, string>

test('sequences of requests are answered as xenstored 4.17 answers them', async () => {
  const ours: Record<string, string> = {}
  for (const seed of SEEDS) ours[seed] = digest(await play(ourServer(), operations(seed, COUNT)))
  expect(ours).toEqual(recorded)
})

/** Deterministic boots are bit-identical, wherever their slices end and whatever is translated. The whole boot: `npm run determinism`. */
import { expect, test } from 'vitest'
import { fingerprint } from '../bench/fingerprint.ts'
import { DEFAULT_KERNEL } from '../src/packages/debian.ts'

const LIMIT = 60_000_000
const boot = { kernel: DEFAULT_KERNEL, memory: 128 << 20, instructions: LIMIT, ramEvery: 20 }

test('registers are the same at each million of instructions, RAM at each twenty million', async () => {
  const first = await fingerprint(boot)
  expect(first.filter(({ ram }) => ram !== undefined)).toHaveLength(4)
  expect(first[59]!.instructions).toBe(LIMIT)
  expect(new Set(first.slice(0, 60).map(({ registers }) => registers)).size).toBe(60)
  expect(await fingerprint({ ...boot, every: 250_000, translate: false })).toEqual(first)
  expect(await fingerprint({ ...boot, translate: true })).toEqual(first)
  expect(await fingerprint({ ...boot, translate: 'eager' })).toEqual(first)
}, 300_000)

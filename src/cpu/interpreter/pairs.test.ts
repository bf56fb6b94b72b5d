/** Every listed pair has an arm; what pairs do is in core.test.ts. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cachedInterpreter } from './cached.ts'

test('both handlers of every listed pair are arms of the loop', () => {
  const { names, pairs } = cachedInterpreter()
  const listed = /`([^`]*)`/.exec(readFileSync(new URL('./pairs.ts', import.meta.url), 'utf8'))![1]!
  const lines = listed.split('\n').filter(Boolean)
  expect(lines.length).toBe(pairs.size)
  expect(lines.length).toBe(new Set(lines).size)
  for (const [key, pair] of pairs) expect(`${names[key >>> 16]} ${names[key & 0xffff]}`).toBe(names[pair])
})

import { describe, expect, test } from 'vitest'
import { hostRandom, RepeatedRandom } from './random.ts'

const repeatedRandom = () => {
  const random = new RepeatedRandom()
  return () => random.next()
}
const take = (next: () => number, count: number) => Array.from({ length: count }, next)
const bitsOf = (words: number[]) =>
  Array.from({ length: 32 }, (_, bit) => words.filter((word) => (word >> bit) & 1).length / words.length)

describe.each([
  ['hostRandom', hostRandom],
  ['RepeatedRandom', repeatedRandom],
])('%s', (_name, make) => {
  const words = take(make(), 10_000)
  test('32-bit words, hardly ever the same', () => {
    expect(words.filter((word) => (word | 0) !== word)).toEqual([])
    expect(new Set(words).size).toBeGreaterThan(9990)
  })
  test('every bit is as often 0 as 1', () => {
    for (const share of bitsOf(words)) {
      expect(share).toBeGreaterThan(0.45)
      expect(share).toBeLessThan(0.55)
    }
  })
})

test('what repeats and what does not', () => {
  expect(take(repeatedRandom(), 100)).toEqual(take(repeatedRandom(), 100))
  expect(take(hostRandom(), 100)).not.toEqual(take(hostRandom(), 100))
})

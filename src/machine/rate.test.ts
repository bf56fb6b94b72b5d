import { expect, test } from 'vitest'
import { Rate } from './rate.ts'

test('a slow machine is found out by short slices, too', () => {
  const rate = new Rate()
  for (let i = 0; i < 10_000; i++) rate.add(1000, 0.05)
  expect(rate.value).toBeCloseTo(0.02, 6)
})

test('slices that a coarse clock does not see count with those that it sees', () => {
  const rate = new Rate()
  for (let i = 0; i < 10_000; i++) rate.add(5000, i % 4 === 0 ? 0.1 : 0)
  expect(rate.value).toBeCloseTo(0.2, 6)
})

test('it follows the last milliseconds', () => {
  const rate = new Rate()
  for (let i = 0; i < 20; i++) rate.add(1e6, 2)
  expect(rate.value).toBeCloseTo(0.5, 3)
  for (let i = 0; i < 20; i++) rate.add(1e5, 1)
  expect(rate.value).toBeCloseTo(0.1, 3)
})

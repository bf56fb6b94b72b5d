import { expect, test } from 'vitest'
import { between, Pauses } from './pauses.ts'

test('percentiles', () => {
  const pauses = new Pauses()
  expect(pauses.percentile(0.999)).toBe(0)
  for (let n = 1; n <= 10_000; n++) pauses.add(n === 5000 ? 40 : n / 10_000)
  expect(pauses).toMatchObject({ count: 10_000, longest: 40 })
  expect(pauses.milliseconds).toBeCloseTo(5040, 0)
  for (const part of [0.001, 0.01, 0.5, 0.9, 0.999]) {
    expect(pauses.percentile(part)).toBeGreaterThanOrEqual(part * 0.999)
    expect(pauses.percentile(part)).toBeLessThan(part * 1.1)
  }
  expect(pauses.percentile(1)).toBe(40)
  expect(JSON.parse(JSON.stringify(pauses))).toMatchObject({ count: 10_000, longest: 40 })
})

test('very short ones', () => {
  const pauses = new Pauses()
  for (const pause of [0, 0.0001, 0.001]) pauses.add(pause)
  expect(pauses.percentile(1)).toBe(0.001)
})

test('a pause is what the clock says, unless another process had the processor', () => {
  expect(between({ wall: 10, used: 3 }, { wall: 10.5, used: 3.5 })).toBe(0.5)
  expect(between({ wall: 10, used: 3 }, { wall: 10.5, used: 7 })).toBe(0.5)
  expect(between({ wall: 10, used: 3 }, { wall: 40, used: 5 })).toBe(2)
  expect(between({ wall: 10, used: undefined }, { wall: 40, used: undefined })).toBe(30)
})

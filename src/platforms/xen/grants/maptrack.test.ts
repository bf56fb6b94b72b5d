import { expect, test } from 'vitest'
import { Maptrack } from './maptrack.ts'

test('a vCPU takes the handle that has been free longest, and leaves one', () => {
  const handles = new Maptrack(2)
  expect([0, 1, 2].map(() => handles.take(0))).toEqual([0, 1, 2])
  handles.put(1)
  expect(Array.from({ length: 253 }, () => handles.take(0)).at(-1)).toBe(255)
  // Handle 1 is the last one.
  expect([handles.take(0), handles.take(0)]).toEqual([256, 257])
  expect(handles.take(1)).toBe(512)
})

test('a handle goes back to the vCPU that it came to first', () => {
  const handles = new Maptrack(2)
  expect([handles.take(0), handles.take(1)]).toEqual([0, 256])
  handles.set(0, { ref: 9, flags: 2 })
  handles.put(0)
  expect(handles.get(0)).toBeUndefined()
  for (let i = 0; i < 255; i++) handles.take(0)
  expect(handles.take(0)).toBe(512)
})

test('there are 1024 pages of them', () => {
  const handles = new Maptrack(2)
  let taken = 0
  while (handles.take(0) >= 0) taken++
  expect(taken).toBe(1024 * 256 - 1)
  handles.put(7)
  handles.put(8)
  expect([handles.take(1), handles.take(1), handles.take(1)]).toEqual([255, 7, -1])
})

/** Overlay pages, also several on one page (TLFS, "GPA Overlay Pages"). */
import { expect, test } from 'vitest'
import { Mock } from '../../paravirt/mock.ts'
import { Overlay, Overlays } from './overlay.ts'

function setUp() {
  const { effects, ram } = new Mock({ pages: 8 })
  ram.fill(0xaa)
  const overlays = new Overlays(effects.memory)
  const make = (writable: boolean, value: number) => {
    const overlay = new Overlay(overlays, writable)
    overlay.store(0, Uint8Array.of(value))
    return overlay
  }
  const seen = (page: number) => ram[page * 4096]
  return { make, seen, ram }
}

test('the last that came is seen; as they go, in any order, what is under them comes back', () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
  ]) {
    const { make, seen } = setUp()
    const layers = [make(true, 1), make(false, 2), make(true, 3)]
    for (const layer of layers) layer.place(4)
    expect(seen(4)).toBe(3)
    const left = [1, 2, 3]
    for (const index of order) {
      layers[index]?.place(undefined)
      left.splice(left.indexOf(index + 1), 1)
      expect(seen(4)).toBe(left.at(-1) ?? 0xaa)
    }
  }
})

test("the guest's stores belong to the overlay that it saw", () => {
  const { make, seen, ram } = setUp()
  const [first, second] = [make(true, 1), make(true, 2)]
  first.place(4)
  ram[4 * 4096] = 11
  second.place(4)
  ram[4 * 4096] = 22
  expect(first.byte(0)).toBe(11)
  expect(second.byte(0)).toBe(22)
  first.store(0, Uint8Array.of(12))
  expect(seen(4)).toBe(22)
  second.place(5)
  expect([seen(4), seen(5)]).toEqual([12, 22])
  first.place(undefined)
  expect(seen(4)).toBe(0xaa)
  expect(first.byte(0)).toBe(12)
})

test('outside memory it covers nothing', () => {
  const { make } = setUp()
  const overlay = make(true, 1)
  overlay.place(8)
  expect(overlay.accessible).toBe(false)
  overlay.place(7)
  expect(overlay.accessible).toBe(true)
})

test('placing it where it is changes nothing', () => {
  const { make, ram } = setUp()
  const overlay = make(true, 1)
  overlay.place(3)
  ram[3 * 4096 + 1] = 7
  overlay.place(3)
  expect(ram[3 * 4096 + 1]).toBe(7)
})

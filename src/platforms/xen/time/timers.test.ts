import { expect, test } from 'vitest'
import { Mock } from '../../../paravirt/mock.ts'
import { Timers } from './timers.ts'

const MS = 1_000_000

test('the periodic timer with which a vCPU begins runs while the vCPU does', () => {
  const mock = new Mock({ vcpus: 1, pages: 1 })
  let fired = 0
  const timers = new Timers(mock.effects.time, () => fired++)
  const after = (milliseconds: number) => {
    mock.advance(milliseconds * MS)
    return fired
  }
  timers.begin(10 * MS)
  expect(after(15)).toBe(0)
  timers.enter()
  expect([after(0), after(9), after(11)]).toEqual([1, 1, 3])
  timers.halt()
  expect(after(100)).toBe(3)
  // What was missed comes once.
  timers.enter()
  expect(after(0)).toBe(4)
  timers.setPeriod(0)
  timers.enter()
  expect(after(100)).toBe(4)
})

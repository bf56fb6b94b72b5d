import { expect, test, vi } from 'vitest'
import { CountedClock, RealClock } from './clock.ts'

test('timers run in order of deadline, then of arming', () => {
  let count = 0
  const clock = new CountedClock(() => count)
  const ran: string[] = []
  clock.schedule(30, () => ran.push('c'))
  clock.schedule(10, () => ran.push('a'))
  clock.schedule(30, () => ran.push('d'))
  clock.schedule(20, () => ran.push('b'))
  const never = clock.schedule(25, () => ran.push('never'))
  expect(clock.nextDeadline()).toBe(10)
  clock.cancel(never)
  count = 9
  clock.runDue()
  expect(ran).toEqual([])
  count = 30
  clock.runDue()
  expect(ran).toEqual(['a', 'b', 'c', 'd'])
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('the heap stays ordered under random arming and disarming', () => {
  const clock = new CountedClock(() => 0)
  let seed = 1
  const random = () => (seed = (seed * 1103515245 + 12345) % 2 ** 31)
  const timers = Array.from({ length: 50 }, () => clock.schedule(Infinity, () => {}))
  for (let i = 0; i < 5000; i++) {
    clock.reschedule(timers[random() % 50], random() % 3 === 0 ? Infinity : random() % 1000)
    expect(clock.nextDeadline()).toBe(Math.min(...timers.map((timer) => timer.at)))
  }
})

test('an earlier deadline is announced', () => {
  const clock = new CountedClock(() => 0)
  let calls = 0
  clock.onEarlier = () => calls++
  const timer = clock.schedule(100, () => {})
  clock.reschedule(timer, 200)
  clock.reschedule(timer, 50)
  expect(calls).toBe(2)
})

test('a callback may arm its own timer again', () => {
  let count = 5
  const clock = new CountedClock(() => count)
  let runs = 0
  const timer = clock.schedule(5, () => clock.reschedule(timer, 10 * ++runs))
  clock.runDue()
  count = 10
  clock.runDue()
  expect(runs).toBe(2)
  expect(clock.nextDeadline()).toBe(20)
})

test('counted time follows instructions and skips', () => {
  let count = 3
  const clock = new CountedClock(() => count, 2.5)
  expect(clock.now()).toBe(7)
  clock.skipTo(1000)
  expect(clock.now()).toBe(1000)
  clock.skipTo(10)
  count = 5
  expect(clock.now()).toBe(1005)
})

test('real time is integer, monotonic and can be paused', async () => {
  const clock = new RealClock()
  let last = 0
  for (let i = 0; i < 1000; i++) {
    const now = clock.now()
    expect(Number.isInteger(now)).toBe(true)
    expect(now).toBeGreaterThanOrEqual(last)
    last = now
  }
  clock.pause()
  const paused = clock.now()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(clock.now()).toBe(paused)
  clock.resume()
  expect(clock.now() - paused).toBeLessThan(10e6)
})

test('who reads the time after a deadline ends the slice', () => {
  let host = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => host)
  const clock = new RealClock()
  let late = 0
  clock.onLate = () => late++
  clock.schedule(2e6, () => {})
  host = 1
  expect([clock.now(), late]).toEqual([1e6, 0])
  host = 2
  expect([clock.now(), late]).toEqual([2e6, 1])
  clock.runDue()
  late = 0
  expect([clock.now(), late]).toEqual([2e6, 0])
  now.mockRestore()
})

import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from '../../machine/clock.ts'
import { LapicTimer } from './timer.ts'

const ONE_SHOT = 0x000ef
const PERIODIC = 0x200ef
const DEADLINE = 0x400ef
const MASKED = 0x10000

let time: number
let offset: number
let clock: CountedClock
let timer: LapicTimer
let fired: number[]

function advance(ns: number) {
  const end = time + ns
  while (clock.nextDeadline() <= end) {
    time = Math.max(time, clock.nextDeadline())
    clock.runDue()
  }
  time = end
}

beforeEach(() => {
  time = 1000
  offset = 0
  fired = []
  clock = new CountedClock(() => time)
  timer = new LapicTimer(
    clock,
    () => fired.push(time),
    () => offset,
  )
  timer.divide = 0xb
})

test('one-shot at 25 MHz: 40 ns a count, then 0', () => {
  timer.setLvt(ONE_SHOT)
  timer.setInitialCount(100)
  advance(39)
  expect(timer.currentCount()).toBe(100)
  advance(1)
  expect(timer.currentCount()).toBe(99)
  advance(10000)
  expect(fired).toEqual([5000])
  expect(timer.currentCount()).toBe(0)
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('the divide configuration: 0 is by 2, 10 by 128, 11 by 1; the count goes on', () => {
  timer.setLvt(ONE_SHOT)
  timer.setInitialCount(100)
  advance(40 * 50)
  timer.divide = 0
  expect(timer.currentCount()).toBe(50)
  advance(80 * 25)
  expect(timer.currentCount()).toBe(25)
  timer.divide = 0xa
  advance(40 * 128 * 24)
  expect(timer.currentCount()).toBe(1)
  expect(timer.divide).toBe(0xa)
})

test('periodic without drift; missed expiries are one', () => {
  timer.setLvt(PERIODIC)
  timer.setInitialCount(10)
  advance(1200)
  expect(fired).toEqual([1400, 1800, 2200])
  time = 3390
  clock.runDue()
  expect(fired).toEqual([1400, 1800, 2200, 3390])
  expect(timer.currentCount()).toBe(1)
  expect(clock.nextDeadline()).toBe(3400)
})

test('masked, it counts without arming the clock', () => {
  timer.setLvt(PERIODIC | MASKED)
  timer.setInitialCount(10)
  expect(clock.nextDeadline()).toBe(Infinity)
  advance(440)
  expect(timer.currentCount()).toBe(9)
  timer.setLvt(PERIODIC)
  expect(clock.nextDeadline()).toBe(1800)
  timer.setInitialCount(0)
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('an expiry that is due comes before the write that would prevent it', () => {
  timer.setLvt(ONE_SHOT)
  timer.setInitialCount(10)
  time += 1000
  timer.setLvt(ONE_SHOT | MASKED)
  expect(fired).toEqual([2000])
})

test('TSC deadline: fires once, reads 0 then; the past fires at once; 0 disarms', () => {
  timer.setLvt(DEADLINE)
  timer.setInitialCount(7)
  expect(timer.initialCount).toBe(0)
  timer.writeDeadline(5000, 0)
  expect(timer.readDeadline()).toBe(5000n)
  advance(10000)
  expect(fired).toEqual([5000])
  expect(timer.readDeadline()).toBe(0n)
  timer.writeDeadline(4000, 0)
  expect(fired).toEqual([5000, 11000])
  timer.writeDeadline(20000, 0)
  timer.writeDeadline(0, 0)
  expect(clock.nextDeadline()).toBe(Infinity)
  timer.writeDeadline(0xffffffff, 0xffffffff)
  expect(timer.readDeadline()).toBe(0xffffffffffffffffn)
})

test('a deadline is on the TSC as the processor sees it', () => {
  offset = 500
  timer.setLvt(DEADLINE)
  timer.writeDeadline(5000, 0)
  expect(clock.nextDeadline()).toBe(4500)
  offset = 0
  timer.tscOffsetChanged()
  expect(clock.nextDeadline()).toBe(5000)
})

test('a deadline that passes while masked is lost; changing the mode disarms; other modes ignore the MSR', () => {
  timer.setLvt(DEADLINE | MASKED)
  timer.writeDeadline(2000, 0)
  advance(5000)
  timer.setLvt(DEADLINE)
  expect(fired).toEqual([])
  timer.writeDeadline(9000, 0)
  timer.setLvt(ONE_SHOT)
  timer.setLvt(DEADLINE)
  expect(timer.readDeadline()).toBe(0n)
  timer.setLvt(ONE_SHOT)
  timer.writeDeadline(9000, 0)
  expect(timer.readDeadline()).toBe(0n)
  expect(clock.nextDeadline()).toBe(Infinity)
})

import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from '../machine/clock.ts'
import { Rtc } from './rtc.ts'

let time: number
let clock: CountedClock
let rtc: Rtc
let irq: boolean
let edges: number

function read(register: number) {
  rtc.write(0x70, 1, register)
  return rtc.read(0x71)
}

function write(register: number, value: number) {
  rtc.write(0x70, 1, register)
  rtc.write(0x71, 1, value)
}

const now = () => [0x32, 9, 8, 7, 6, 4, 2, 0].map((register) => read(register).toString(16)).join(' ')

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
  irq = false
  edges = 0
  clock = new CountedClock(() => time)
  rtc = new Rtc({
    clock,
    epoch: Date.UTC(2024, 1, 28, 23, 59, 58, 250),
    setIrq: (level) => {
      if (level && !irq) edges++
      irq = level
    },
  })
})

test('keeps the host time in BCD, 24 hours, over leap days', () => {
  expect(now()).toBe('20 24 2 28 4 23 59 58')
  advance(750e6 - 1)
  expect(read(0)).toBe(0x58)
  advance(1)
  expect(read(0)).toBe(0x59)
  advance(1e9)
  expect(now()).toBe('20 24 2 29 5 0 0 0')
  advance(86400e9)
  expect(now()).toBe('20 24 3 1 6 0 0 0')
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('UIP is up for the last 2.2 ms of a second', () => {
  expect(read(10)).toBe(0x26)
  advance(750e6 - 2_300_000)
  expect(read(10)).toBe(0x26)
  advance(100_000)
  expect(read(10)).toBe(0xa6)
  advance(2_200_000)
  expect(read(10)).toBe(0x26)
  expect(read(13)).toBe(0x80)
})

test('SET holds the registers, which then go on from what was written', () => {
  write(11, 0x82)
  advance(5e9)
  expect(read(0)).toBe(0x58)
  write(0, 0x30)
  write(9, 0x99)
  write(0x32, 0x19)
  write(8, 0x12)
  write(7, 0x31)
  write(11, 0x02)
  advance(30e9)
  expect(now()).toBe('20 0 1 1 5 0 0 0')
})

test('binary and 12 hours', () => {
  write(11, 0x84)
  for (const [register, value] of [
    [0, 59],
    [2, 59],
    [4, 0x80 | 11],
    [7, 9],
    [8, 10],
    [9, 24],
    [0x32, 20],
  ])
    write(register, value)
  write(11, 0x04)
  expect(read(4)).toBe(0x8b)
  advance(1e9)
  expect([4, 2, 0, 7].map(read)).toEqual([12, 0, 0, 10])
  advance(12 * 3600e9)
  expect(read(4)).toBe(0x8c)
})

test('the divider in reset stops time; the first update comes half a second after', () => {
  write(10, 0x66)
  advance(10e9)
  write(10, 0x26)
  expect(read(0)).toBe(0x58)
  advance(499e6)
  expect(read(0)).toBe(0x58)
  advance(2e6)
  expect(read(0)).toBe(0x59)
})

test('update interrupt: once a second until register C is read', () => {
  read(12)
  write(11, 0x12)
  advance(750e6)
  expect(irq).toBe(true)
  advance(5e9)
  expect(edges).toBe(1)
  expect(read(12)).toBe(0xf0)
  expect(irq).toBe(false)
  advance(1e9)
  expect(edges).toBe(2)
})

test('alarm at a time of day, and with bytes that match anything', () => {
  write(1, 0x05)
  write(3, 0x00)
  write(5, 0x00)
  write(11, 0x22)
  advance(6e9)
  expect(irq).toBe(false)
  advance(1e9)
  expect(irq).toBe(true)
  expect(read(12)).toBe(0xf0)
  write(3, 0xff)
  write(5, 0xc0)
  advance(60e9)
  expect(read(12) & 0x20).toBe(0x20)
})

test('flags without interrupts are found later, over long sleeps too', () => {
  write(1, 0x05)
  write(3, 0x00)
  write(5, 0x12)
  read(12)
  advance(6 * 3600e9)
  expect(read(12) & 0x30).toBe(0x10)
  advance(20 * 3600e9)
  expect(read(12) & 0x30).toBe(0x30)
})

test('periodic interrupt at 1024 Hz, none at rate 0', () => {
  write(11, 0x42)
  const end = time + 1e9
  let count = 0
  while (time < end) {
    time = clock.nextDeadline()
    clock.runDue()
    expect(read(12) & 0xc0).toBe(0xc0)
    count++
  }
  expect(count).toBe(1024)
  write(10, 0x20)
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('CMOS RAM keeps bytes, the shutdown byte among them; the index masks bit 7', () => {
  write(0x8f, 0x0a)
  expect(read(0x0f)).toBe(0x0a)
  expect(rtc.read(0x70)).toBe(0xff)
  write(13, 0)
  expect(read(13)).toBe(0x80)
})

import { beforeEach, describe, expect, test } from 'vitest'
import { CountedClock } from '../../machine/clock.ts'
import { PitChannel } from './channel.ts'
import { Pit } from './pit.ts'

/** OUT over ticks 0..n-1 as a string of 1 and 0. */
function wave(channel: PitChannel, ticks: number, from = 0): string {
  let text = ''
  for (let tick = from; tick < from + ticks; tick++) text += channel.out(tick) ? '1' : '0'
  return text
}

function program(mode: number, initial: number, bcd = 0): PitChannel {
  const channel = new PitChannel()
  channel.control(0x30 | (mode << 1) | bcd, 0)
  channel.write(initial & 0xff, 0)
  channel.write(initial >> 8, 0)
  return channel
}

function count(channel: PitChannel, tick: number): number {
  return channel.read(tick) | (channel.read(tick) << 8)
}

/** The next rise must be where OUT rises, seen from every tick. */
function checkRises(channel: () => PitChannel, ticks: number) {
  const text = wave(channel(), ticks)
  for (let tick = 0; tick < ticks; tick++) {
    const seen = text.indexOf('01', tick) + 1
    const rise = channel().nextRise(tick)
    expect([tick, rise < ticks ? rise : 0]).toEqual([tick, seen])
  }
}

describe('modes, as the data sheet draws them', () => {
  test('0: OUT rises N + 1 ticks after the count is written, and counting goes on', () => {
    expect(wave(program(0, 4), 8)).toBe('00000111')
    expect([1, 2, 5, 6].map((tick) => count(program(0, 4), tick))).toEqual([4, 3, 0, 0xffff])
  })

  test('0: the first byte of a new count makes OUT low; the gate suspends', () => {
    const channel = program(0, 2)
    expect(channel.out(5)).toBe(true)
    channel.write(3, 6)
    expect(channel.out(20)).toBe(false)
    channel.write(0, 20)
    channel.setGate(false, 22)
    expect(count(channel, 100)).toBe(2)
    channel.setGate(true, 100)
    expect(wave(channel, 4, 100)).toBe('0011')
  })

  test('1: a rising gate makes OUT low for N ticks, again if it comes again', () => {
    const channel = program(1, 3)
    expect(wave(channel, 5)).toBe('11111')
    channel.setGate(false, 5)
    channel.setGate(true, 10)
    expect(wave(channel, 6, 10)).toBe('100011')
    channel.setGate(false, 20)
    channel.setGate(true, 21)
    expect(wave(channel, 2, 21)).toBe('10')
    channel.setGate(false, 23)
    channel.setGate(true, 23)
    expect(wave(channel, 6, 23)).toBe('000011')
  })

  test('2: OUT is low for the last tick of N', () => {
    expect(wave(program(2, 3), 10)).toBe('1110110110')
    expect([1, 2, 3, 4].map((tick) => count(program(2, 3), tick))).toEqual([3, 2, 1, 3])
  })

  test('2: a new count waits for the end of the period; the gate makes OUT high and reloads', () => {
    const channel = program(2, 3)
    channel.write(5, 2)
    channel.write(0, 2)
    expect(wave(channel, 12, 2)).toBe('101111011110')
    channel.setGate(false, 20)
    expect(wave(channel, 9, 20)).toBe('111111111')
    channel.setGate(true, 30)
    expect(wave(channel, 7, 30)).toBe('1111101')
  })

  test('3: a square wave, for odd counts one tick longer high, counting by two', () => {
    expect(wave(program(3, 4), 10)).toBe('1110011001')
    expect(wave(program(3, 5), 12)).toBe('111100111001')
    expect([1, 2, 3, 4, 5].map((tick) => count(program(3, 4), tick))).toEqual([4, 2, 4, 2, 4])
    expect([1, 2, 3, 4, 5, 6].map((tick) => count(program(3, 5), tick))).toEqual([4, 2, 0, 4, 2, 4])
  })

  test('3: a new count waits for the end of the half period', () => {
    const channel = program(3, 4)
    channel.write(8, 1)
    channel.write(0, 1)
    expect(wave(channel, 14, 1)).toBe('11000011110000')
  })

  test('4: a strobe of one tick, once', () => {
    const channel = program(4, 3)
    expect(wave(channel, 8)).toBe('11110111')
    expect(channel.out(4 + 0x10000)).toBe(true)
    channel.write(2, 10)
    channel.write(0, 10)
    expect(wave(channel, 6, 10)).toBe('111011')
  })

  test('5: the strobe after a rising gate', () => {
    const channel = program(5, 2)
    expect(wave(channel, 6)).toBe('111111')
    channel.setGate(false, 6)
    channel.setGate(true, 7)
    expect(wave(channel, 6, 7)).toBe('111011')
  })

  test('the next rise agrees with OUT', () => {
    for (const mode of [0, 2, 3, 4]) for (const n of [2, 3, 4, 7]) checkRises(() => program(mode, n), 40)
    for (const [mode, n, then, at] of [
      [3, 4, 9, 2],
      [3, 9, 4, 2],
      [3, 9, 4, 7],
      [2, 5, 3, 2],
    ]) {
      const channel = program(mode, n)
      channel.write(then, at)
      channel.write(0, at)
      const rise = channel.nextRise(at)
      const text = wave(channel, 40, at)
      expect([mode, n, rise]).toEqual([mode, n, at + text.indexOf('01') + 1])
    }
  })
})

describe('reading', () => {
  test('a count of 0 is the largest', () => {
    expect(count(program(2, 0), 1)).toBe(0)
    expect(count(program(2, 0), 2)).toBe(0xffff)
    expect(count(program(2, 0, 1), 2)).toBe(0x9999)
  })

  test('BCD', () => {
    expect(count(program(0, 0x1234, 1), 36)).toBe(0x1199)
    expect(count(program(0, 1, 1), 3)).toBe(0x9999)
  })

  test('a latched count stays until read, the first latch wins', () => {
    const channel = program(2, 0x1000)
    channel.control(0, 11)
    channel.control(0, 500)
    expect(count(channel, 1000)).toBe(0xff6)
    expect(count(channel, 1000)).toBe(0x1000 - 999)
  })

  test('one byte access', () => {
    const channel = new PitChannel()
    channel.control(0x24, 0)
    channel.write(0x12, 0)
    expect([channel.read(1), channel.read(2), channel.read(3)]).toEqual([0x12, 0x11, 0x11])
    channel.control(0x14, 10)
    channel.write(5, 10)
    expect([channel.read(11), channel.read(12)]).toEqual([5, 4])
  })

  test('status: OUT, null count, access, mode, BCD; it comes before the count', () => {
    const channel = new PitChannel()
    channel.control(0x3e, 0)
    channel.latchStatus(0)
    expect(channel.read(0)).toBe(0xf6)
    channel.write(10, 0)
    channel.write(0, 0)
    channel.latchStatus(0)
    expect(channel.read(0)).toBe(0xf6)
    channel.latchStatus(1)
    channel.latchCount(1)
    expect([channel.read(5), channel.read(5), channel.read(5)]).toEqual([0xb6, 10, 0])
  })
})

describe('in the PC', () => {
  let time: number
  let clock: CountedClock
  let edges: number[]
  let pit: Pit

  function advance(ns: number) {
    const end = time + ns
    while (clock.nextDeadline() <= end) {
      time = Math.max(time, clock.nextDeadline())
      clock.runDue()
    }
    time = end
  }

  beforeEach(() => {
    time = 0
    clock = new CountedClock(() => time)
    edges = []
    pit = new Pit(
      clock,
      (level) => level && edges.push(time),
      () => false,
    )
  })

  test('IRQ 0 ticks at the rate of Linux with HZ=250', () => {
    pit.observed = true
    pit.write(0x43, 1, 0x34)
    pit.write(0x40, 1, 4773 & 0xff)
    pit.write(0x40, 1, 4773 >> 8)
    edges.length = 0
    advance(1e9)
    expect(edges.length).toBe(249)
    expect(edges[100] - edges[99]).toBeCloseTo((4773 * 88000) / 105, -1)
  })

  test('unobserved it arms nothing and shows one missed edge when asked', () => {
    pit.write(0x43, 1, 0x34)
    pit.write(0x40, 1, 0)
    pit.write(0x40, 1, 0x10)
    edges.length = 0
    expect(clock.nextDeadline()).toBe(Infinity)
    advance(1e9)
    pit.sync()
    pit.sync()
    expect(edges.length).toBe(1)
    pit.observed = true
    expect(clock.nextDeadline()).toBeLessThan(time + 4e6)
  })

  test('mode 0 on counter 2 through its gate times a delay', () => {
    pit.setGate2(true)
    pit.write(0x43, 1, 0xb0)
    pit.write(0x42, 1, 0x9c)
    pit.write(0x42, 1, 0x2e)
    expect(pit.out2()).toBe(false)
    advance(9_990_000)
    expect(pit.out2()).toBe(false)
    advance(20_000)
    expect(pit.out2()).toBe(true)
  })

  test('the read-back command latches several counters', () => {
    pit.write(0x43, 1, 0x34)
    pit.write(0x43, 1, 0x70)
    pit.write(0x43, 1, 0xe6)
    expect([pit.read(0x40), pit.read(0x41)]).toEqual([0xf4, 0x70])
    expect(pit.read(0x43)).toBe(0xff)
  })

  test('refresh toggles every 15 microseconds', () => {
    const first = pit.refresh()
    advance(15_100)
    expect(pit.refresh()).toBe(!first)
  })
})

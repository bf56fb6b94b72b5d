import { beforeEach, expect, test } from 'vitest'
import { PicPair } from './pic.ts'

let pic: PicPair
let intr: boolean

const read = (port: number) => pic.read(port)
const write = (port: number, value: number) => pic.write(port, 1, value)

function initialise(icw4 = 1, icw1 = 0x11) {
  for (const [base, vector, icw3] of [
    [0x20, 0x30, 4],
    [0xa0, 0x38, 2],
  ]) {
    write(base, icw1)
    write(base + 1, vector)
    write(base + 1, icw3)
    write(base + 1, icw4)
  }
}

function pulse(irq: number) {
  pic.setIrq(irq, false)
  pic.setIrq(irq, true)
}

beforeEach(() => {
  intr = false
  pic = new PicPair({ setIntr: (level) => (intr = level), beforeAccess: () => {}, afterWrite: () => {} })
  initialise()
})

test('the mask register reads back, initialised or not', () => {
  const fresh = new PicPair({ setIntr: () => {}, beforeAccess: () => {}, afterWrite: () => {} })
  fresh.write(0xa1, 1, 0xff)
  fresh.write(0x21, 1, 0xfb)
  expect([fresh.read(0x21), fresh.read(0xa1)]).toEqual([0xfb, 0xff])
  expect(read(0x21)).toBe(0)
})

test('a request is latched by its edge, acknowledged with its vector, served until EOI', () => {
  pic.setIrq(4, true)
  expect(intr).toBe(true)
  expect(read(0x20)).toBe(0x10)
  expect(pic.acknowledge()).toBe(0x34)
  expect(intr).toBe(false)
  write(0x20, 0x0b)
  expect(read(0x20)).toBe(0x10)
  write(0x20, 0x20)
  expect(read(0x20)).toBe(0)
  expect(intr).toBe(false)
  pulse(4)
  expect(intr).toBe(true)
})

test('lower IR numbers have priority and nest', () => {
  pulse(5)
  pulse(3)
  expect(pic.acknowledge()).toBe(0x33)
  expect(intr).toBe(false)
  pulse(1)
  expect(pic.acknowledge()).toBe(0x31)
  write(0x20, 0x20)
  expect(intr).toBe(false)
  write(0x20, 0x20)
  expect(pic.acknowledge()).toBe(0x35)
})

test('a masked request waits', () => {
  write(0x21, 0x01)
  pulse(0)
  expect(intr).toBe(false)
  write(0x21, 0)
  expect(intr).toBe(true)
})

test('the slave comes through IR2; both need an EOI', () => {
  pulse(8)
  pulse(12)
  expect(pic.acknowledge()).toBe(0x38)
  write(0xa0, 0x20)
  expect(intr).toBe(false)
  write(0x20, 0x20)
  expect(pic.acknowledge()).toBe(0x3c)
})

test('a request that goes away before INTA takes INT with it; INTA without request is IR7', () => {
  pic.setIrq(6, true)
  pic.setIrq(6, false)
  expect(intr).toBe(false)
  expect(pic.acknowledge()).toBe(0x37)
  write(0x20, 0x0b)
  expect(read(0x20)).toBe(0)
})

test('ELCR makes a line level-triggered, but not the timer, keyboard, cascade, RTC and FPU', () => {
  write(0x4d0, 0xff)
  write(0x4d1, 0xff)
  expect([read(0x4d0), read(0x4d1)]).toEqual([0xf8, 0xde])
  pic.setIrq(9, true)
  expect(pic.acknowledge()).toBe(0x39)
  write(0xa0, 0x20)
  write(0x20, 0x20)
  expect(intr).toBe(true)
  pic.setIrq(9, false)
  expect(intr).toBe(false)
})

test('automatic EOI, with and without rotation', () => {
  initialise(3)
  pulse(3)
  pulse(5)
  expect(pic.acknowledge()).toBe(0x33)
  expect(pic.acknowledge()).toBe(0x35)
  write(0x20, 0x80)
  pulse(3)
  expect(pic.acknowledge()).toBe(0x33)
  pulse(3)
  pulse(4)
  expect(pic.acknowledge()).toBe(0x34)
})

test('rotation and set priority', () => {
  write(0x20, 0xc4)
  pulse(4)
  pulse(5)
  expect(pic.acknowledge()).toBe(0x35)
  write(0x20, 0xa0)
  pulse(5)
  expect(pic.acknowledge()).toBe(0x34)
  write(0x20, 0xe4)
  pulse(4)
  expect(pic.acknowledge()).toBe(0x35)
})

test('specific EOI', () => {
  pulse(5)
  pic.acknowledge()
  pulse(3)
  pic.acknowledge()
  write(0x20, 0x65)
  write(0x20, 0x0b)
  expect(read(0x20)).toBe(0x08)
})

test('special mask mode lets lower levels through', () => {
  pulse(3)
  pic.acknowledge()
  pulse(6)
  write(0x21, 0x08)
  expect(intr).toBe(false)
  write(0x20, 0x68)
  expect(pic.acknowledge()).toBe(0x36)
  write(0x20, 0x20)
  write(0x20, 0x48)
  write(0x20, 0x0b)
  expect(read(0x20)).toBe(0x08)
})

test('special fully nested mode lets a second request of the slave through', () => {
  initialise(0x11)
  pulse(12)
  expect(pic.acknowledge()).toBe(0x3c)
  pulse(9)
  expect(pic.acknowledge()).toBe(0x39)
})

test('poll acknowledges and names the request', () => {
  write(0x20, 0x0c)
  expect(read(0x20)).toBe(0)
  pulse(5)
  write(0x20, 0x0c)
  expect(read(0x20)).toBe(0x85)
  expect(intr).toBe(false)
  write(0x20, 0x0b)
  expect(read(0x20)).toBe(0x20)
})

test('ICW1 with LTIM makes all lines level-triggered; without ICW4 or ICW3 fewer words are expected', () => {
  initialise(1, 0x19)
  pic.setIrq(5, true)
  pic.acknowledge()
  write(0x20, 0x20)
  expect(intr).toBe(true)
  pic.setIrq(5, false)
  write(0x20, 0x12)
  write(0x21, 0x50)
  write(0x21, 0x0f)
  expect(read(0x21)).toBe(0x0f)
  pulse(6)
  expect(pic.acknowledge()).toBe(0x56)
})

test('initialisation forgets latched edges and holds INT', () => {
  pic.setIrq(4, true)
  write(0x20, 0x11)
  expect(intr).toBe(false)
  expect(read(0x20)).toBe(0)
})

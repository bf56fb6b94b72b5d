import { beforeEach, expect, test } from 'vitest'
import { I8042 } from './i8042.ts'

let controller: I8042
let keyboard: boolean
let aux: boolean
let resets: number

const status = () => controller.read(0x64)
const data = () => controller.read(0x60)
const command = (value: number, parameter?: number) => {
  controller.write(0x64, 1, value)
  if (parameter !== undefined) controller.write(0x60, 1, parameter)
}

beforeEach(() => {
  keyboard = false
  aux = false
  resets = 0
  controller = new I8042({
    setKeyboardIrq: (level) => (keyboard = level),
    setAuxIrq: (level) => (aux = level),
    onReset: () => resets++,
  })
})

test('self-test and interface tests pass', () => {
  expect(status() & 0x13).toBe(0x10)
  for (const [self, result] of [
    [0xaa, 0x55],
    [0xab, 0],
    [0xa9, 0],
    [0xa4, 0xf1],
  ]) {
    command(self)
    expect(status() & 0x29).toBe(0x09)
    expect(data()).toBe(result)
    expect(status() & 1).toBe(0)
  }
})

test('the command byte can be written and read, and shows the port switches', () => {
  command(0x60, 0x47)
  command(0x20)
  expect(data()).toBe(0x47)
  command(0xa7)
  command(0xad)
  command(0x20)
  expect(data()).toBe(0x77)
  command(0xa8)
  command(0xae)
  command(0x20)
  expect(data()).toBe(0x47)
  command(0x65, 0x99)
  command(0x25)
  expect(data()).toBe(0x99)
})

test('the auxiliary loop test answers as the auxiliary port, by IRQ 12', () => {
  command(0x60, 0x47)
  command(0xd3, 0xa5)
  expect(status() & 0x21).toBe(0x21)
  expect([keyboard, aux]).toEqual([false, true])
  expect(data()).toBe(0xa5)
  expect(aux).toBe(false)
})

test('what is sent to an empty port times out', () => {
  controller.write(0x60, 1, 0xff)
  expect(status() & 0x61).toBe(0x41)
  expect(keyboard).toBe(true)
  expect(data()).toBe(0xfe)
  expect(keyboard).toBe(false)
  command(0xd4, 0xff)
  expect(status() & 0x61).toBe(0x61)
  expect(data()).toBe(0xfe)
})

test('resets by pulse and by the output port; A20 reads back', () => {
  command(0xff)
  expect(resets).toBe(0)
  command(0xfe)
  expect(resets).toBe(1)
  command(0xd1, 0x01)
  command(0xd0)
  expect(data()).toBe(0x01)
  command(0xd1, 0x02)
  expect(resets).toBe(2)
})

test('a guest that never reads piles up no more than the queue holds', () => {
  for (let i = 0; i < 1000; i++) command(0xaa)
  let count = 0
  while (status() & 1) {
    data()
    count++
  }
  expect(count).toBe(16)
})

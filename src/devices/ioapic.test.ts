import { beforeEach, expect, test } from 'vitest'
import { IoApic } from './ioapic.ts'

let sent: string[]
let io: IoApic

function read(register: number) {
  io.write(0, 4, register)
  return io.read(0x10, 4)
}

function write(register: number, value: number) {
  io.write(0, 4, register)
  io.write(0x10, 4, value)
}

beforeEach(() => {
  sent = []
  io = new IoApic({
    send: (mode, vector, level, logical, destination) =>
      sent.push(`${mode} ${vector} ${level ? 'level' : 'edge'} ${logical ? 'logical' : 'physical'} ${destination}`),
    beforeWrite: () => {},
    afterWrite: () => {},
  })
})

test('identification and power-up values', () => {
  expect(read(1)).toBe(0x00170020)
  expect(read(0x10)).toBe(0x10000)
  expect(read(0x11)).toBe(0)
  expect(read(0x40)).toBe(0)
  write(0, 0xff000000)
  expect(read(0)).toBe(0x0f000000)
  expect(read(2)).toBe(0x0f000000)
})

test('destinations of 15 bits, where there are such', () => {
  write(0x13, 0xffffffff)
  expect(read(0x13)).toBe(0xff000000)
  const send = (_mode: number, _vector: number, _level: boolean, _logical: boolean, destination: number) =>
    sent.push(String(destination))
  io = new IoApic({ send, extendedIds: true, beforeWrite: () => {}, afterWrite: () => {} })
  write(0x13, 0xffffffff)
  expect(read(0x13)).toBe(0xfffe0000)
  write(0x13, 0x03020000)
  write(0x12, 0x30)
  io.setPin(1, true)
  expect(sent).toEqual([String(0x103)])
})

test('an edge is sent once, when it rises, and lost on a masked pin', () => {
  io.setPin(2, true)
  write(0x14, 0x0930)
  write(0x15, 0x03000000)
  expect(sent).toEqual([])
  io.setPin(2, true)
  expect(sent).toEqual([])
  io.setPin(2, false)
  io.setPin(2, true)
  expect(sent).toEqual(['1 48 edge logical 3'])
  expect(read(0x14)).toBe(0x0930)
})

test('a level pin waits for EOI and is sent again while asserted', () => {
  write(0x22, 0xa039)
  io.setPin(9, true)
  expect(sent).toEqual(['0 57 level physical 0'])
  expect(read(0x22)).toBe(0xe039)
  io.setPin(9, false)
  io.setPin(9, true)
  expect(sent.length).toBe(1)
  io.endOfInterrupt(0x38)
  expect(sent.length).toBe(1)
  io.endOfInterrupt(0x39)
  expect(sent.length).toBe(2)
  io.setPin(9, false)
  io.write(0x40, 4, 0x39)
  expect(read(0x22)).toBe(0xa039)
  expect(sent.length).toBe(2)
})

test('unmasking a level pin that is asserted sends it; masked it waits', () => {
  write(0x22, 0x18039)
  io.setPin(9, true)
  expect(sent).toEqual([])
  write(0x22, 0x8039)
  expect(sent.length).toBe(1)
})

test('remote IRR and delivery status are read-only; edge mode clears remote IRR', () => {
  write(0x22, 0xd039)
  expect(read(0x22)).toBe(0x8039)
  io.setPin(9, true)
  write(0x22, 0x18039)
  expect(read(0x22)).toBe(0x1c039)
  write(0x22, 0x10039)
  write(0x22, 0x18039)
  expect(read(0x22)).toBe(0x18039)
})

test('there can be more pins', () => {
  io = new IoApic({ send: () => sent.push('sent'), pins: 48, beforeWrite: () => {}, afterWrite: () => {} })
  expect(read(1)).toBe(0x002f0020)
  write(0x10 + 2 * 47, 0x8031)
  io.setPin(47, true)
  expect(sent).toEqual(['sent'])
  expect(read(0x10 + 2 * 48)).toBe(0)
})

import { expect, test } from 'vitest'
import { Mmio, Ports } from './bus.ts'

function recorder() {
  const log: [number, number, number?][] = []
  const device = {
    read: (port: number, size: number) => (log.push([port, size]), port & 0xff),
    write: (port: number, size: number, value: number) => void log.push([port, size, value]),
  }
  return { log, device }
}

test('an absent port reads as ones and drops writes', () => {
  const ports = new Ports()
  expect(ports.read(0x1234, 1)).toBe(0xff)
  expect(ports.read(0x1234, 2)).toBe(0xffff)
  expect(ports.read(0xfffe, 4)).toBe(0xffffffff)
  ports.write(0x1234, 4, 5)
})

test('wide accesses to byte ports arrive in bytes, low address first', () => {
  const ports = new Ports()
  const { log, device } = recorder()
  ports.register(0x60, 0x62, device)
  expect(ports.read(0x60, 4)).toBe(0xff626160)
  ports.write(0x61, 2, -2)
  expect(log).toEqual([
    [0x60, 1],
    [0x61, 1],
    [0x62, 1],
    [0x61, 1, 0xfe],
    [0x62, 1, 0xff],
  ])
})

test('a device gets accesses of its width, split where it ends', () => {
  const ports = new Ports()
  const { log, device } = recorder()
  ports.register(0xcf8, 0xcff, device, 4)
  ports.write(0xcf8, 4, -1)
  ports.write(0xcfe, 4, 0x11223344)
  ports.write(0xcfc, 2, 0x12345)
  expect(log).toEqual([
    [0xcf8, 4, 0xffffffff],
    [0xcfe, 2, 0x3344],
    [0xcfc, 2, 0x2345],
  ])
})

test('MMIO regions answer by offset with the asking processor', () => {
  const mmio = new Mmio()
  const seen: number[][] = []
  mmio.register(0xfec00000, 0x1000, { read: (...a) => (seen.push(a), 7), write: (...a) => void seen.push(a) })
  mmio.register(2 ** 40, 16, { read: () => 9, write: () => {} })
  expect(mmio.read(0xfec00010, 4, 2)).toBe(7)
  mmio.write(0xfec00ffc, 4, -1, 1)
  expect(mmio.read(2 ** 40 + 15, 1, 0)).toBe(9)
  expect(mmio.read(2 ** 40 + 16, 2, 0)).toBe(0xffff)
  expect(mmio.read(0xfec01000, 4, 0)).toBe(0xffffffff)
  expect(seen).toEqual([
    [0x10, 4, 2],
    [0xffc, 4, 0xffffffff, 1],
  ])
  expect(() => mmio.register(0xfec00800, 0x1000, { read: () => 0, write: () => {} })).toThrow('overlap')
  mmio.unregister(0xfec00000)
  expect(mmio.read(0xfec00010, 4, 2)).toBe(0xffffffff)
})

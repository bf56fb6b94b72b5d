import { beforeEach, expect, test } from 'vitest'
import { Ports } from '../../machine/bus.ts'
import { PciFunction } from './function.ts'
import { PciHost } from './host.ts'

let ports: Ports
let resets: number[]

beforeEach(() => {
  ports = new Ports()
  resets = []
  const reset = { read: () => 2, write: (_port: number, _size: number, value: number) => void resets.push(value) }
  ports.register(0xcf8, 0xcff, new PciHost(reset), 4)
})

function config(devfn: number, register: number, size: number): number {
  ports.write(0xcf8, 4, 0x80000000 | (devfn << 8) | register)
  return ports.read(0xcfc + (register & 3), size)
}

test("Linux's check of mechanism 1 passes", () => {
  ports.write(0xcfb, 1, 1)
  const before = ports.read(0xcf8, 4)
  ports.write(0xcf8, 4, 0x80000000)
  expect(ports.read(0xcf8, 4)).toBe(0x80000000)
  expect(config(0, 0x0a, 2)).toBe(0x0600)
  ports.write(0xcf8, 4, before)
  expect(ports.read(0xcf8, 4)).toBe(0)
})

test('there is a host bridge and nothing else', () => {
  expect(config(0, 0, 4)).toBe(0x0d578086)
  expect(config(0, 2, 2)).toBe(0x0d57)
  expect(config(0, 0x0e, 1)).toBe(0)
  expect(config(0, 0x10, 4)).toBe(0)
  expect(config(1, 0, 4)).toBe(0xffffffff)
  expect(config(8, 0, 2)).toBe(0xffff)
  expect(config(0x100, 0, 4)).toBe(0xffffffff)
})

test('without the enable bit there is no configuration access; reserved bits read 0', () => {
  ports.write(0xcf8, 4, 0x7f000003)
  expect(ports.read(0xcf8, 4)).toBe(0)
  expect(ports.read(0xcfc, 4)).toBe(0xffffffff)
})

test('a byte access to 0xcf9 is the reset control, a dword over it is not', () => {
  ports.write(0xcf8, 4, 0x80000600)
  ports.write(0xcf9, 1, 6)
  expect(resets).toEqual([6])
  expect(ports.read(0xcf9, 1)).toBe(2)
})

test('read-only bits stay', () => {
  const pci = new PciFunction(1, 2, 0x020000, 3)
  pci.define(4, 2, 0x0010, 0x0507)
  pci.write(4, 4, 0xffffffff)
  expect(pci.read(4, 4)).toBe(0x0517)
  pci.write(0, 4, 0)
  expect(pci.read(0, 4)).toBe(0x00020001)
})

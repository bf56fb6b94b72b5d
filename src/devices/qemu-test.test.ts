/** The devices of QEMU's that test kernels use. */
import { beforeEach, expect, test } from 'vitest'
import { Mmio, Ports } from '../machine/bus.ts'
import { addQemuTestDevices } from './qemu-test.ts'

let ports: Ports
let mmio: Mmio
let log: string[]
beforeEach(() => {
  ports = new Ports()
  mmio = new Mmio()
  log = []
  addQemuTestDevices({
    ports,
    mmio,
    cpus: 3,
    memory: 0x2000_0000,
    setIsaIrq: (irq, level) => log.push(`irq ${irq} ${level}`),
    onExit: (code) => log.push(`exit ${code}`),
  })
})

test('the exit code is twice the value and one, in a byte', () => {
  ports.write(0xf4, 4, 0)
  ports.write(0xf4, 1, 5)
  ports.write(0xf4, 4, 0x80)
  expect(log).toEqual(['exit 1', 'exit 11', 'exit 1'])
})

test('one word behind two devices', () => {
  ports.write(0xe0, 4, 0x44332211)
  expect(ports.read(0xe0, 4)).toBe(0x44332211)
  ports.write(0xe9, 1, 0xab)
  expect(ports.read(0xe0, 4)).toBe(0x4433ab11)
  ports.write(0xe8, 4, 0x04030201)
  expect([ports.read(0xe8, 4), ports.read(0xea, 2), ports.read(0xeb, 1)]).toEqual([0x04030201, 0x0403, 4])
})

test('interrupt lines', () => {
  ports.write(0x200b, 1, 1)
  ports.write(0x200b, 1, 0)
  expect(log).toEqual(['irq 11 true', 'irq 11 false'])
})

test('memory', () => {
  mmio.write(0xff000ffe, 4, 0x12345678, 0)
  expect([mmio.read(0xff000ffe, 4, 0), mmio.read(0xff000fff, 2, 0), mmio.read(0xff001001, 1, 0)]).toEqual([
    0x12345678, 0x3456, 0x12,
  ])
  mmio.write(0xff00fffe, 2, 0xbeef, 0)
  expect(mmio.read(0xff00fffe, 2, 0)).toBe(0xbeef)
})

test('fw_cfg: items byte by byte, zeros past their end and for what is not there', () => {
  const item = (key: number, bytes: number) => {
    ports.write(0x510, 2, key)
    return Array.from({ length: bytes }, () => ports.read(0x511, 1))
  }
  expect(String.fromCharCode(...item(0, 4))).toBe('QEMU')
  expect(item(5, 3)).toEqual([3, 0, 0])
  expect(item(3, 8)).toEqual([0, 0, 0, 0x20, 0, 0, 0, 0])
  expect(item(0x19, 4)).toEqual([0, 0, 0, 0])
})

import { expect, test } from 'vitest'
import { load, save } from '../../../snapshot/stateful.ts'
import { PvPorts } from './ports.ts'

test('the indices of RTC and PCI are kept, all else is ones', () => {
  const ports = new PvPorts()
  expect([0x42, 0x61, 0x71, 0xcfc, 0x3f8].map((port) => ports.read(port, 1))).toEqual([255, 255, 255, 255, 255])
  expect([ports.read(0x70, 1), ports.read(0xcf8, 4), ports.read(0xcf8, 2)]).toEqual([0, 0, 0xffff])
  ports.write(0x70, 1, 0x8a)
  ports.write(0xcf8, 4, 0x80001008)
  ports.write(0xcf8, 1, 7)
  ports.write(0x71, 1, 5)
  expect([ports.read(0x70, 1), ports.read(0x70, 2), ports.read(0x6f, 4)]).toEqual([0x8a, 0xff8a, 0xffff8aff])
  expect(ports.read(0xcf8, 4)).toBe(0x80001008)
  ports.write(0x6f, 2, 0x1234)
  expect(ports.read(0x70, 1)).toBe(0x12)
  const other = new PvPorts()
  load(other, save(ports))
  expect([other.read(0x70, 1), other.read(0xcf8, 4)]).toEqual([0x12, 0x80001008])
})

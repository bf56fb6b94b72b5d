import { expect, test } from 'vitest'
import { openDevices } from './open.ts'

const options = { platform: 'xen-pvh', says: { disks: 'disks', networks: 'networks' } } as const

test('bytes are a disk that its owner can look at', () => {
  const bytes = new Uint8Array(1000)
  using devices = openDevices({ disks: [bytes], networks: [] }, options)
  expect(devices?.disks.map(({ size }) => size)).toEqual([512])
  devices?.disks[0]?.write(0, Uint8Array.of(1, 2, 3))
  expect([...bytes.subarray(0, 4)]).toEqual([1, 2, 3, 0])
})

test.each([
  [{ disks: [new Uint8Array(511)], networks: [] }, 'disks of 511 bytes: too small for a disk'],
  [{ disks: Array.from({ length: 27 }, () => new Uint8Array(512)), networks: [] }, 'disks: at most 26 disks'],
  [{ disks: [], networks: Array.from({ length: 9 }, () => 'user' as const) }, 'networks: at most 8 network cards'],
])('refused', (choices, why) => {
  expect(() => openDevices(choices, options)).toThrow(why)
})

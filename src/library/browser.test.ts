/** Disks and networks in browsers, whose side of the library needs nothing of Node. */
import { describe, expect, test } from 'vitest'
import { openLibraryDevices } from './browser.ts'

const open = (disks: Parameters<typeof openLibraryDevices>[1]['disks'], networks: 'user'[] = []) =>
  openLibraryDevices('Machine.boot', { disks, networks }, 'xen-pvh')

/** What a server answers: two sectors that begin with 1, 2, 3, 4, and a rest. */
const URL = `data:;base64,${Buffer.from(Uint8Array.of(1, 2, 3, 4, ...new Uint8Array(1100))).toString('base64')}`
const bytesOf = (disk: { read(offset: number, into: Uint8Array): void } | undefined) => {
  const bytes = new Uint8Array(4)
  disk?.read(0, bytes)
  return [...bytes]
}

test('nothing is opened where nothing is named', async () => {
  expect(await open([])).toBeUndefined()
})

describe('disks', () => {
  test('bytes are changed by the guest', async () => {
    const bytes = new Uint8Array(512)
    using devices = await open([bytes])
    devices?.disks[0]?.write(2, Uint8Array.of(7))
    expect([...bytes.subarray(0, 4)]).toEqual([0, 0, 7, 0])
  })

  test('what a URL gives is read, and changes are forgotten with the machine', async () => {
    using devices = await open([
      { path: URL, mode: 'readonly' },
      { path: URL, mode: 'cow' },
    ])
    const [readonly, cow] = devices?.disks ?? []
    expect([readonly?.size, readonly?.readOnly, cow?.size, cow?.readOnly]).toEqual([1024, true, 1024, false])
    cow?.write(1, Uint8Array.of(9))
    expect([bytesOf(readonly), bytesOf(cow)]).toEqual([
      [1, 2, 3, 4],
      [1, 9, 3, 4],
    ])
  })
})

test('cards are on one network', async () => {
  using devices = await open([], ['user', 'user'])
  expect(devices?.networks).toHaveLength(2)
})

test.each([
  [[{ path: '/disk.img' }], "Machine.boot: disks /disk.img: cannot be written in a browser; let it be 'cow'"],
  [[new Uint8Array(100)], 'Machine.boot: disks of 100 bytes: too small for a disk'],
])('a disk is refused: %#', async (disks, why) => {
  await expect(open(disks)).rejects.toThrow(why)
})

test('a platform without such devices is refused', async () => {
  await expect(openLibraryDevices('Machine.boot', { disks: [], networks: ['user'] }, 'kvm')).rejects.toThrow(
    'Machine.boot: networks: kvm has no such devices yet',
  )
})

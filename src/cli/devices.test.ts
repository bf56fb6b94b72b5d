import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openDevices, parseDisk } from './devices.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))
const image = join(folder, 'a.img')
writeFileSync(image, new Uint8Array(4096))
symlinkSync(image, join(folder, 'link.img'))

test.each([
  ['a.img', { path: 'a.img', mode: undefined }],
  ['/d/a.img,readonly', { path: '/d/a.img', mode: 'readonly' }],
  ['a.img,cow', { path: 'a.img', mode: 'cow' }],
  ['a,,b.img,cow', { path: 'a,b.img', mode: 'cow' }],
])('--disk %s', (text, choice) => {
  expect(parseDisk(text)).toEqual(choice)
})

test.each([
  ['', 'names no file'],
  ['a.img,cwo', 'did you mean cow?'],
  ['a.img,cow,readonly', 'one of readonly and cow'],
])('--disk %j is refused', (text, why) => {
  expect(() => parseDisk(text)).toThrow(why)
})

test('nothing asked for, nothing opened', () => {
  expect(openDevices({}, 'native')).toBeUndefined()
})

test('platforms without devices say who has them', () => {
  expect(() => openDevices({ disk: [image] }, 'native')).toThrow(/--disk: native has no such devices yet; .*xen-pvh/)
  expect(() => openDevices({ net: ['user'] }, 'kvm')).toThrow(/--net: kvm has/)
})

test.each([
  [{ disk: [join(folder, 'none.img')] }, 'no such file'],
  [{ disk: [image, `${join(folder, 'link.img')},cow`] }, 'used twice'],
  [{ net: ['usr'] }, 'did you mean user?'],
])('%j is refused', (options, why) => {
  expect(() => openDevices(options, 'xen-pvh')).toThrow(why)
})

test('copy-on-write leaves the file as it is, and may be used twice', () => {
  using devices = openDevices({ disk: [`${image},cow`, `${image},cow`, `${image},readonly`], net: ['user'] }, 'xen-pvh')
  devices?.disks[0]?.write(0, new Uint8Array(512).fill(1))
  expect(readFileSync(image).every((byte) => byte === 0)).toBe(true)
  expect(devices?.disks.map(({ readOnly }) => readOnly)).toEqual([false, false, true])
  expect(devices?.networks).toHaveLength(1)
})

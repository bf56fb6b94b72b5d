import { describe, expect, test } from 'vitest'
import { VERSION } from '../version.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { compression, gzip as pack } from './compression.ts'
import { crc32, crc32ByTable } from '../checksum.ts'
import { openSnapshot } from './file.ts'
import type { Page } from './format.ts'
import { writeSnapshot } from './write.ts'

const identity = { version: '1.2.3', layout: 'abc' }
const state = { big: 5n, list: [1, undefined, Infinity], bytes: Uint8Array.of(1, 2) }
const page = (number: number): Page => ({ number, bytes: new Uint8Array(4096).fill(number % 256) })
const pages = [0, 7, ...Array.from({ length: 600 }, (_, i) => 1000 + i)].map(page)

async function written(): Promise<Uint8Array> {
  return joined(
    await Array.fromAsync(
      writeSnapshot(identity, { who: 'test' }, state, { first: pages.slice(0, 200), later: pages.slice(200) }),
    ),
  )
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces))
}

async function read(pieces: Iterable<Uint8Array>, as = identity) {
  const snapshot = await openSnapshot(pieces, as, 'box.snap')
  const got: Page[] = []
  const waiting: (() => void)[] = []
  const place = (numbers: readonly number[], bytes: Uint8Array) =>
    numbers.forEach((number, i) => got.push({ number, bytes: bytes.slice(4096 * i, 4096 * (i + 1)) }))
  await snapshot.pages(place, (numbers, unpack) => waiting.push(() => place(numbers, unpack())))
  const atFirst = got.length
  for (const come of waiting) come()
  return { ...snapshot, got, atFirst }
}

function* inPieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

describe('a snapshot', () => {
  test.each([13, 4096, Infinity])('comes back from pieces of %d bytes', async (size) => {
    const bytes = await written()
    const { header, state: again, got, atFirst } = await read(inPieces(bytes, Math.min(size, bytes.length)))
    expect(header).toMatchObject({ ...identity, format: 3, about: { who: 'test' } })
    expect(again).toEqual(state)
    expect(atFirst).toBe(200)
    expect(got.map(({ number }) => number)).toEqual(pages.map(({ number }) => number))
    expect(got.every((one, i) => Buffer.compare(one.bytes, pages[i]!.bytes) === 0)).toBe(true)
  })

  test('is refused by another version, and by another layout', async () => {
    const bytes = await written()
    await expect(read([bytes], { ...identity, version: '2.0.0' })).rejects.toThrow(
      'box.snap was taken by another version of paravirt (1.2.3, format 3, layout abc) than this one (2.0.0, format 3, ' +
        'layout abc): restore it with that version, or take it anew',
    )
    await expect(read([bytes], { ...identity, layout: 'abd' })).rejects.toThrow('another version')
  })

  test('is refused if it is none, or empty', async () => {
    await expect(read([new TextEncoder().encode('#!/bin/sh\necho hello world\n')])).rejects.toThrow(
      'box.snap is no snapshot of paravirt’s'.replace('’', "'"),
    )
    await expect(read([])).rejects.toThrow('box.snap is no snapshot')
  })

  test('is refused wherever it is cut', async () => {
    const bytes = await written()
    for (let at = 18; at < bytes.length; at += Math.ceil(bytes.length / 60))
      await expect(read([bytes.subarray(0, at)])).rejects.toThrow('box.snap is damaged: it ends early')
  })

  test('is refused whichever byte is changed', async () => {
    const bytes = await written()
    const places = Array.from({ length: 80 }, (_, i) => Math.floor((i * bytes.length) / 80))
    for (const at of new Set([...places, 20, 21, 60, 100, 150, bytes.length - 1])) {
      const bad = bytes.slice()
      bad[at]! ^= 0x21
      await expect(read([bad]), `byte ${at}`).rejects.toThrow(
        /^box\.snap (is (damaged|no snapshot|packed as)|was taken by)/,
      )
    }
  })

  test('by gzip is packed and unpacked everywhere', async () => {
    const gzip = compression('gzip')!
    const raw = new Uint8Array(100_000).fill(7)
    const packed = Uint8Array.from(await pack(raw))
    expect(packed.length).toBeLessThan(1000)
    expect(await gzip.unpack(packed, raw.length)).toEqual(raw)
    packed[packed.length - 6]! ^= 1
    await expect(gzip.unpack(packed, raw.length)).rejects.toBeInstanceOf(Error)
  })
})

test('checksums are the same with and without Node', () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 255)
  expect(crc32ByTable()(bytes.subarray(100), crc32ByTable()(bytes.subarray(0, 100)))).toBe(crc32(bytes))
})

test('the version is the package’s', () => {
  expect(VERSION).toBe(packageJson.version)
})

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { InputError } from '../errors.ts'
import { FileBlocks, FileDisk } from './disk-file.ts'
import { type Disk, MemoryBlocks, MemoryDisk, OverlayDisk } from './disk.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))

const read = (disk: Disk, offset: number, length: number) => {
  const bytes = new Uint8Array(length)
  disk.read(offset, bytes)
  return bytes
}

/** The equality of the test runner takes its time with long arrays. */
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

describe('a file', () => {
  const path = join(folder, 'disk.img')

  test('is read and written in place', async () => {
    writeFileSync(path, new Uint8Array(2048 + 100).fill(7))
    const disk = FileDisk.open(path)
    expect(disk.size).toBe(2048)
    expect(disk.readOnly).toBe(false)
    disk.write(512, new Uint8Array(512).fill(9))
    expect(read(disk, 0, 1024)).toEqual(Uint8Array.from({ length: 1024 }, (_, i) => (i < 512 ? 7 : 9)))
    expect(await new Promise((done) => disk.flush(done))).toBeUndefined()
    expect(
      readFileSync(path)
        .subarray(512, 1024)
        .every((byte) => byte === 9),
    ).toBe(true)
    disk.close()
  })

  test('flushes at once where the order of things counts', () => {
    writeFileSync(path, new Uint8Array(512))
    const disk = FileDisk.open(path, { deterministic: true })
    let done = false
    disk.flush(() => (done = true))
    expect(done).toBe(true)
    disk.close()
  })

  test('that got shorter is an error of the medium', () => {
    writeFileSync(path, new Uint8Array(2048))
    const disk = FileDisk.open(path, { readOnly: true })
    writeFileSync(path, new Uint8Array(512))
    expect(() => read(disk, 1024, 512)).toThrow('the image ends')
    disk.close()
  })

  test.each([
    ['missing.img', 'no such file'],
    ['.', 'a folder'],
    ['empty.img', 'too small'],
  ])('%s is refused', (name, why) => {
    writeFileSync(join(folder, 'empty.img'), 'x')
    expect(() => FileDisk.open(join(folder, name))).toThrow(InputError)
    expect(() => FileDisk.open(join(folder, name))).toThrow(why)
  })
})

test('copy-on-write: what is written is read, the base stays, whatever the sizes', () => {
  const operation = fc.record({
    kind: fc.constantFrom('write', 'discard'),
    sector: fc.nat(39),
    count: fc.integer({ min: 1, max: 24 }),
    value: fc.nat(255),
  })
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 25 }), fc.boolean(), (operations, inFile) => {
      const base = Uint8Array.from({ length: 40 * 512 }, (_, i) => (i * 31) >> 5)
      const before = base.slice()
      const model = base.slice()
      const disk = new OverlayDisk(new MemoryDisk(base), inFile ? new FileBlocks() : new MemoryBlocks())
      for (const { kind, sector, count, value } of operations) {
        const offset = sector * 512
        const length = Math.min(count, 40 - sector) * 512
        if (kind === 'write') {
          disk.write(offset, new Uint8Array(length).fill(value))
          model.fill(value, offset, offset + length)
        } else {
          disk.discard(offset, length)
          model.fill(0, offset, offset + length)
        }
        expect(same(read(disk, offset, length), model.subarray(offset, offset + length))).toBe(true)
      }
      expect(same(read(disk, 0, base.length), model)).toBe(true)
      expect(same(base, before)).toBe(true)
      disk.close()
    }),
    { numRuns: 40 },
  )
})

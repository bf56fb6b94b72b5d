import { gzipSync, zstdCompressSync } from 'node:zlib'
import { initModule, xzAsync } from 'node-liblzma/wasm'
import { describe, expect, test } from 'vitest'
import { ownCache } from '../../test/boot/own-cache.ts'
import { concat, writeCpio } from '../initramfs/cpio.ts'
import { checkInitrd } from './initrd.ts'

ownCache()

const MIB = 2 ** 20
const archive = writeCpio(new Map([['/data', { mode: 0o100644, bytes: new Uint8Array(3 * MIB).fill(7) }]]))
const gzip = gzipSync(archive)
await initModule()
const xz = await xzAsync(archive)
const zstd = zstdCompressSync(archive)
const lz4 = Uint8Array.of(2, 0x21, 0x4c, 0x18, 3, 0, 0, 0, 1, 2, 3)

describe('taken', () => {
  test.each([
    ['plain', archive],
    ['two archives with zeros between', concat([archive, new Uint8Array(512), archive, new Uint8Array(100)])],
    ['gzip', gzip],
    ['XZ', xz],
    ['zstd', zstd],
    ['LZ4', lz4],
    ['plain, then compressed, as with early microcode', concat([archive, zstd])],
  ])('%s', (_, initrd) => expect(checkInitrd(initrd, 'initrd', 64 * MIB)).resolves.toBeUndefined())
})

describe('refused', () => {
  test.each<[string, Uint8Array, RegExp]>([
    ['something else', new TextEncoder().encode('hello world'), /not an initrd/],
    ['garbage after an archive', concat([archive, new TextEncoder().encode('hello')]), /no archive at byte \d+/],
    ['half an archive', archive.subarray(0, archive.length >> 1), /truncated initrd/],
    ['an archive without its end', archive.subarray(0, -124), /truncated initrd/],
    [
      'a header overwritten',
      new Uint8Array(archive).fill(0x41, archive.length - 124, archive.length - 110),
      /no cpio header/,
    ],
    ['half a gzip', gzip.subarray(0, gzip.length >> 1), /damaged initrd/],
    ['half an XZ', xz.subarray(0, xz.length >> 1), /damaged initrd/],
    ['half a zstd', zstd.subarray(0, zstd.length >> 1), /damaged initrd/],
    ['half an LZ4', lz4.subarray(0, -1), /damaged initrd \(truncated LZ4 data\)/],
    ['a damaged XZ', new Uint8Array(xz).fill(0x55, 40, 60), /damaged initrd/],
    [
      'a bomb',
      zstdCompressSync(new Uint8Array(80 * MIB)),
      /refused: it unpacks to more than the guest's memory of 64 MiB/,
    ],
  ])('%s', (_, initrd, message) => expect(checkInitrd(initrd, 'initrd', 64 * MIB)).rejects.toThrow(message))
})

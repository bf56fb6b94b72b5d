import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { BootError } from '../boot/error.ts'
import { checkInitrd } from './check.ts'
import { concat, writeCpio } from './cpio.ts'

const MEMORY = 64 << 20
const bytes = (text: string) => new TextEncoder().encode(text)
const archive = writeCpio(
  new Map([
    ['/etc', { mode: 0o040755 }],
    ['/etc/motd', { mode: 0o100644, bytes: bytes('hello\n'.repeat(1000)) }],
  ]),
)
const check = (initrd: Uint8Array, memory = MEMORY) => checkInitrd(initrd, 'x', memory)

describe('whole initrds pass', () => {
  test.each<[string, Uint8Array]>([
    ['an archive', archive],
    ['two archives, with zeros between', concat([archive, new Uint8Array(512), archive, new Uint8Array(3)])],
    ['gzip', gzipSync(archive)],
    ['zstd', zstdCompressSync(archive)],
    [
      'microcode first, then zstd, as Debian makes them',
      concat([archive, new Uint8Array(512), zstdCompressSync(archive)]),
    ],
    ['bzip2, which only the kernel can unpack', concat([bytes('BZh91AY&SY'), new Uint8Array(100)])],
  ])('%s', async (_, initrd) => {
    await expect(check(initrd)).resolves.toBeUndefined()
  })
})

describe('others are refused', () => {
  const flipped = Uint8Array.from(zstdCompressSync(archive, { params: { [201]: 1 } }))
  flipped[flipped.length - 20]! ^= 0xff
  const badHeader = Uint8Array.from(archive)
  badHeader[120] = 0x78

  test.each<[string, Uint8Array, string]>([
    ['an empty file', new Uint8Array(0), 'x: empty file'],
    ['text', bytes('#!/bin/sh\n'), 'x: not an initrd: neither cpio nor compressed'],
    ['a truncated archive', archive.subarray(0, 3000), 'x: truncated initrd'],
    ['an archive without its end', archive.subarray(0, archive.length - 124), 'x: truncated initrd'],
    ['a damaged header', badHeader, 'x: damaged initrd at byte'],
    ['text after an archive', concat([archive, bytes('more')]), 'x: damaged initrd at byte'],
    ['truncated gzip', gzipSync(archive).subarray(0, -9), 'x: damaged initrd'],
    ['damaged zstd', flipped, 'x: damaged initrd'],
    ['compressed text', gzipSync(bytes('no archive')), 'x: damaged initrd: its gzip data holds no whole cpio archive'],
  ])('%s', async (_, initrd, message) => {
    await expect(check(initrd)).rejects.toThrow(BootError)
    await expect(check(initrd)).rejects.toThrow(message)
  })

  test('a bomb', async () => {
    await expect(check(gzipSync(new Uint8Array(32 << 20)), 16 << 20)).rejects.toThrow("larger than the guest's memory")
  })
})

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { compress } from 'lz4-wasm-nodejs'
import { xzAsync, initModule } from 'node-liblzma/wasm'
import { describe, expect, test } from 'vitest'
import { ownCache } from '../../test/boot/own-cache.ts'
import { bytesOf, bzImage, elfImage, withCrc, withSize } from '../../test/boot/synthetic.ts'
import { BootError } from './error.ts'
import { loadKernel } from './kernel.ts'

const folder = ownCache()

const zstdPayload = (elf: Uint8Array): Uint8Array => withSize(zstdCompressSync(elf), elf.length)

/** LZ4's legacy format, as the kernel's build makes it. */
function lz4Payload(elf: Uint8Array, size = elf.length): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(2, 0x21, 0x4c, 0x18)]
  for (let at = 0; at < elf.length; at += 8 << 20) {
    const block = compress(elf.subarray(at, at + (8 << 20))).slice(4)
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, block.length, true)
    parts.push(length, block)
  }
  return withSize(Buffer.concat(parts), size)
}

describe('what is loaded', () => {
  const elf = elfImage()
  const large = elfImage({ segments: [{ address: 0x1000000, bytes: bytesOf(9 << 20), size: 9 << 20 }] })
  const payloads: Record<string, () => Promise<Uint8Array> | Uint8Array> = {
    gzip: () => gzipSync(elf),
    zstd: () => zstdPayload(elf),
    lz4: () => lz4Payload(elf),
    xz: async () => (await initModule(), withSize(await xzAsync(elf), elf.length)),
  }
  test.each(Object.keys(payloads))('a bzImage with a %s payload', async (compression) => {
    const image = bzImage({ payload: await payloads[compression]!() })
    const kernel = await loadKernel(image)
    expect(kernel).toMatchObject({ version: '6.1.0-test', bits: 64, compression })
    expect(kernel.entries).toEqual({ pvh: 0x1000850, '64': 0x1000000, image64: 0x1000200, image32: 0x1000000 })
    expect(kernel.elf!.segments.map(({ address, size }) => [address, size])).toEqual([
      [0x1000000, 0x9000],
      [0x1200000, 0x8000],
    ])
    expect(kernel.elf!.segments[0]!.bytes).toEqual(bytesOf(0x9000))
    const again = await loadKernel(image)
    expect({ ...again, image: undefined }).toEqual({ ...kernel, image: undefined })
  })

  test('LZ4 of more than one block, and blocks that are shared with nobody', async () => {
    const image = bzImage({ payload: lz4Payload(large) })
    const copy = Buffer.from(image)
    const kernel = await loadKernel(copy)
    expect(kernel.elf!.segments[0]!.bytes.length).toBe(9 << 20)
    expect(Buffer.compare(copy, image)).toBe(0)
  })

  test('the unpacked kernel is kept without the zeros at its end', async () => {
    const bytes = new Uint8Array(0x100000)
    bytes.set(bytesOf(0x4000))
    const image = bzImage({
      payload: zstdPayload(elfImage({ segments: [{ address: 0x1000000, bytes, size: 0x200000 }] })),
    })
    const kernels = join(folder, 'paravirt', 'kernels')
    const known = new Set(readdirSync(kernels))
    await loadKernel(image)
    expect(readdirSync(kernels).filter((name) => !known.has(name))).toHaveLength(1)
    const { segments } = (await loadKernel(image)).elf!
    expect(segments).toEqual([{ address: 0x1000000, bytes: expect.anything(), size: 0x200000 }])
    expect(segments[0]!.bytes.length).toBe(0x4000)
  })

  test('ELF kernels, with and without PVH', async () => {
    const text = new TextEncoder().encode('Linux version %s\0Linux version 6.1.0 (who@where) #1\n\0')
    const bytes = bytesOf(0x1000)
    bytes.set(text, 0x100)
    const vmlinux = elfImage({ bits: 32, pvh: undefined, segments: [{ address: 0x1000000, bytes, size: 0x1000 }] })
    const path = join(folder, 'vmlinux')
    writeFileSync(path, vmlinux)
    const kernel = await loadKernel(path)
    expect(kernel).toMatchObject({
      name: path,
      bits: 32,
      version: '6.1.0 (who@where) #1',
      entries: { '32': 0x1000000 },
    })
    expect(kernel.image).toBeUndefined()
  })

  test('a payload that only the kernel itself can unpack', async () => {
    const kernel = await loadKernel(
      bzImage({ payload: withSize(Uint8Array.of(0x42, 0x5a, 0x68, ...bytesOf(100)), 1000) }),
    )
    expect(kernel.entries).toEqual({ image64: 0x1000200, image32: 0x1000000 })
  })

  test('signing for Secure Boot does not count as damage', async () => {
    const image = bzImage({ payload: zstdPayload(elf) })
    const view = new DataView(image.buffer)
    view.setUint16(0, 0x5a4d, true)
    view.setUint32(0x3c, 0x40, true)
    view.setUint32(0x40, 0x4550, true)
    view.setUint16(0x58, 0x20b, true)
    withCrc(image)
    view.setUint32(0x58 + 64, 0x1234, true)
    view.setUint32(0x58 + 112 + 32, image.length, true)
    const signed = Buffer.concat([image, bytesOf(1472)])
    expect((await loadKernel(signed)).entries.pvh).toBe(0x1000850)
    signed[0x58 + 60]! ^= 1
    await expect(loadKernel(signed)).rejects.toThrow('wrong checksum')
  })
})

describe('what is refused, with one line that says why', () => {
  const elf = elfImage()
  const good = bzImage({ payload: zstdPayload(elf) })
  const patched = (image: Uint8Array, patch: (view: DataView) => void, crc = true) => {
    const copy = new Uint8Array(image)
    patch(new DataView(copy.buffer))
    return crc ? withCrc(copy) : copy
  }
  const packed = (payload: Uint8Array) => bzImage({ payload })
  const arm64 = new Uint8Array(4096)
  new DataView(arm64.buffer).setUint32(0x38, 0x644d5241, true)
  const efi = new Uint8Array(4096)
  new DataView(efi.buffer).setUint16(0, 0x5a4d, true)
  new DataView(efi.buffer).setUint32(0x3c, 0x80, true)
  new DataView(efi.buffer).setUint32(0x80, 0x4550, true)
  new DataView(efi.buffer).setUint16(0x84, 0xaa64, true)

  const cases: [string, Uint8Array | string, RegExp][] = [
    ['no file', '/nonexistent/vmlinuz', /no such file/],
    ['a folder', '/', /a folder/],
    ['empty', new Uint8Array(0), /empty file/],
    ['too short', good.subarray(0, 0x300), /truncated/],
    ['half', good.subarray(0, good.length >> 1), /truncated kernel: \d+ bytes of \d+/],
    ['last byte missing', good.subarray(0, -1), /truncated kernel/],
    ['text', new TextEncoder().encode('hello, world\n'.repeat(200)), /not a Linux kernel/],
    ['arm64 Image', arm64, /a kernel for arm64; this is an x86 machine/],
    ['arm64 EFI program', efi, /a kernel for arm64/],
    ['gzip of something', gzipSync(elf), /a gzip file/],
    ['one bit wrong', patched(good, (v) => v.setUint8(0xd00, v.getUint8(0xd00) ^ 1), false), /wrong checksum/],
    ['no boot signature', patched(good, (v) => v.setUint16(0x1fe, 0, true)), /no boot signature/],
    ['old protocol', patched(good, (v) => v.setUint16(0x206, 0x205, true)), /boot protocol 2\.05 is too old/],
    ['zImage', patched(good, (v) => v.setUint8(0x211, 0)), /zImage/],
    ['payload outside', patched(good, (v) => v.setUint32(0x24c, 1 << 30, true)), /compressed part lies outside/],
    ['bomb', packed(withSize(zstdCompressSync(elf), 0x7fffffff)), /refused: .*limit is 512 MiB/],
    ['longer than its size word', packed(withSize(zstdCompressSync(elf), elf.length - 1)), /does not unpack/],
    ['shorter than its size word', packed(withSize(zstdCompressSync(elf), elf.length + 1)), /does not unpack/],
    ['LZ4 longer', packed(lz4Payload(elf, elf.length - 1)), /does not unpack/],
    ['LZ4 shorter', packed(lz4Payload(elf, elf.length + 1)), /does not unpack/],
    ['damaged gzip', packed(gzipSync(elf).fill(0x55, 100, 110)), /gzip data does not unpack/],
    [
      'truncated zstd',
      packed(withSize(zstdCompressSync(elf).subarray(0, 200), elf.length)),
      /zstd data does not unpack/,
    ],
    [
      'damaged XZ',
      packed(withSize(Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2, ...bytesOf(90)), 100)),
      /xz data does not unpack/,
    ],
    ['payload is no ELF', packed(zstdPayload(bytesOf(1000))), /not ELF/],
    ['ELF for arm64', patched(elf, (v) => v.setUint16(18, 183, true), false), /a kernel for arm64/],
    ['big-endian ELF', patched(elf, (v) => v.setUint8(5, 2), false), /big-endian/],
    ['object file', patched(elf, (v) => v.setUint16(16, 1, true), false), /not an executable/],
    ['truncated ELF', elf.subarray(0, -1), /truncated: ELF segment/],
    ['ELF headers outside', patched(elf, (v) => v.setUint32(32, 1 << 20, true), false), /program headers lie outside/],
    ['entry outside', elfImage({ entry: 0x3000000 }), /entry point 0x3000000 lies outside/],
    ['PVH entry outside', elfImage({ pvh: 0x3000000 }), /PVH entry point 0x3000000 lies outside/],
    [
      'overlap',
      elfImage({
        segments: [
          { address: 0x1000000, bytes: bytesOf(16), size: 0x2000 },
          { address: 0x1001000, bytes: bytesOf(16), size: 16 },
        ],
      }),
      /segments overlap/,
    ],
    ['above 4 GiB', elfImage({ segments: [{ address: 0x1000000, bytes: bytesOf(16), size: 2 ** 32 }] }), /above 4 GiB/],
  ]
  test.each(cases)('%s', async (_, source, message) => {
    const failure = await loadKernel(source).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toBeInstanceOf(BootError)
    expect((failure as Error).message).toMatch(message)
    expect((failure as Error).message).not.toMatch(/\n/)
  })
})

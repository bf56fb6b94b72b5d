/**
 * The compression formats of kernels, initrds and packages. Whoever unpacks at once says how long the result is, and
 * nothing beyond is produced. The WebAssembly decoders are loaded when they are needed: an unpacked kernel in the cache needs none.
 */
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress, gunzipSync, zstdDecompressSync } from 'node:zlib'
import type { Compression } from './formats.ts'

/** Unpacks to exactly `size` bytes. Throws if the data is damaged, shorter or longer. */
export async function unpack(compression: Compression, input: Uint8Array, size: number): Promise<Uint8Array> {
  const output = await unpackAtMost(compression, input, size)
  if (output.length !== size) throw new Error(`${output.length} bytes instead of ${size}`)
  return new Uint8Array(output.buffer, output.byteOffset, output.length)
}

async function unpackAtMost(compression: Compression, input: Uint8Array, size: number): Promise<Uint8Array> {
  switch (compression) {
    case 'gzip':
      return gunzipSync(input, { maxOutputLength: size })
    case 'zstd':
      return zstdDecompressSync(input, { maxOutputLength: size })
    case 'lz4':
      return unlz4(input, size)
    case 'xz':
    case 'lzma':
      return collect((await import('./xz.ts')).unxz(input), size)
    default:
      throw new Error(`no decoder for ${compression}`)
  }
}

async function collect(pieces: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const output = new Uint8Array(size)
  let length = 0
  for await (const piece of pieces) {
    if (length + piece.length > size) throw new Error(`more than ${size} bytes`)
    output.set(piece, length)
    length += piece.length
  }
  return output.subarray(0, length)
}

/** A block of LZ4's legacy format unpacks to this much, except the last. */
const LZ4_BLOCK = 8 << 20

/** LZ4's legacy format: the magic, then blocks of {u32 size, data} to the end; no checksum. */
function* lz4Blocks(input: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  for (let at = 4; at < input.length; ) {
    const end = at + 4 <= input.length ? at + 4 + view.getUint32(at, true) : Infinity
    if (end > input.length) throw new Error('truncated LZ4 data')
    yield input.subarray(at + 4, end)
    at = end
  }
}

async function unlz4(input: Uint8Array, size: number): Promise<Uint8Array> {
  const { decompress } = await import('lz4-wasm-nodejs')
  const output = new Uint8Array(size)
  let length = 0
  for (const packed of lz4Blocks(input)) {
    if (length === size) throw new Error(`more than ${size} bytes`)
    const blockSize = Math.min(LZ4_BLOCK, size - length)
    // The library takes a block preceded by the size that it unpacks to, and refuses any other outcome.
    const block = new Uint8Array(4 + packed.length)
    new DataView(block.buffer).setUint32(0, blockSize, true)
    block.set(packed, 4)
    output.set(decompress(block), length)
    length += blockSize
  }
  return output.subarray(0, length)
}

/**
 * The unpacked data in pieces, for data whose size is not known before. Of formats that cannot be unpacked so, only
 * the outer structure is walked and nothing comes out.
 */
export async function* unpackStream(compression: Compression, input: Uint8Array): AsyncGenerator<Uint8Array> {
  switch (compression) {
    case 'gzip':
      yield* Readable.from([input]).pipe(createGunzip())
      break
    case 'zstd':
      yield* Readable.from([input]).pipe(createZstdDecompress())
      break
    case 'xz':
    case 'lzma':
      yield* (await import('./xz.ts')).unxz(input)
      break
    case 'lz4':
      for (const _ of lz4Blocks(input));
      break
    default:
  }
}

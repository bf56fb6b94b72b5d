/**
 * How a snapshot's chunks are packed: zstd where there is Node's, gzip everywhere. Both carry a checksum of what was
 * packed, so that damage is noticed.
 */
import type { ZstdOptions } from 'node:zlib'

export interface Compression {
  pack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>
  /** Fails for what is damaged. */
  unpack(bytes: Uint8Array<ArrayBuffer>, length: number): Promise<Uint8Array>
}

export type CompressionName = 'zstd' | 'gzip'

async function through(bytes: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer())
}

const gzip: Compression = {
  pack: (bytes) => through(bytes, new CompressionStream('gzip')),
  unpack: (bytes) => through(bytes, new DecompressionStream('gzip')),
}

/** On threads of libuv's. */
async function zstd(): Promise<Compression | undefined> {
  if (typeof process === 'undefined' || !process.versions?.node) return undefined
  const [zlib, { promisify }] = await Promise.all([import('node:zlib'), import('node:util')])
  const { ZSTD_c_checksumFlag, ZSTD_c_compressionLevel } = zlib.constants
  const params = { [ZSTD_c_checksumFlag]: 1, [ZSTD_c_compressionLevel]: 1 }
  const pack = promisify<Uint8Array, ZstdOptions, Buffer>(zlib.zstdCompress)
  const unpack = promisify<Uint8Array, ZstdOptions, Buffer>(zlib.zstdDecompress)
  return {
    pack: (bytes) => pack(bytes, { params }),
    unpack: (bytes, length) => unpack(bytes, { chunkSize: Math.max(length, 64), maxOutputLength: length }),
  }
}

/** Undefined: not in this runtime. */
export async function compression(name: string): Promise<Compression | undefined> {
  return name === 'zstd' ? zstd() : name === 'gzip' ? gzip : undefined
}

/** The best that there is here. */
export async function bestCompression(): Promise<CompressionName> {
  return (await zstd()) ? 'zstd' : 'gzip'
}

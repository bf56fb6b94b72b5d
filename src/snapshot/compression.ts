/** How a snapshot's chunks are packed: zstd where there is Node's, gzip everywhere. */
import type { ZstdOptions } from 'node:zlib'

export interface Compression {
  pack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>
  /** Fails for what cannot be unpacked. */
  unpack(bytes: Uint8Array<ArrayBuffer>, length: number): Promise<Uint8Array>
  /** The same while the caller waits; undefined: there is no way to. */
  readonly unpackNow: ((bytes: Uint8Array, length: number) => Uint8Array) | undefined
}

export type CompressionName = 'zstd' | 'gzip'

async function through(bytes: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer())
}

/** Undefined in browsers. */
const zlib = globalThis.process?.getBuiltinModule?.('node:zlib')

const gzip: Compression = {
  pack: (bytes) => through(bytes, new CompressionStream('gzip')),
  unpack: (bytes) => through(bytes, new DecompressionStream('gzip')),
  unpackNow: zlib && ((bytes, length) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(length, 1) })),
}

/** What packs works on threads of libuv's. */
function zstd(): Compression | undefined {
  if (!zlib) return undefined
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: 1 }
  const limits = (length: number): ZstdOptions => ({
    chunkSize: Math.max(length, 64),
    maxOutputLength: Math.max(length, 1),
  })
  const unpackNow = (bytes: Uint8Array, length: number) => zlib.zstdDecompressSync(bytes, limits(length))
  return {
    pack: (bytes) =>
      new Promise((resolve, reject) =>
        zlib.zstdCompress(bytes, { params }, (error, packed) => (error ? reject(error) : resolve(packed))),
      ),
    unpack: async (bytes, length) => unpackNow(bytes, length),
    unpackNow,
  }
}

/** Undefined: not in this runtime. */
export function compression(name: string): Compression | undefined {
  return name === 'zstd' ? zstd() : name === 'gzip' ? gzip : undefined
}

/** The best that there is here. */
export const bestCompression: CompressionName = zlib ? 'zstd' : 'gzip'

/** zstd by Node: `#zstd`. */
import { constants, zstdCompress, zstdDecompressSync } from 'node:zlib'

/** On a thread of libuv's. */
export const zstd = (bytes: Uint8Array): Promise<Uint8Array> =>
  new Promise((resolve, reject) =>
    zstdCompress(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }, (error, packed) =>
      error ? reject(error) : resolve(packed),
    ),
  )

/** Throws for what does not unpack to at most `length` bytes. */
export const unzstd = (bytes: Uint8Array, length: number): Uint8Array =>
  zstdDecompressSync(bytes, { chunkSize: Math.max(length, 64), maxOutputLength: Math.max(length, 1) })

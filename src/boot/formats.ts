/** The compression formats of kernels, initrds and packages, and how they are told apart. */
export type Compression = 'gzip' | 'xz' | 'lzma' | 'lz4' | 'zstd' | 'bzip2' | 'lzo'

const magics: readonly [Compression, readonly number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ['lzma', [0x5d, 0, 0]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f]],
]

export const compressionOf = (bytes: Uint8Array): Compression | undefined =>
  magics.find(([, magic]) => magic.every((byte, i) => bytes[i] === byte))?.[0]

/** There is no decoder for these here; a kernel packed so can unpack itself. */
export const isUnpackable = (compression: Compression): boolean => compression !== 'bzip2' && compression !== 'lzo'

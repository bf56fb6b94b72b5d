/** How a snapshot's chunks are packed: zstd by Node, gzip in browsers. Both are unpacked everywhere. */
import { unzstd, zstd } from '#zstd'

export interface Compression {
  /** Fails for what cannot be unpacked. */
  unpack(bytes: Uint8Array<ArrayBuffer>, length: number): Promise<Uint8Array>
  /** The same while the caller waits; undefined: there is no way to. */
  readonly unpackNow: ((bytes: Uint8Array, length: number) => Uint8Array) | undefined
}

async function through(bytes: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer())
}

export const gzip = (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> =>
  through(bytes, new CompressionStream('gzip'))

const codecs: Readonly<Record<string, Compression>> = {
  zstd: { unpack: async (bytes, length) => unzstd(bytes, length), unpackNow: unzstd },
  gzip: { unpack: (bytes) => through(bytes, new DecompressionStream('gzip')), unpackNow: undefined },
}

/** Undefined: there is none of this name. */
export function compression(name: string): Compression | undefined {
  return Object.hasOwn(codecs, name) ? codecs[name] : undefined
}

/** The best that there is here. */
export const packer: { readonly name: string; pack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> } = zstd
  ? { name: 'zstd', pack: zstd }
  : { name: 'gzip', pack: gzip }

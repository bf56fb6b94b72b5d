/** zstd in browsers, which can be unpacked only: `#zstd`. */
import { decompress } from 'fzstd'

export const zstd: ((bytes: Uint8Array) => Promise<Uint8Array>) | undefined = undefined

/** Throws for what does not unpack to at most `length` bytes. */
export const unzstd = (bytes: Uint8Array, length: number): Uint8Array => decompress(bytes, new Uint8Array(length))

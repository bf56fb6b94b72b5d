/** zstd in browsers, which can be unpacked only: `#zstd`. */
import { decompress } from 'fzstd'

export const zstd: ((bytes: Uint8Array) => Promise<Uint8Array>) | undefined = undefined

/** Throws for what does not unpack to at most `length` bytes. */
export function unzstd(bytes: Uint8Array, length: number): Uint8Array {
  // Not into a buffer of ours: fzstd 0.1.1 fails so for some frames.
  const unpacked = decompress(bytes)
  if (unpacked.length > length) throw new RangeError(`${unpacked.length} bytes instead of ${length}`)
  return unpacked
}

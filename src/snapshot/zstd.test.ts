import { expect, test } from 'vitest'
import { unzstd as unzstdByNode, zstd } from './zstd.ts'
import { unzstd } from './zstd-browser.ts'

/** Pages of text, numbers and noise, and runs of them, from a seed. */
function pages(seed: number): Uint8Array {
  let state = seed
  const next = (below: number) => ((state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >>> 8) % below
  const bytes = new Uint8Array(65536)
  for (let at = 0; at < bytes.length; ) {
    const kind = next(4)
    const length = 1 + next(3000)
    const from = next(Math.max(at, 1))
    for (let i = 0; i < length && at < bytes.length; i++, at++)
      bytes[at] = kind === 0 ? next(256) : kind === 1 ? 97 + next(20) : kind === 2 ? (bytes[from + i] ?? 0) : 0
  }
  return bytes
}

test('what Node packs a browser unpacks, and nothing longer than expected', async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const bytes = pages(seed)
    const packed = await zstd(bytes)
    expect(Buffer.compare(unzstd(packed, bytes.length), bytes), `seed ${seed}`).toBe(0)
    expect(Buffer.compare(unzstdByNode(packed, bytes.length), bytes)).toBe(0)
  }
  const packed = await zstd(pages(1))
  for (const unpack of [unzstd, unzstdByNode]) expect(() => unpack(packed, 65535)).toThrow(RangeError)
})

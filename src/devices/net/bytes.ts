/** Frames as bytes: fields are in network order, and the Internet's checksum (RFC 1071). */

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** The sum of 16-bit words, an odd last byte padded with zero, not folded yet. */
export function sum16(bytes: Uint8Array, from = 0, to = bytes.length, start = 0): number {
  let sum = start
  let at = from
  for (; at + 1 < to; at += 2) sum += ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
  if (at < to) sum += (bytes[at] as number) << 8
  return sum
}

/** The checksum that goes with a sum. */
export function fold(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000)
  return ~folded & 0xffff
}

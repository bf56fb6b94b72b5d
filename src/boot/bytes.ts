/** Little-endian bytes of firmware tables. */

export type Bytes = readonly number[]

/** Numbers are single bytes. */
export const join = (...parts: readonly (number | Bytes)[]): number[] => parts.flat()

export const u16 = (value: number): Bytes => [value & 0xff, (value >> 8) & 0xff]
export const u32 = (value: number): Bytes => join(u16(value & 0xffff), u16(value >>> 16))
export const u64 = (value: number): Bytes => join(u32(value), u32(Math.floor(value / 2 ** 32)))
export const zeros = (length: number): Bytes => Array.from({ length }, () => 0)

/** Padded with blanks. */
export const ascii = (text: string, length = text.length): Bytes =>
  Array.from(text.padEnd(length), (character) => character.charCodeAt(0))

/** The byte that makes all of them add up to 0. */
export function checksum(bytes: Bytes): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff
}

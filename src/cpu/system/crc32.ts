/** CRC32 (SDM Vol. 2A): the Castagnoli polynomial, bits reflected. */

const POLYNOMIAL: u32 = 0x82f63b78

/** `crc` continued by the low `bytes` bytes of `value`. */
export function crc32(p: u32, crc: u32, value: u64, bytes: u32): u32 {
  for (let i: u32 = 0; i < bytes; i++) {
    crc ^= <u32>(value >>> (i << 3)) & 0xff
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & -(crc & 1))
  }
  return crc
}

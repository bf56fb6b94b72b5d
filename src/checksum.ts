/** CRC-32 (ISO 3309), by Node where there is Node: 15 MB take some milliseconds there. */
type Checksum = (bytes: Uint8Array, before?: number) => number

const POLYNOMIAL = 0xedb88320

function byTable(): Checksum {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1
    return value
  })
  return (bytes, before = 0) => {
    let crc = ~before
    for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[i] as number)) & 255] as number)
    return ~crc >>> 0
  }
}

export const crc32: Checksum = globalThis.process?.getBuiltinModule?.('node:zlib').crc32 ?? byTable()
export const crc32ByTable = byTable

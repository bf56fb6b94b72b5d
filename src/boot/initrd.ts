/**
 * Tells a whole initrd from a damaged or foreign one before a machine is started with it. Linux takes cpio archives
 * ("newc"), plain or compressed, one after another with zeros between them, and quietly drops what it cannot read.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, writeWhole } from '../cache.ts'
import { BootError } from './error.ts'
import { compressionOf } from './formats.ts'
import { unpackStream } from './unpack.ts'

/** Throws BootError unless the guest, with so much memory, can unpack all of it. */
export async function checkInitrd(initrd: Uint8Array, name: string, memory: number): Promise<void> {
  const size = plainCpioEnd(initrd, name)
  if (size === initrd.length) return
  const packed = initrd.subarray(size)
  const compression = compressionOf(packed)
  if (compression === undefined)
    throw new BootError(
      `${name}: not an initrd: ${size === 0 ? 'neither a cpio archive (newc) nor a compressed one' : `no archive at byte ${size}`}`,
    )
  const unpacked = await unpackedSize(packed, name, () => unpackStream(compression, packed), memory)
  if (unpacked > memory)
    throw new BootError(`${name}: refused: it unpacks to more than the guest's memory of ${memory >>> 20} MiB`)
}

/** Decoding takes a while, so what came out is remembered by the hash of what went in. */
async function unpackedSize(
  packed: Uint8Array,
  name: string,
  unpack: () => AsyncIterable<Uint8Array>,
  limit: number,
): Promise<number> {
  const mark = `initrds/${createHash('sha256').update(packed).digest('hex').slice(0, 32)}`
  try {
    const known = join(cacheFolder(), mark)
    if (existsSync(known)) return Number(readFileSync(known, 'utf8'))
  } catch {
    // Without a cache it is decoded each time.
  }
  let size = 0
  try {
    for await (const piece of unpack()) {
      size += piece.length
      if (size > limit) return size
    }
  } catch (error) {
    throw new BootError(`${name}: damaged initrd (${error instanceof Error ? error.message : String(error)})`)
  }
  try {
    writeWhole(join(cacheFolder(), mark), String(size))
  } catch {
    // As above.
  }
  return size
}

/** Where the plain archives at the beginning end: at the file's end, or where a compressed one starts. */
function plainCpioEnd(initrd: Uint8Array, name: string): number {
  let at = 0
  for (;;) {
    while (at < initrd.length && initrd[at] === 0) at++
    const magic = latin1(initrd, at, 6)
    if (magic !== '070701' && magic !== '070702') return at
    at = archiveEnd(initrd, at, name)
  }
}

function archiveEnd(initrd: Uint8Array, start: number, name: string): number {
  for (let at = start; ; ) {
    if (at + 110 > initrd.length) throw new BootError(`${name}: truncated initrd: its cpio archive has no end`)
    if (!/^07070[12]$/.test(latin1(initrd, at, 6)))
      throw new BootError(`${name}: damaged initrd: no cpio header at byte ${at}`)
    const field = (index: number) => Number.parseInt(latin1(initrd, at + 6 + index * 8, 8), 16)
    const size = field(6)
    const nameSize = field(11)
    const nameAt = at + 110
    const dataAt = nameAt + nameSize + (-(110 + nameSize) & 3)
    const next = dataAt + size + (-size & 3)
    if (Number.isNaN(next)) throw new BootError(`${name}: damaged initrd: bad cpio header at byte ${at}`)
    if (dataAt + size > initrd.length)
      throw new BootError(`${name}: truncated initrd: a file in its cpio archive ends outside it`)
    if (latin1(initrd, nameAt, nameSize) === 'TRAILER!!!\0') return Math.min(next, initrd.length)
    at = next
  }
}

const latin1 = (bytes: Uint8Array, at: number, length: number): string =>
  new TextDecoder('latin1').decode(bytes.subarray(at, at + length))

/**
 * Whether an initrd is whole, before a guest finds out in the middle of its boot: cpio archives one after another, zeros
 * between them, each plain or compressed, as Linux's init/initramfs.c takes them. What is unpacked to look at it is
 * bounded by the guest's memory, where it would have to fit.
 */
import { BootError } from '../boot/error.ts'
import type { Compression } from '../boot/unpack.ts'
import { compressionOf, unpackAtMost } from '../boot/unpack.ts'

const HEADER = 110
const TRAILER = 'TRAILER!!!'
/** Formats that can be unpacked here without knowing the size of the result. */
const CHECKED: ReadonlySet<Compression> = new Set<Compression>(['gzip', 'zstd', 'xz', 'lzma'])
const latin1 = new TextDecoder('latin1')

/** Throws BootError unless `bytes` is an initrd that Linux would unpack. */
export async function checkInitrd(bytes: Uint8Array, name: string, memory: number): Promise<void> {
  if (bytes.length === 0) throw new BootError(`${name}: empty file`)
  const rest = skipArchives(bytes, name)
  if (rest === bytes.length) return
  const compressed = bytes.subarray(rest)
  const compression = compressionOf(compressed)
  if (compression === undefined)
    throw new BootError(
      rest === 0 ? `${name}: not an initrd: neither cpio nor compressed` : `${name}: damaged initrd at byte ${rest}`,
    )
  if (!CHECKED.has(compression)) return
  const unpacked = await unpackWhole(compression, compressed, name, memory)
  const end = skipArchives(unpacked, name)
  if (end !== unpacked.length)
    throw new BootError(`${name}: damaged initrd: its ${compression} data holds no whole cpio archive`)
}

async function unpackWhole(
  compression: Compression,
  bytes: Uint8Array,
  name: string,
  memory: number,
): Promise<Uint8Array> {
  try {
    return await unpackAtMost(compression, bytes, memory)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new BootError(`${name}: damaged initrd, or larger than the guest's memory (${compression}: ${reason})`)
  }
}

/** The position after the plain archives and zeros that `bytes` begins with. */
function skipArchives(bytes: Uint8Array, name: string): number {
  let at = 0
  for (;;) {
    while (at < bytes.length && bytes[at] === 0) at++
    const magic = latin1.decode(bytes.subarray(at, at + 6))
    if (magic !== '070701' && magic !== '070702') return at
    at = skipArchive(bytes, at, name)
  }
}

/** Each member is a header of hexadecimal fields, the name and the content, both padded to 4 bytes. */
function skipArchive(bytes: Uint8Array, from: number, name: string): number {
  for (let at = from; ; ) {
    const header = latin1.decode(bytes.subarray(at, at + HEADER))
    if (header.length < HEADER) throw new BootError(`${name}: truncated initrd: it ends in the middle of an archive`)
    if (!/^07070[12][\dA-Fa-f]{104}$/.test(header)) throw new BootError(`${name}: damaged initrd at byte ${at}`)
    const field = (index: number) => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16)
    const nameSize = field(11)
    const content = padded(at + HEADER + nameSize)
    const end = content + field(6)
    if (end > bytes.length)
      throw new BootError(`${name}: truncated initrd: ${bytes.length} bytes, a file in it ends at ${end}`)
    if (latin1.decode(bytes.subarray(at + HEADER, at + HEADER + nameSize - 1)) === TRAILER) return end
    at = padded(end)
  }
}

const padded = (length: number): number => (length + 3) & ~3

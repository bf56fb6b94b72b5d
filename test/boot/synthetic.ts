/** Makes kernel images that are right in every field that a loader reads, for tests to break. */
import { crc32 } from 'node:zlib'
import type { Elf } from '../../src/boot/elf.ts'
import { writeElf } from '../../src/boot/elf.ts'
import { NoteType, type XenNote } from '../../src/boot/xen-notes.ts'

export const bytesOf = (length: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(length)
  // Compressible, without zeros at the end.
  for (let i = 0; i < length; i++) bytes[i] = ((i >> 4) * seed) % 251 || 1
  return bytes
}

/** A note with a word of 64 bits. */
export function wordNote(type: number, value: bigint): XenNote {
  const desc = new Uint8Array(8)
  new DataView(desc.buffer).setBigUint64(0, value, true)
  return { type, desc }
}

export function elfImage(change: Partial<Elf> = {}): Uint8Array {
  const { pvh } = { pvh: 0x1000850, ...change }
  return writeElf({
    bits: 64,
    segments: [
      { address: 0x1000000, bytes: bytesOf(0x9000), size: 0x9000 },
      { address: 0x1200000, bytes: bytesOf(0x1234, 7), size: 0x8000 },
    ],
    entry: 0x1000000,
    headerEntry: 0x1000000n,
    notes: pvh === undefined ? [] : [wordNote(NoteType.PHYS32_ENTRY, BigInt(pvh))],
    ...change,
    pvh,
  })
}

interface ImageOptions {
  payload: Uint8Array
  protocol?: number
  xloadflags?: number
  version?: string
}

/** A bzImage around a payload (with its size word): five sectors of setup, then the protected-mode part. */
export function bzImage({
  payload,
  protocol = 0x20f,
  xloadflags = 0x7f,
  version = '6.1.0-test',
}: ImageOptions): Uint8Array {
  const start = 5 * 512
  const payloadOffset = 0x2cc
  const syssize = Math.ceil((payloadOffset + payload.length + 4) / 16)
  const image = new Uint8Array(start + syssize * 16)
  const view = new DataView(image.buffer)
  image[0x1f1] = 4 // setup_sects
  view.setUint32(0x1f4, syssize, true)
  view.setUint16(0x1fe, 0xaa55, true)
  image[0x201] = 0x6a // the header's end: 0x26c
  view.setUint32(0x202, 0x53726448, true)
  view.setUint16(0x206, protocol, true)
  view.setUint16(0x20e, 0x300, true) // kernel_version
  image[0x211] = 1 // loadflags
  view.setUint32(0x22c, 0x7fffffff, true) // initrd_addr_max
  view.setUint32(0x230, 0x200000, true) // kernel_alignment
  image[0x234] = 1 // relocatable_kernel
  view.setUint16(0x236, xloadflags, true)
  view.setUint32(0x238, 2047, true) // cmdline_size
  view.setUint32(0x248, payloadOffset, true)
  view.setUint32(0x24c, payload.length, true)
  view.setUint32(0x258, 0x1000000, true) // pref_address
  view.setUint32(0x260, 0x400000, true) // init_size
  image.set(new TextEncoder().encode(`${version}\0`), 0x500)
  image.set(payload, start + payloadOffset)
  return withCrc(image)
}

/** The last word makes the register of the whole come out as 0. */
export function withCrc(image: Uint8Array): Uint8Array {
  const crc = crc32(image.subarray(0, -4))
  new DataView(image.buffer).setUint32(image.length - 4, ~crc >>> 0, true)
  return image
}

/** Appends the word that says how long the payload is unpacked. */
export function withSize(packed: Uint8Array, size: number): Uint8Array {
  const payload = new Uint8Array(packed.length + 4)
  payload.set(packed)
  new DataView(payload.buffer).setUint32(packed.length, size, true)
  return payload
}

/**
 * The x86 boot image ("bzImage"): the setup header, the protected-mode part with its own decompressor, and the
 * compressed kernel inside it. Documentation/arch/x86/boot.rst of Linux names the fields.
 */
import { crc32 } from '../checksum.ts'
import { BootError } from './error.ts'

export interface BzImage {
  /** Boot protocol version: 0x20f is 2.15. */
  protocol: number
  /** What the kernel calls itself. */
  version: string
  /** The file's bytes 0x1f1 up to the header's end, which boot_params repeats at the same offset. */
  setupHeader: Uint8Array
  /** The part that runs in protected or long mode, with the kernel's decompressor. */
  protectedMode: Uint8Array
  /** Where the protected-mode part likes to be loaded, and the room that must be free from there on. */
  prefAddress: number
  initSize: number
  /** It has the 64-bit entry, 0x200 after the start of the protected-mode part. */
  has64BitEntry: boolean
  cmdlineSize: number
  initrdAddrMax: number
  /** The compressed kernel, or undefined before protocol 2.08. */
  payload: Uint8Array | undefined
}

const SETUP_HEADER = 0x1f1
const HDRS = 0x53726448 // "HdrS"

export const isBzImage = (bytes: Uint8Array): boolean =>
  bytes.length >= 0x206 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0x202, true) === HDRS

export function parseBzImage(bytes: Uint8Array, name: string): BzImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fail = (what: string): never => {
    throw new BootError(`${name}: ${what}`)
  }
  const u8 = (at: number) => view.getUint8(at)
  const u16 = (at: number) => view.getUint16(at, true)
  const u32 = (at: number) => view.getUint32(at, true)

  const headerEnd = 0x202 + bytes[0x201]!
  if (bytes.length < 0x400 || headerEnd > 0x290) fail('truncated or damaged kernel: no whole setup header')
  if (u16(0x1fe) !== 0xaa55) fail('damaged kernel: the setup header has no boot signature')
  const protocol = u16(0x206)
  if (protocol < 0x206)
    fail(
      `boot protocol ${protocol >> 8}.${String(protocol & 0xff).padStart(2, '0')} is too old; 2.06 (Linux 2.6.22) is the oldest that works`,
    )
  if ((u8(0x211) & 1) === 0) fail('a zImage, loaded low; only bzImage works')

  const start = ((u8(0x1f1) || 4) + 1) * 512
  const end = start + u32(0x1f4) * 16
  if (end > bytes.length || start >= end) fail(`truncated kernel: ${bytes.length} bytes of ${end}; fetch it again`)
  checkCrc(bytes.subarray(0, end), protocol, fail)

  const relocatable = u8(0x234) !== 0
  const protectedMode = bytes.subarray(start, end)
  const prefAddress = protocol >= 0x20a && relocatable ? Number(view.getBigUint64(0x258, true)) : 0x100000
  const initSize = protocol >= 0x20a ? u32(0x260) : protectedMode.length * 4
  const xloadflags = protocol >= 0x20c ? u16(0x236) : 0

  let payload: Uint8Array | undefined
  if (protocol >= 0x208 && u32(0x24c) !== 0) {
    const offset = u32(0x248)
    const length = u32(0x24c)
    if (offset + length > protectedMode.length) fail('damaged kernel: the compressed part lies outside the file')
    payload = protectedMode.subarray(offset, offset + length)
  }
  return {
    protocol,
    version: text(bytes, u16(0x20e) === 0 ? bytes.length : u16(0x20e) + 0x200),
    setupHeader: bytes.subarray(SETUP_HEADER, headerEnd),
    protectedMode,
    prefAddress,
    initSize,
    has64BitEntry: (xloadflags & 1) !== 0,
    cmdlineSize: u32(0x238),
    initrdAddrMax: u32(0x22c),
    payload,
  }
}

function text(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at)
  return new TextDecoder('latin1').decode(bytes.subarray(at, end < 0 || end > at + 256 ? at + 256 : end))
}

/**
 * The image ends in a CRC-32 that makes the CRC of the whole come out as a constant (boot.rst, "The Image Checksum").
 * Signing for Secure Boot changes the PE header's CheckSum and certificate table afterwards: those are counted as the
 * zeros they were. Linux 6.16 dropped the CRC; such images end in padding.
 */
function checkCrc(image: Uint8Array, protocol: number, fail: (what: string) => never): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const stored = view.getUint32(image.length - 4, true)
  if (protocol < 0x208 || stored === 0 || stored === 0xffffffff) return
  const holes: [number, number][] = []
  const pe = view.getUint32(0x3c, true)
  if (view.getUint16(0, true) === 0x5a4d && pe < 0x180 && view.getUint32(pe, true) === 0x4550) {
    const optional = pe + 24
    const directories = optional + (view.getUint16(optional, true) === 0x20b ? 112 : 96)
    holes.push([optional + 64, 4], [directories + 32, 8])
  }
  let crc = 0
  let at = 0
  for (const [hole, length] of holes) {
    crc = crc32(image.subarray(at, hole), crc)
    crc = crc32(new Uint8Array(length), crc)
    at = hole + length
  }
  if (crc32(image.subarray(at), crc) !== 0xffffffff) fail('damaged kernel: wrong checksum; fetch it again')
}

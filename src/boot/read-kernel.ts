/** A kernel from its bytes, wherever they come from: nothing here is Node's. */
import { isBzImage, parseBzImage } from './bzimage.ts'
import { isElf, parseElf, type Elf } from './elf.ts'
import { describe, elfKernel, type Kernel } from './entries.ts'
import { BootError } from './error.ts'
import { compressionOf, isUnpackable, type Compression } from './formats.ts'

/** No kernel is larger unpacked; a size word that says so is a bomb. */
const LARGEST = 512 << 20

/** Unpacks to exactly `size` bytes, or throws. */
export type Unpack = (compression: Compression, input: Uint8Array, size: number) => Promise<Uint8Array>

/**
 * Of a bzImage or an ELF file. `unpacked` makes the kernel inside a bzImage; undefined if it is to unpack itself. Throws
 * BootError for anything that is not a whole kernel for x86.
 */
export async function kernelIn(
  bytes: Uint8Array,
  name: string,
  unpacked: (compression: Compression, payload: Uint8Array, name: string) => Promise<Elf | undefined>,
): Promise<Kernel> {
  if (isElf(bytes)) return elfKernel(bytes, name)
  if (!isBzImage(bytes)) throw new BootError(`${name}: ${whatElse(bytes)}`)
  const image = parseBzImage(bytes, name)
  const compression = image.payload && compressionOf(image.payload)
  const elf = compression && isUnpackable(compression) ? await unpacked(compression, image.payload!, name) : undefined
  return describe(name, () => image.version, compression, elf, image)
}

/** Some libraries throw plain strings. */
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The kernel inside a bzImage. */
export async function unpackPayload(
  compression: Compression,
  payload: Uint8Array,
  name: string,
  unpack: Unpack,
): Promise<Elf> {
  // The build appends the unpacked size as a word; gzip's own last word is just that.
  const sizeAt = payload.length - 4
  if (sizeAt < 16) throw new BootError(`${name}: damaged kernel: no compressed data`)
  const size = new DataView(payload.buffer, payload.byteOffset).getUint32(sizeAt, true)
  if (size > LARGEST)
    throw new BootError(
      `${name}: refused: it claims to unpack to ${size >>> 20} MiB; the limit is ${LARGEST >>> 20} MiB`,
    )
  let unpacked: Uint8Array
  try {
    unpacked = await unpack(compression, compression === 'gzip' ? payload : payload.subarray(0, sizeAt), size)
  } catch (error) {
    throw new BootError(`${name}: damaged kernel: its ${compression} data does not unpack (${messageOf(error)})`)
  }
  if (!isElf(unpacked)) throw new BootError(`${name}: damaged kernel: what its ${compression} data holds is not ELF`)
  return parseElf(unpacked, name)
}

/** What a file that is no x86 kernel looks like. */
function whatElse(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const word = (at: number) => (at + 4 <= bytes.length ? view.getUint32(at, true) : 0)
  const other = (machine: string) => `a kernel for ${machine}; this is an x86 machine`
  if (bytes.length === 0) return 'empty file'
  if (word(0x38) === 0x644d5241) return other('arm64')
  if (word(0x38) === 0x05435352) return other('RISC-V')
  if (word(0x24) === 0x016f2818) return other('ARM')
  if (bytes[0] === 0x4d && bytes[1] === 0x5a && word(0x3c) + 6 <= bytes.length && word(word(0x3c)) === 0x4550) {
    const machine = view.getUint16(word(0x3c) + 4, true)
    if (machine === 0xaa64) return other('arm64')
    if (machine === 0x6264) return other('LoongArch')
    return 'an EFI program that is not a Linux kernel'
  }
  const compression = compressionOf(bytes)
  if (compression) return `a ${compression} file; give the kernel itself (unpack it first)`
  return bytes.length < 0x400
    ? 'truncated: too short for a kernel'
    : 'not a Linux kernel: neither bzImage (vmlinuz) nor ELF (vmlinux)'
}

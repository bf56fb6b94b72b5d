/**
 * Reads a Linux kernel of any kind that people have: a bzImage (vmlinuz), an unpacked ELF vmlinux, or a Debian package
 * that holds one. The compressed kernel inside a bzImage is unpacked here, once (the guest would need hundreds of
 * millions of instructions), and kept in the cache by its hash.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { cacheFolder, readBytes, readCached, writeWhole } from '../cache.ts'
import { isBzImage, parseBzImage } from './bzimage.ts'
import { isDeb, kernelInDeb } from './deb.ts'
import type { Elf } from './elf.ts'
import { isElf, parseElf, writeElf } from './elf.ts'
import { describe, elfKernel, type Kernel } from './entries.ts'
import { BootError } from './error.ts'
import type { Compression } from './unpack.ts'
import { compressionOf, isUnpackable, unpack } from './unpack.ts'

/** No kernel is larger unpacked; a size word that says so is a bomb. */
const LARGEST = 512 << 20

/** Loads from a file's path or from bytes. Throws BootError for anything that is not a whole kernel for x86. */
export async function loadKernel(source: string | Uint8Array, name = nameOf(source)): Promise<Kernel> {
  let bytes = typeof source === 'string' ? readKernelFile(source) : source
  if (isDeb(bytes)) bytes = await kernelInDeb(bytes, name)
  if (isElf(bytes)) return elfKernel(bytes, name)
  if (!isBzImage(bytes)) throw new BootError(`${name}: ${whatElse(bytes)}`)
  const image = parseBzImage(bytes, name)
  const compression = image.payload && compressionOf(image.payload)
  const elf =
    compression && isUnpackable(compression) ? await unpackKernel(compression, image.payload!, name) : undefined
  return describe(name, () => image.version, compression, elf, image)
}

const nameOf = (source: string | Uint8Array): string => (typeof source === 'string' ? source : 'kernel')

function readKernelFile(path: string): Uint8Array {
  try {
    return readBytes(path)
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code
    throw new BootError(
      `${path}: ${reason === 'ENOENT' ? 'no such file' : reason === 'EISDIR' ? 'a folder' : (error as Error).message}`,
    )
  }
}

/** Some libraries throw plain strings. */
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

async function unpackKernel(compression: Compression, payload: Uint8Array, name: string): Promise<Elf> {
  const cached = `kernels/${createHash('sha256').update(payload).digest('hex').slice(0, 32)}-notes.elf`
  try {
    const known = readCached(cached)
    if (known) return parseElf(known, name)
  } catch {
    // A cache that cannot be read is made anew.
  }

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
  const elf = parseElf(unpacked, name)
  try {
    writeWhole(join(cacheFolder(), cached), writeElf(elf))
  } catch {
    // A cache that cannot be written costs time, nothing else.
  }
  return elf
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

/**
 * Reads a Linux kernel of any kind that people have: a bzImage (vmlinuz), an unpacked ELF vmlinux, or a Debian package
 * that holds one. The compressed kernel inside a bzImage is unpacked here, once (the guest would need hundreds of
 * millions of instructions), and kept in the cache by its hash.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { cacheFolder, readBytes, readCached, writeWhole } from '../cache.ts'
import { isDeb, kernelInDeb } from './deb.ts'
import { parseElf, writeElf, type Elf } from './elf.ts'
import type { Kernel } from './entries.ts'
import { BootError } from './error.ts'
import type { Compression } from './formats.ts'
import { kernelIn, unpackPayload } from './read-kernel.ts'
import { unpack } from './unpack.ts'

/** Loads from a file's path or from bytes. Throws BootError for anything that is not a whole kernel for x86. */
export async function loadKernel(source: string | Uint8Array, name = nameOf(source)): Promise<Kernel> {
  let bytes = typeof source === 'string' ? readKernelFile(source) : source
  if (isDeb(bytes)) bytes = await kernelInDeb(bytes, name)
  return kernelIn(bytes, name, unpackKernel)
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

async function unpackKernel(compression: Compression, payload: Uint8Array, name: string): Promise<Elf> {
  const cached = `kernels/${createHash('sha256').update(payload).digest('hex').slice(0, 32)}-notes.elf`
  try {
    const known = readCached(cached)
    if (known) return parseElf(known, name)
  } catch {
    // A cache that cannot be read is made anew.
  }

  const elf = await unpackPayload(compression, payload, name, unpack)
  try {
    writeWhole(join(cacheFolder(), cached), writeElf(elf))
  } catch {
    // A cache that cannot be written costs time, nothing else.
  }
  return elf
}

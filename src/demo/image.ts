/**
 * The project's own kernel (guests/pvops) as an ELF file: assembled in a checkout, beside this file in the published
 * package (scripts/build.ts).
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Bits = 32 | 64

interface Source {
  pvopsKernel(bits: Bits): Uint8Array
}

export const publishedImage = (folder: string, bits: Bits): string => join(folder, `pvops${bits}.elf`)

export async function pvopsImage(bits: Bits): Promise<Uint8Array> {
  const published = publishedImage(import.meta.dirname, bits)
  if (existsSync(published)) return readFileSync(published)
  // Not a part of the package's program, hence no plain import.
  const source = new URL('../../guests/pvops/kernel.ts', import.meta.url).href
  return ((await import(source)) as Source).pvopsKernel(bits)
}

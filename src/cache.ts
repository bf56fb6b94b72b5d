/** Where generated code, unpacked kernels and package files are kept between runs. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** The cache's folder; created if missing. */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'] ?? (process.env['HOME'] ? join(process.env['HOME'], '.cache') : tmpdir())
  const folder = join(base, 'paravirt')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** Writes a file so that other processes see all of it or nothing. */
export function writeWhole(path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}`
  try {
    writeFileSync(temporary, bytes)
    renameSync(temporary, path)
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** The cached bytes of `name`, or undefined. */
export function readCached(name: string): Uint8Array | undefined {
  const path = join(cacheFolder(), name)
  return existsSync(path) ? readBytes(path) : undefined
}

/** A file as plain bytes: a Buffer's slice() would share them instead of copying. */
export function readBytes(path: string): Uint8Array {
  const { buffer, byteOffset, length } = readFileSync(path)
  return new Uint8Array(buffer, byteOffset, length)
}

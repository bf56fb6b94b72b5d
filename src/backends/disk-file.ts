/** A raw image file as a disk, and a temporary file for what a copy-on-write disk changes. */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InputError } from '../errors.ts'
import { BLOCK, type BlockStore, type Disk, SECTOR } from './disk.ts'

export interface FileDiskOptions {
  readonly readOnly?: boolean
  /** Flushes are done before the call returns, so that the order of events does not depend on the host. */
  readonly deterministic?: boolean
}

export class FileDisk implements Disk {
  readonly size: number
  readonly readOnly: boolean
  readonly #file: number
  readonly #deterministic: boolean

  private constructor(file: number, size: number, { readOnly = false, deterministic = false }: FileDiskOptions) {
    this.#file = file
    this.size = size
    this.readOnly = readOnly
    this.#deterministic = deterministic
  }

  /** Throws InputError for what is no disk. */
  static open(path: string, options: FileDiskOptions = {}): FileDisk {
    let file: number
    try {
      file = openSync(path, options.readOnly ? 'r' : 'r+')
    } catch (error) {
      throw new InputError(
        `${path}: ${reasons[(error as NodeJS.ErrnoException).code ?? ''] ?? (error as Error).message}`,
      )
    }
    const status = fstatSync(file)
    const size = status.size - (status.size % SECTOR)
    if (status.isFile() && size > 0) return new FileDisk(file, size, options)
    closeSync(file)
    if (!status.isFile()) throw new InputError(`${path}: not a file; a disk is a raw image`)
    throw new InputError(`${path}: too small for a disk: ${status.size} bytes`)
  }

  read(offset: number, into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      const count = readSync(this.#file, into, at, into.length - at, offset + at)
      // Somebody has made the file shorter meanwhile.
      if (count === 0) throw new Error(`the image ends at ${offset + at}`)
      at += count
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at, bytes.length - at, offset + at)
  }

  flush(done: (error?: Error) => void): void {
    if (!this.#deterministic) {
      fdatasync(this.#file, (error) => (error ? done(error) : done()))
      return
    }
    fdatasyncSync(this.#file)
    done()
  }

  close(): void {
    closeSync(this.#file)
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'a folder',
  EACCES: 'no permission to use it; `readonly` or `cow` need only permission to read',
  EROFS: 'on a file system that cannot be written; `readonly` and `cow` only read it',
  ENOTDIR: 'no such file',
}

/** A sparse temporary file; it is gone with the process, whatever ends it. */
export class FileBlocks implements BlockStore {
  readonly #file: number

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'paravirt-disk-'))
    try {
      this.#file = openSync(join(folder, 'changes'), 'wx+', 0o600)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  read(block: number, into: Uint8Array): void {
    if (readSync(this.#file, into, 0, BLOCK, block * BLOCK) !== BLOCK) throw new Error('a changed block has gone')
  }

  write(block: number, bytes: Uint8Array): void {
    if (writeSync(this.#file, bytes, 0, BLOCK, block * BLOCK) !== BLOCK) throw new Error('no room for a changed block')
  }

  close(): void {
    closeSync(this.#file)
  }
}

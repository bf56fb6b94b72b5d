/**
 * Disks: what a block device stands on. Bytes by their offset, always whole sectors, done when the call returns; what
 * takes long (a flush) says when it is done. Nothing here needs Node; a file as a disk is in `disk-file.ts`.
 */

import type { Stateful, Transfer } from '../snapshot/stateful.ts'

export const SECTOR = 512

/** Stateful: what it holds goes into snapshots. Of others, whoever restores one gives the disk as it was. */
export interface Disk extends Partial<Stateful> {
  /** Bytes; whole sectors. */
  readonly size: number
  readonly readOnly: boolean
  /** Throws an Error where the medium fails; so do the others. */
  read(offset: number, into: Uint8Array): void
  write(offset: number, bytes: Uint8Array): void
  /** Everything written so far is safe when `done` is called, without an error. */
  flush(done: (error?: Error) => void): void
  /** Nobody needs these bytes any more; they read as zeros from now on. Undefined: it cannot be told. */
  readonly discard?: ((offset: number, length: number) => void) | undefined
  close(): void
}

/** A disk in memory: the caller's bytes, which it can look at later. */
export class MemoryDisk implements Disk {
  readonly size: number
  readonly readOnly: boolean
  readonly #bytes: Uint8Array

  /** What is after the last whole sector is left out. */
  constructor(bytes: Uint8Array, readOnly = false) {
    this.#bytes = bytes
    this.size = bytes.length - (bytes.length % SECTOR)
    this.readOnly = readOnly
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset)
  }

  flush(done: (error?: Error) => void): void {
    done()
  }

  discard(offset: number, length: number): void {
    this.#bytes.fill(0, offset, offset + length)
  }

  close(): void {}
}

/** Copy-on-write works in blocks of this many bytes. */
export const BLOCK = 4096

/** Where the blocks go that a copy-on-write disk has changed, by their number. */
export interface BlockStore {
  read(block: number, into: Uint8Array): void
  write(block: number, bytes: Uint8Array): void
  close(): void
}

export class MemoryBlocks implements BlockStore {
  readonly #blocks = new Map<number, Uint8Array>()

  read(block: number, into: Uint8Array): void {
    into.set(this.#blocks.get(block) as Uint8Array)
  }

  write(block: number, bytes: Uint8Array): void {
    const known = this.#blocks.get(block)
    if (known) known.set(bytes)
    else this.#blocks.set(block, bytes.slice())
  }

  close(): void {
    this.#blocks.clear()
  }
}

/** A disk that leaves another one as it is and keeps what is written elsewhere, for as long as it is open. */
export class OverlayDisk implements Disk, Stateful {
  readonly size: number
  readonly readOnly = false
  readonly #base: Disk
  readonly #changed: BlockStore
  /** Blocks that are not the base's any more: changed, or all zeros. */
  readonly #state = new Map<number, 'changed' | 'zero'>()
  readonly #block = new Uint8Array(BLOCK)

  constructor(base: Disk, changed: BlockStore) {
    this.#base = base
    this.#changed = changed
    this.size = base.size
  }

  transfer(state: Transfer): void {
    state.map('state', this.#state)
    const changed = [...this.#state].flatMap(([block, is]) => (is === 'changed' ? [block] : []))
    const blocks = changed.map((block) => {
      const bytes = new Uint8Array(BLOCK)
      if (!state.loading) this.#changed.read(block, bytes)
      return bytes
    })
    state.list('blocks', blocks)
    if (state.loading) for (const [i, block] of changed.entries()) this.#changed.write(block, blocks[i] as Uint8Array)
  }

  read(offset: number, into: Uint8Array): void {
    this.#base.read(offset, into)
    this.#each(offset, into.length, (block, from, at, length) => {
      const state = this.#state.get(block)
      if (state === 'zero') into.fill(0, at, at + length)
      if (state !== 'changed') return
      this.#changed.read(block, this.#block)
      into.set(this.#block.subarray(from, from + length), at)
    })
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#each(offset, bytes.length, (block, from, at, length) => {
      if (length < BLOCK) this.#load(block)
      this.#block.set(bytes.subarray(at, at + length), from)
      this.#changed.write(block, this.#block)
      this.#state.set(block, 'changed')
    })
  }

  /** What is written does not outlive the disk, so there is nothing to make safe. */
  flush(done: (error?: Error) => void): void {
    done()
  }

  discard(offset: number, length: number): void {
    this.#each(offset, length, (block, from, _, part) => {
      if (part === BLOCK) {
        this.#state.set(block, 'zero')
        return
      }
      this.#load(block)
      this.#block.fill(0, from, from + part)
      this.#changed.write(block, this.#block)
      this.#state.set(block, 'changed')
    })
  }

  close(): void {
    this.#changed.close()
    this.#base.close()
  }

  /** A block as it is now, into `#block`. */
  #load(block: number): void {
    const start = block * BLOCK
    this.#block.fill(0)
    const state = this.#state.get(block)
    if (state === 'changed') this.#changed.read(block, this.#block)
    else if (state === undefined) this.#base.read(start, this.#block.subarray(0, Math.min(BLOCK, this.size - start)))
  }

  #each(offset: number, total: number, visit: (block: number, from: number, at: number, length: number) => void): void {
    for (let at = 0; at < total; ) {
      const from = (offset + at) % BLOCK
      const length = Math.min(BLOCK - from, total - at)
      visit(Math.floor((offset + at) / BLOCK), from, at, length)
      at += length
    }
  }
}

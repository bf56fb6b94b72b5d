/**
 * What a block device does, whatever ring its requests come by: whole sectors of 512 bytes in and out of the guest's
 * buffers, within the disk. Transports say how requests look and what their guests are answered.
 */
import { type Disk, SECTOR } from '../../backends/disk.ts'
import type { GuestBuffers } from '../../paravirt/sharing.ts'

export type BlockStatus = 'ok' | 'error' | 'unsupported'

export class BlockDevice {
  readonly #disk: Disk
  readonly #onFailure: (what: string) => void
  #scratch = new Uint8Array(0)

  /** `onFailure` is told, in a few words, when the medium failed. */
  constructor(disk: Disk, onFailure: (what: string) => void = () => {}) {
    this.#disk = disk
    this.#onFailure = onFailure
  }

  get sectors(): number {
    return this.#disk.size / SECTOR
  }

  get readOnly(): boolean {
    return this.#disk.readOnly
  }

  get canDiscard(): boolean {
    return this.#disk.discard !== undefined && !this.readOnly
  }

  /** These sectors are there, and may be written if that is asked. */
  allows(sector: bigint, count: bigint, writing: boolean): boolean {
    return !(writing && this.readOnly) && sector + count <= BigInt(this.sectors)
  }

  /** `into` is a whole number of sectors, as is `from` below. */
  read(sector: bigint, into: GuestBuffers): BlockStatus {
    if (!this.allows(sector, BigInt(into.length / SECTOR), false)) return 'error'
    const bytes = this.#room(into.length)
    return this.#try('read', () => {
      this.#disk.read(Number(sector) * SECTOR, bytes)
      into.write(bytes)
    })
  }

  write(sector: bigint, from: GuestBuffers): BlockStatus {
    if (!this.allows(sector, BigInt(from.length / SECTOR), true)) return 'error'
    const bytes = this.#room(from.length)
    let at = 0
    for (const view of from.views()) {
      bytes.set(view, at)
      at += view.length
    }
    return this.#try('write', () => this.#disk.write(Number(sector) * SECTOR, bytes))
  }

  /** `done` is called once all that was written is safe: at once, or later. */
  flush(done: (status: BlockStatus) => void): void {
    this.#disk.flush((error) => {
      if (error) this.#onFailure(`flush: ${error.message}`)
      done(error ? 'error' : 'ok')
    })
  }

  discard(sector: bigint, count: bigint): BlockStatus {
    if (!this.allows(sector, count, true)) return 'error'
    const { discard } = this.#disk
    if (!discard) return 'unsupported'
    return this.#try('discard', () => discard.call(this.#disk, Number(sector) * SECTOR, Number(count) * SECTOR))
  }

  #room(length: number): Uint8Array {
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(length)
    return this.#scratch.subarray(0, length)
  }

  #try(what: string, action: () => void): BlockStatus {
    try {
      action()
      return 'ok'
    } catch (error) {
      this.#onFailure(`${what}: ${error instanceof Error ? error.message : String(error)}`)
      return 'error'
    }
  }
}

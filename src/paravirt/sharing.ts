/**
 * Sharing: memory that a guest lends to what serves it, whatever the transport: grants, descriptor chains, GPADLs. A
 * transport checks every piece once and makes a list of them; block, net and file semantics see only that list.
 */

/** A run of guest memory that has been checked: all of it is RAM, lent for reading or for writing too. */
export interface GuestRange {
  /** The guest's memory itself, to be read. What is in it may change whenever the guest runs. */
  readonly bytes: Uint8Array
  /** Writes go through here, so that decoded code is dropped where it changes. Not beyond the range. */
  write(offset: number, bytes: Uint8Array): void
}

export interface SharedPage extends GuestRange {
  /** Give it back: the guest may use it for something else from now on. */
  release(): void
}

/** Pages by the references that a guest gives out. */
export interface Sharing {
  /** Undefined: there is no such page, or it is not lent for this. */
  map(reference: number, writable: boolean): SharedPage | undefined
  /** While a snapshot is loaded: what was mapped when it was taken. */
  restore(reference: number, writable: boolean): SharedPage
  /** A copy of part of a page, without mapping it; undefined as above, or beyond what was lent. */
  read(reference: number, offset: number, length: number): Uint8Array | undefined
  /** False as above; then nothing is written. */
  write(reference: number, offset: number, bytes: Uint8Array): boolean
}

interface Piece {
  readonly range: GuestRange
  readonly offset: number
  readonly length: number
}

/** Pieces of guest memory in order, as one run of bytes. */
export class GuestBuffers {
  readonly #pieces: Piece[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Throws RangeError if it is not within the range: transports check before. */
  add(range: GuestRange, offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > range.bytes.length)
      throw new RangeError(`bytes ${offset} to ${offset + length} of ${range.bytes.length}`)
    this.#pieces.push({ range, offset, length })
    this.#length += length
  }

  /** What the guest has there now, in pieces. */
  *views(): Generator<Uint8Array> {
    for (const { range, offset, length } of this.#pieces) yield range.bytes.subarray(offset, offset + length)
  }

  /** A copy of all of it: the guest cannot change it any more. */
  read(): Uint8Array {
    const result = new Uint8Array(this.#length)
    let at = 0
    for (const view of this.views()) {
      result.set(view, at)
      at += view.length
    }
    return result
  }

  /** Fill from the start; what does not fit is left out. */
  write(bytes: Uint8Array): void {
    let at = 0
    for (const { range, offset, length } of this.#pieces) {
      if (at >= bytes.length) return
      const part = bytes.subarray(at, at + length)
      range.write(offset, part)
      at += part.length
    }
  }
}

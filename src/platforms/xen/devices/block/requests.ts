/** Requests on a block ring, in both layouts that guests of x86 use (xen/io/blkif.h, "blkif_request"). */

export const Operation = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const

export const Status = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const

/** Segments in a request, and in one whose segments are in other pages. */
export const MAX_SEGMENTS = 11
export const MAX_INDIRECT_SEGMENTS = 256
const SEGMENT_SIZE = 8
export const SEGMENTS_PER_PAGE = 4096 / SEGMENT_SIZE
const INDIRECT_REFERENCES = 8

export type Protocol = 'x86_64-abi' | 'x86_32-abi'

/** Where the fields are. 64-bit guests align 64-bit fields, 32-bit ones do not. */
const layouts = {
  'x86_64-abi': {
    size: 112,
    id: 8,
    sector: 16,
    segments: 24,
    discardCount: 24,
    handle: 24,
    references: 28,
    response: 16,
  },
  'x86_32-abi': {
    size: 108,
    id: 4,
    sector: 12,
    segments: 20,
    discardCount: 20,
    handle: 20,
    references: 24,
    response: 12,
  },
} as const

export const requestSize = (protocol: Protocol): number => layouts[protocol].size

export interface Segment {
  readonly reference: number
  readonly first: number
  readonly last: number
}

export class BlockRequest {
  readonly operation: number
  readonly id: bigint
  readonly #view: DataView
  readonly #layout: (typeof layouts)[Protocol]

  constructor(bytes: Uint8Array, protocol: Protocol) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#layout = layouts[protocol]
    this.operation = this.#view.getUint8(0)
    this.id = this.#view.getBigUint64(this.#layout.id, true)
  }

  /** What an indirect request does. */
  get indirectOperation(): number {
    return this.#view.getUint8(1)
  }

  get sector(): bigint {
    return this.#view.getBigUint64(this.#layout.sector, true)
  }

  get discardCount(): bigint {
    return this.#view.getBigUint64(this.#layout.discardCount, true)
  }

  /** How many segments it says that it has. */
  get count(): number {
    return this.operation === Operation.INDIRECT ? this.#view.getUint16(2, true) : this.#view.getUint8(1)
  }

  segment(index: number): Segment {
    return segmentAt(this.#view, this.#layout.segments + SEGMENT_SIZE * index)
  }

  /** Of the pages in which an indirect request has its segments. */
  reference(index: number): number {
    return index < INDIRECT_REFERENCES ? this.#view.getUint32(this.#layout.references + 4 * index, true) : 0
  }
}

/** A segment in a page of an indirect request. */
export function segmentAt(view: DataView, offset: number): Segment {
  return {
    reference: view.getUint32(offset, true),
    first: view.getUint8(offset + 4),
    last: view.getUint8(offset + 5),
  }
}

export function encodeResponse(protocol: Protocol, id: bigint, operation: number, status: number): Uint8Array {
  const bytes = new Uint8Array(layouts[protocol].response)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, id, true)
  view.setUint8(8, operation)
  view.setInt16(10, status, true)
  return bytes
}

/** Requests on a block ring, in both layouts that guests of x86 use (xen/io/blkif.h, "blkif_request"). */
import { type Argument, type ArgumentValue, type Declaration, ringRequest } from '../../../../paravirt/requests.ts'

export const Operation = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const

export const Status = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const
/** As xen/io/blkif.h calls those that are errors. */
export const statusNames: Readonly<Record<number, string>> = {
  [Status.ERROR]: 'BLKIF_RSP_ERROR',
  [Status.EOPNOTSUPP]: 'BLKIF_RSP_EOPNOTSUPP',
}

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

  /** As they came. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset, this.#view.byteLength)
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

const SOURCE = 'xen/io/blkif.h'
const argument = (name: string, kind: 'text' | 'u8' | 'u16' | 'u64'): Argument => ({ name, type: { kind } })
const device = argument('device', 'text')
const id = argument('id', 'u64')
const sector = argument('sector_number', 'u64')
const moving = [device, id, sector, argument('nr_segments', 'u8')]

const badSegments = 'no segments or more than 11, a segment that is none, a bad grant, sectors beyond the disk'
const failed = 'the disk has failed'
const unwritable = `${badSegments}, a disk that is read-only, or ${failed}`

/** What a guest can ask of its disks. */
export const blockDeclarations: readonly Declaration[] = [
  ringRequest({
    number: Operation.READ,
    name: 'BLKIF_OP_READ',
    summary: 'read sectors into segments of pages',
    args: moving,
    errors: { BLKIF_RSP_ERROR: `${badSegments}, or ${failed}` },
    source: SOURCE,
  }),
  ringRequest({
    number: Operation.WRITE,
    name: 'BLKIF_OP_WRITE',
    summary: 'write sectors from segments of pages',
    args: moving,
    errors: { BLKIF_RSP_ERROR: unwritable },
    source: SOURCE,
  }),
  ringRequest({
    number: Operation.WRITE_BARRIER,
    name: 'BLKIF_OP_WRITE_BARRIER',
    summary: 'write sectors, if any; all that was answered before is safe, and they are',
    args: moving,
    errors: { BLKIF_RSP_ERROR: unwritable },
    source: SOURCE,
  }),
  ringRequest({
    number: Operation.FLUSH_DISKCACHE,
    name: 'BLKIF_OP_FLUSH_DISKCACHE',
    summary: 'all that was answered before is safe',
    args: moving,
    errors: { BLKIF_RSP_ERROR: unwritable },
    source: SOURCE,
  }),
  ringRequest({
    number: Operation.DISCARD,
    name: 'BLKIF_OP_DISCARD',
    summary: 'what these sectors hold is no longer needed',
    args: [device, id, sector, argument('nr_sectors', 'u64')],
    errors: {
      BLKIF_RSP_ERROR: 'no sectors, or some beyond the disk, or a disk that is read-only',
      BLKIF_RSP_EOPNOTSUPP: 'a raw image',
    },
    source: SOURCE,
  }),
  ringRequest({
    number: Operation.INDIRECT,
    name: 'BLKIF_OP_INDIRECT',
    summary: 'a read or a write of up to 256 segments, which are listed in other pages',
    args: [
      device,
      id,
      sector,
      argument('nr_segments', 'u16'),
      { name: 'indirect_op', type: { kind: 'choice', values: { BLKIF_OP_READ: 0, BLKIF_OP_WRITE: 1 } } },
    ],
    errors: { BLKIF_RSP_ERROR: `neither a read nor a write, more than 256 segments, ${unwritable}` },
    source: SOURCE,
  }),
]

const unknownOperation = ringRequest({
  number: -1,
  name: 'BLKIF_OP_unknown',
  summary: 'an operation that does not exist',
  args: [device, id, argument('operation', 'u8')],
  errors: { BLKIF_RSP_EOPNOTSUPP: 'always' },
  source: SOURCE,
})

const byOperation = new Map(blockDeclarations.map((each) => [each.number, each]))
export const blockDeclaration = ({ operation }: BlockRequest): Declaration =>
  byOperation.get(operation) ?? unknownOperation

/** Values of a request's arguments. */
export function blockValues(name: string, request: BlockRequest): ArgumentValue[] {
  const { operation, id: own, sector: first } = request
  switch (operation) {
    case Operation.DISCARD:
      return [name, own, first, request.discardCount]
    case Operation.INDIRECT:
      return [name, own, first, BigInt(request.count), BigInt(request.indirectOperation)]
    default:
      return byOperation.has(operation) ? [name, own, first, BigInt(request.count)] : [name, own, BigInt(operation)]
  }
}

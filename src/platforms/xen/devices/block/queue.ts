/**
 * A ring of a block device: takes requests, checks them as xen-blkback does, and answers. What is wrong with a request
 * is answered on the ring; indices that are no ring's stop the ring until the frontend connects again.
 */
import type { BlockDevice, BlockStatus } from '../../../../devices/block/block.ts'
import type { RingWatch } from '../../../../paravirt/observe.ts'
import { GuestBuffers } from '../../../../paravirt/sharing.ts'
import type { Signal, Signals } from '../../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../../snapshot/stateful.ts'
import type { BackRing } from '../ring.ts'
import type { BlockPages } from './grants.ts'
import {
  blockDeclaration,
  BlockRequest,
  blockValues,
  encodeResponse,
  MAX_INDIRECT_SEGMENTS,
  MAX_SEGMENTS,
  Operation,
  type Protocol,
  type Segment,
  segmentAt,
  SEGMENTS_PER_PAGE,
  Status,
  statusNames,
} from './requests.ts'

const SECTOR = 512
const SECTORS_PER_PAGE = 8
/** Bytes moved before the vCPUs get their turn again. */
const SLICE = 4 << 20

const statuses: Readonly<Record<BlockStatus, number>> = {
  ok: Status.OKAY,
  error: Status.ERROR,
  unsupported: Status.EOPNOTSUPP,
}

export interface BlockQueueOptions {
  readonly device: BlockDevice
  readonly ring: BackRing
  readonly pages: BlockPages
  readonly protocol: Protocol
  readonly canDiscard: boolean
  readonly rings: RingWatch
  /** What its device is called where its requests are told. */
  readonly name: string
  readonly signals: Signals
  /** Have `run` called soon. */
  readonly schedule: () => void
  readonly wake: () => void
}

/** A request that ends when the disk has made everything safe; `begun`: it has been told to. */
type Flush = {
  readonly request: Uint8Array
  /** What became of the request's own data. */
  readonly written: BlockStatus
  begun: boolean
}

export class BlockQueue implements Stateful {
  readonly #options: BlockQueueOptions
  #signal: Signal | undefined
  /** Bytes moved in this turn. */
  #moved = 0
  readonly #flushes: Flush[] = []
  #stopped = false

  constructor(options: BlockQueueOptions) {
    this.#options = options
  }

  attach(signal: Signal): void {
    this.#signal = signal
  }

  transfer(state: Transfer): void {
    const { ring, pages, signals, schedule } = this.#options
    state.part('ring', ring)
    state.part('pages', pages)
    this.#stopped = state.field('stopped', this.#stopped)
    // Another machine has to begin them again.
    const flushes = this.#flushes.map((flush) => ({ ...flush, begun: false }))
    state.list('flushes', flushes)
    if (state.loading) this.#flushes.splice(0, Infinity, ...flushes)
    else if (flushes.length > 0) schedule()
    const own = state.field('signal', this.#signal?.own)
    if (state.loading && own !== undefined) this.#signal = signals.restore(own, schedule)
  }

  close(): void {
    this.#stopped = true
    this.#signal?.close()
    this.#options.pages.release()
    this.#options.ring.release()
  }

  /** Do what waits on the ring. */
  run(): void {
    const { ring, schedule } = this.#options
    this.#moved = 0
    for (const flush of this.#flushes.slice()) if (!flush.begun) this.#flush(flush)
    for (;;) {
      if (this.#stopped) return
      if (ring.overflown) {
        this.#stopped = true
        return
      }
      while (ring.waiting > 0) {
        if (this.#moved >= SLICE) {
          this.#announce()
          schedule()
          return
        }
        const request = new BlockRequest(ring.peek(), this.#options.protocol)
        ring.take()
        this.#dispatch(request)
      }
      this.#announce()
      ring.listen()
      if (ring.waiting === 0) return
    }
  }

  #announce(): void {
    if (this.#options.ring.announce()) this.#signal?.raise()
  }

  #dispatch(request: BlockRequest): void {
    const { device, pages, rings, name } = this.#options
    const operation = carriedOut(request)
    const respond = (status: number) => this.#respond(request, status)
    const refused = rings.refusal(blockDeclaration(request), () => blockValues(name, request))
    if (refused !== undefined) {
      respond(refused === statusNames[Status.ERROR] ? Status.ERROR : Status.EOPNOTSUPP)
      return
    }
    switch (request.operation) {
      case Operation.DISCARD:
        respond(this.#discard(request.sector, request.discardCount))
        return
      case Operation.READ:
      case Operation.WRITE:
      case Operation.WRITE_BARRIER:
      case Operation.FLUSH_DISKCACHE:
      case Operation.INDIRECT:
        break
      default:
        respond(Status.EOPNOTSUPP)
        return
    }
    const reading = operation === Operation.READ
    const buffers = this.#buffers(request, operation, reading)
    if (!buffers) {
      pages.done()
      respond(Status.ERROR)
      return
    }
    this.#moved += buffers.length + SECTOR
    if (reading || operation === Operation.WRITE) {
      const status = reading ? device.read(request.sector, buffers) : device.write(request.sector, buffers)
      pages.done()
      respond(statuses[status])
      return
    }
    // What was answered before is safe before these are; both may carry data of their own.
    const written = buffers.length > 0 ? device.write(request.sector, buffers) : 'ok'
    pages.done()
    const flush: Flush = { request: request.bytes, written, begun: false }
    this.#flushes.push(flush)
    this.#flush(flush)
  }

  /** No sectors are nowhere beyond the disk, but nothing that can be discarded (blkdev_issue_discard). */
  #discard(sector: bigint, count: bigint): number {
    const { device, canDiscard } = this.#options
    if (!device.allows(count === 0n ? 0n : sector, count, true)) return Status.ERROR
    if (!canDiscard) return Status.EOPNOTSUPP
    return count === 0n ? Status.ERROR : statuses[device.discard(sector, count)]
  }

  #flush(flush: Flush): void {
    const { written } = flush
    const request = new BlockRequest(flush.request, this.#options.protocol)
    flush.begun = true
    let now = true
    this.#options.device.flush((flushed) => {
      this.#flushes.splice(this.#flushes.indexOf(flush), 1)
      if (this.#stopped) return
      this.#respond(request, statuses[written === 'ok' ? flushed : written])
      if (now) return
      this.#announce()
      this.#options.wake()
    })
    now = false
  }

  /** The guest's memory for a request that moves data or flushes; undefined if something is wrong with it. */
  #buffers(request: BlockRequest, operation: number, reading: boolean): GuestBuffers | undefined {
    const { device, pages } = this.#options
    const indirect = request.operation === Operation.INDIRECT
    if (indirect && operation !== Operation.READ && operation !== Operation.WRITE) return undefined
    const { count } = request
    const flush = operation === Operation.FLUSH_DISKCACHE || operation === Operation.WRITE_BARRIER
    if ((count === 0 && !flush) || count > (indirect ? MAX_INDIRECT_SEGMENTS : MAX_SEGMENTS)) return undefined
    const segments = indirect
      ? this.#indirectSegments(request, count)
      : Array.from({ length: count }, (_, i) => request.segment(i))
    if (!segments?.every(({ first, last }) => first <= last && last < SECTORS_PER_PAGE)) return undefined
    const sectors = segments.reduce((sum, { first, last }) => sum + last - first + 1, 0)
    // Without sectors nothing is out of bounds.
    if (!device.allows(sectors === 0 ? 0n : request.sector, BigInt(sectors), !reading)) return undefined
    const buffers = new GuestBuffers()
    for (const { reference, first, last } of segments) {
      const page = pages.get(reference, reading)
      if (!page) return undefined
      buffers.add(page, first * SECTOR, (last - first + 1) * SECTOR)
    }
    return buffers
  }

  #indirectSegments(request: BlockRequest, count: number): Segment[] | undefined {
    const segments: Segment[] = []
    for (let at = 0; at < count; at++) {
      const page = this.#options.pages.get(request.reference(Math.floor(at / SEGMENTS_PER_PAGE)), false)
      if (!page) return undefined
      const view = new DataView(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length)
      segments.push(segmentAt(view, 8 * (at % SEGMENTS_PER_PAGE)))
    }
    return segments
  }

  #respond(request: BlockRequest, status: number): void {
    const { ring, protocol, rings, name } = this.#options
    ring.respond(encodeResponse(protocol, request.id, carriedOut(request), status))
    rings.note(blockDeclaration(request), () => blockValues(name, request), statusNames[status] ?? 0n)
  }
}

/** What a request does, however its segments come. */
function carriedOut(request: BlockRequest): number {
  return request.operation === Operation.INDIRECT ? request.indirectOperation : request.operation
}

/**
 * A domain's connection to the store: the page with a ring of bytes in each direction (xenstore-ring.txt, xs_wire.h).
 * The guest may write anything into it: indices that are no ring's and messages that are too long end the connection,
 * with the reason in the page, as xenstored does.
 */
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Signal, Signals } from '../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Connection } from './connection.ts'
import type { StoreServer } from './server.ts'
import { HEADER_SIZE, PAYLOAD_MAX } from './wire.ts'

/** struct xenstore_domain_interface. */
const Ring = {
  SIZE: 1024,
  REQUESTS: 0,
  RESPONSES: 1024,
  REQUEST_CONSUMER: 2048,
  REQUEST_PRODUCER: 2052,
  RESPONSE_CONSUMER: 2056,
  RESPONSE_PRODUCER: 2060,
  CONNECTION: 2068,
  ERROR: 2072,
} as const
const MASK = Ring.SIZE - 1

const RECONNECT = 1
const CONNECTED = 0
/** XENSTORE_ERROR_*. */
const RingError = { INDEX: 2, PROTOCOL: 3 } as const

export interface StoreRingOptions {
  readonly server: StoreServer
  readonly domain: number
  readonly page: SharedPage
  readonly signals: Signals
  /** The guest's end of the event channel. */
  readonly port: number
  /** An event at a time, to go on where the rate of writes was too high. */
  readonly deadline: (callback: () => void) => { set(at: number): void }
}

export class StoreRing implements Stateful {
  readonly #server: StoreServer
  readonly #connection: Connection
  readonly #page: SharedPage
  readonly #view: DataView
  readonly #word = new Uint8Array(4)
  readonly #signals: Signals
  readonly #stop: () => void
  readonly #later: { set(at: number): void }
  #signal: Signal | undefined
  /** What has come of a message: header, then header and payload. */
  readonly #input = new Uint8Array(HEADER_SIZE + PAYLOAD_MAX)
  #received = 0
  #busy = false

  constructor({ server, domain, page, signals, port, deadline }: StoreRingOptions) {
    this.#server = server
    this.#signals = signals
    this.#page = page
    this.#view = new DataView(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length)
    this.#connection = server.connect(domain)
    this.#later = deadline(() => this.service())
    for (const index of [Ring.REQUEST_CONSUMER, Ring.REQUEST_PRODUCER, Ring.RESPONSE_CONSUMER, Ring.RESPONSE_PRODUCER])
      this.#set(index, 0)
    const reconnecting = this.#get(Ring.CONNECTION) === RECONNECT
    if (reconnecting) this.#set(Ring.CONNECTION, CONNECTED)
    this.#signal = signals.connect(port, () => this.service())
    if (reconnecting) this.#signal?.raise()
    // Events that others cause are sent when they arise.
    this.#stop = server.onDone(() => this.service())
    server.fireSpecial('@introduceDomain')
  }

  transfer(state: Transfer): void {
    state.array('input', this.#input)
    this.#received = state.field('received', this.#received)
    const own = state.field('signal', this.#signal?.own)
    if (state.loading) this.#signal = own === undefined ? undefined : this.#signals.restore(own, () => this.service())
  }

  /** The domain is gone, or is no longer served. */
  close(): void {
    this.#stop()
    this.#later.set(Infinity)
    this.#signal?.close()
    this.#signal = undefined
    this.#server.disconnect(this.#connection)
    this.#page.release()
    this.#server.fireSpecial('@releaseDomain')
  }

  /** The domain's end of the event channel has changed: it was suspended and has come back. */
  reconnect(port: number): void {
    this.#signal?.close()
    this.#signal = this.#signals.connect(port, () => this.service())
    this.service()
  }

  /** Take requests and send answers as long as there is something to do. */
  service(): void {
    if (this.#busy || this.#connection.ignored || !this.#signal) return
    this.#busy = true
    let moved = false
    let served = false
    try {
      for (;;) {
        const received = this.#receive()
        const sent = this.#send()
        served ||= received
        if (!received && !sent) break
        moved = true
      }
    } finally {
      this.#busy = false
    }
    if (moved) this.#signal?.raise()
    if (served) this.#server.done()
  }

  /** Take what there is of the next message, and do it when it is whole. False: nothing has come. */
  #receive(): boolean {
    if (this.#connection.ignored) return false
    const consumer = this.#get(Ring.REQUEST_CONSUMER)
    const available = (this.#get(Ring.REQUEST_PRODUCER) - consumer) >>> 0
    if (available === 0) return false
    if (!this.#server.ready(this.#connection, (at) => this.#later.set(at))) return false
    if (available > Ring.SIZE) return this.#fail(RingError.INDEX)
    const wanted = this.#wanted()
    const count = Math.min(wanted - this.#received, available, Ring.SIZE - (consumer & MASK))
    const from = Ring.REQUESTS + (consumer & MASK)
    this.#input.set(this.#page.bytes.subarray(from, from + count), this.#received)
    this.#received += count
    this.#set(Ring.REQUEST_CONSUMER, consumer + count)
    if (this.#received >= HEADER_SIZE && this.#length() > PAYLOAD_MAX) return this.#fail(RingError.PROTOCOL)
    if (this.#received === this.#wanted()) this.#handle()
    return true
  }

  #length(): number {
    return new DataView(this.#input.buffer).getUint32(12, true)
  }

  #wanted(): number {
    return this.#received < HEADER_SIZE ? HEADER_SIZE : HEADER_SIZE + this.#length()
  }

  #handle(): void {
    const header = new DataView(this.#input.buffer)
    const payload = this.#input.slice(HEADER_SIZE, this.#received)
    this.#received = 0
    this.#server.handle(this.#connection, {
      type: header.getUint32(0, true),
      request: header.getUint32(4, true),
      transaction: header.getUint32(8, true),
      payload,
    })
  }

  /** Send what there is room for. False: nothing was. */
  #send(): boolean {
    const bytes = this.#connection.ignored ? undefined : this.#connection.pending()
    if (!bytes) return false
    const producer = this.#get(Ring.RESPONSE_PRODUCER)
    const used = (producer - this.#get(Ring.RESPONSE_CONSUMER)) >>> 0
    if (used === Ring.SIZE) return false
    if (used > Ring.SIZE) return this.#fail(RingError.INDEX)
    const count = Math.min(bytes.length, Ring.SIZE - used, Ring.SIZE - (producer & MASK))
    this.#page.write(Ring.RESPONSES + (producer & MASK), bytes.subarray(0, count))
    this.#connection.take(count)
    this.#set(Ring.RESPONSE_PRODUCER, producer + count)
    return true
  }

  #fail(error: number): false {
    this.#set(Ring.ERROR, error)
    this.#server.ignore(this.#connection)
    return false
  }

  #get(offset: number): number {
    return this.#view.getUint32(offset, true)
  }

  #set(offset: number, value: number): void {
    new DataView(this.#word.buffer).setUint32(0, value, true)
    this.#page.write(offset, this.#word)
  }
}

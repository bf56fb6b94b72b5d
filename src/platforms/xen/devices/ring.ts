/**
 * The backend's end of a ring of requests and responses in pages of the guest (xen/io/ring.h). The guest may write
 * anything anywhere in it at any time: what is read is copied first and never used as an index unmasked.
 */
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

const PAGE = 4096
/** req_prod, req_event, rsp_prod, rsp_event; entries follow. */
const Header = { REQUEST_PRODUCER: 0, REQUEST_EVENT: 4, RESPONSE_PRODUCER: 8, RESPONSE_EVENT: 12, SIZE: 64 } as const

export class BackRing implements Stateful {
  readonly entries: number
  readonly #pages: readonly SharedPage[]
  readonly #header: DataView
  readonly #entrySize: number
  readonly #word = new Uint8Array(4)
  #consumer: number
  /** Responses that have been written, announced or not. */
  #producer: number

  /** `pages` follow each other; `entrySize` is that of the larger of request and response. */
  constructor(pages: readonly SharedPage[], entrySize: number) {
    this.#pages = pages
    this.#entrySize = entrySize
    const { bytes } = pages[0] as SharedPage
    this.#header = new DataView(bytes.buffer, bytes.byteOffset, Header.SIZE)
    this.entries = 1 << (31 - Math.clz32((pages.length * PAGE - Header.SIZE) / entrySize))
    this.#consumer = this.#producer = this.#get(Header.RESPONSE_PRODUCER)
  }

  /** Its pages are there already. */
  transfer(state: Transfer): void {
    this.#consumer = state.field('consumer', this.#consumer)
    this.#producer = state.field('producer', this.#producer)
  }

  /** The guest has announced more requests than there is room for: it is broken. */
  get overflown(): boolean {
    return (this.#get(Header.REQUEST_PRODUCER) - this.#producer) >>> 0 > this.entries
  }

  /** Requests that wait, as far as there is room for their responses. */
  get waiting(): number {
    const announced = (this.#get(Header.REQUEST_PRODUCER) - this.#consumer) >>> 0
    return Math.min(announced, this.entries - this.unanswered)
  }

  /** Requests taken whose responses have not been written. */
  get unanswered(): number {
    return (this.#consumer - this.#producer) >>> 0
  }

  /** A copy of a request that waits, not taken yet; `ahead` of the next one. */
  peek(ahead = 0): Uint8Array {
    return this.#read(this.#at(this.#consumer + ahead), this.#entrySize)
  }

  take(count = 1): void {
    this.#consumer = (this.#consumer + count) >>> 0
  }

  /** Write a response; it is announced by `announce`. */
  respond(bytes: Uint8Array): void {
    this.#write(this.#at(this.#producer), bytes)
    this.#producer = (this.#producer + 1) >>> 0
  }

  /** Let the guest see the responses. True: it wants to be told. */
  announce(): boolean {
    const old = this.#get(Header.RESPONSE_PRODUCER)
    if (old === this.#producer) return false
    this.#set(Header.RESPONSE_PRODUCER, this.#producer)
    return (this.#producer - this.#get(Header.RESPONSE_EVENT)) >>> 0 < (this.#producer - old) >>> 0
  }

  /** Ask to be told of the next request, or of the `ahead`th. */
  listen(ahead = 1): void {
    this.#set(Header.REQUEST_EVENT, this.#consumer + ahead)
  }

  release(): void {
    for (const page of this.#pages) page.release()
  }

  #at(index: number): number {
    return Header.SIZE + (index & (this.entries - 1)) * this.#entrySize
  }

  /** Entries may lie across pages. */
  #read(offset: number, length: number): Uint8Array {
    const result = new Uint8Array(length)
    this.#pieces(offset, length, (page, from, at, count) => {
      result.set(page.bytes.subarray(from, from + count), at)
    })
    return result
  }

  #write(offset: number, bytes: Uint8Array): void {
    this.#pieces(offset, bytes.length, (page, from, at, count) => page.write(from, bytes.subarray(at, at + count)))
  }

  #pieces(
    offset: number,
    length: number,
    visit: (page: SharedPage, from: number, at: number, count: number) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const from = (offset + at) % PAGE
      const count = Math.min(PAGE - from, length - at)
      visit(this.#pages[Math.floor((offset + at) / PAGE)] as SharedPage, from, at, count)
      at += count
    }
  }

  #get(offset: number): number {
    return this.#header.getUint32(offset, true)
  }

  #set(offset: number, value: number): void {
    new DataView(this.#word.buffer).setUint32(0, value, true)
    this.#pages[0]?.write(offset, this.#word)
  }
}

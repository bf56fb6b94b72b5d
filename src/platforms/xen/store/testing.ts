/** For tests: memory that a guest has lent, and a guest's end of a store's ring. */
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Signal, Signals } from '../../../paravirt/signals.ts'
import { encodeMessage, HEADER_SIZE, type Message, MessageType, toBytes, toText } from './wire.ts'

export class TestPage implements SharedPage {
  readonly bytes = new Uint8Array(4096)
  readonly view = new DataView(this.bytes.buffer)
  released = false

  write(offset: number, bytes: Uint8Array): void {
    if (offset < 0 || offset + bytes.length > this.bytes.length) throw new Error('a write beyond the page')
    this.bytes.set(bytes, offset)
  }

  release(): void {
    this.released = true
  }
}

export const message = (type: number, payload: string, request = 0, transaction = 0): Message => ({
  type,
  request,
  transaction,
  payload: toBytes(payload),
})

/** A guest that keeps to the protocol. */
export class TestGuest {
  readonly page: TestPage
  /** Tells the server. */
  notify: () => void = () => {}
  #input: number[] = []

  constructor(page: TestPage) {
    this.page = page
  }

  /** Put bytes into the ring, as far as there is room, and signal. */
  send(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const { view } = this.page
      const producer = view.getUint32(2052, true)
      const room = 1024 - ((producer - view.getUint32(2048, true)) >>> 0)
      if (room <= 0) throw new Error('the server takes nothing')
      const count = Math.min(room, bytes.length - at)
      for (let i = 0; i < count; i++) this.page.bytes[(producer + i) & 1023] = bytes[at + i] as number
      view.setUint32(2052, producer + count, true)
      at += count
      this.notify()
    }
  }

  /** Messages that have come. */
  receive(): { type: number; request: number; transaction: number; payload: string }[] {
    const { view, bytes } = this.page
    for (;;) {
      const consumer = view.getUint32(2056, true)
      const count = (view.getUint32(2060, true) - consumer) >>> 0
      if (count === 0) break
      for (let i = 0; i < count; i++) this.#input.push(bytes[1024 + ((consumer + i) & 1023)] as number)
      view.setUint32(2056, consumer + count, true)
      this.notify()
    }
    const messages = []
    while (this.#input.length >= HEADER_SIZE) {
      const header = new DataView(Uint8Array.from(this.#input.slice(0, HEADER_SIZE)).buffer)
      const length = HEADER_SIZE + header.getUint32(12, true)
      if (this.#input.length < length) break
      const payload = toText(Uint8Array.from(this.#input.splice(0, length).slice(HEADER_SIZE)))
      messages.push({
        type: header.getUint32(0, true),
        request: header.getUint32(4, true),
        transaction: header.getUint32(8, true),
        payload,
      })
    }
    return messages
  }

  /** The answer to a request; events that come with it are kept. */
  ask(type: number, payload: string, transaction = 0): string {
    this.send(encodeMessage(message(type, payload, 7, transaction)))
    const all = this.receive()
    this.events.push(...all.filter((m) => m.type === MessageType.WATCH_EVENT).map((m) => m.payload))
    const answers = all.filter((m) => m.type !== MessageType.WATCH_EVENT)
    const [found] = answers
    if (answers.length !== 1 || !found || found.request !== 7) throw new Error(`${answers.length} answers`)
    return found.type === MessageType.ERROR ? `!${found.payload.slice(0, -1)}` : found.payload
  }

  /** Events so far, taken. */
  events: string[] = []
  takeEvents(): string[] {
    this.events.push(...this.receive().map((m) => m.payload))
    return this.events.splice(0)
  }
}

/** One channel: `connected` is told who listens to the guest, `raise` is what the host's signal does. */
export function testSignals(connected: (listener: () => void) => void, raise: () => void = () => {}): Signals {
  const signal: Signal = { own: 1, raise, close: () => {} }
  const connect = (_: number, listener: () => void) => {
    connected(listener)
    return signal
  }
  return { connect, restore: (_, listener) => (connected(listener), signal) }
}

/**
 * The backend of a PV console (xen/io/console.h), as xenconsoled is: bytes from the guest's ring to the user, what the
 * user types into the other ring. The guest may write anything into the page.
 */
import type { ConsolePort } from '../../../paravirt/effects.ts'
import type { RingWatch } from '../../../paravirt/observe.ts'
import { ringRequest } from '../../../paravirt/requests.ts'
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Signal, Signals } from '../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

/** struct xencons_interface: to the guest, from it, and the four indices. */
const IN = { at: 0, size: 1024, consumer: 0xc00, producer: 0xc04 } as const
const OUT = { at: 0x400, size: 2048, consumer: 0xc08, producer: 0xc0c } as const

/** What a guest asks of a console. */
export const consoleDeclaration = ringRequest({
  number: 0,
  name: 'xencons_interface.out',
  summary: 'show what is on the ring: the answer is how many bytes that were',
  args: [
    { name: 'device', type: { kind: 'text' } },
    { name: 'text', type: { kind: 'text' } },
  ],
  source: 'xen/io/console.h',
})

export interface ConsoleOptions {
  readonly page: SharedPage
  readonly signals: Signals
  /** The guest's end. */
  readonly port: number
  readonly console: ConsolePort
  readonly rings: RingWatch
  /** What it is called where its requests are told. */
  readonly name: string
}

export class ConsoleBackend implements Stateful {
  readonly #page: SharedPage
  readonly #view: DataView
  readonly #console: ConsolePort
  readonly #signals: Signals
  readonly #rings: RingWatch
  readonly #name: string
  #signal: Signal | undefined
  readonly #word = new Uint8Array(4)
  /** What was typed and the guest has no room for yet. */
  readonly #typed: Uint8Array[] = []
  /** Who had the console before, and has it until the guest notifies. */
  readonly #before: ConsolePort['onInput']
  #used = false

  constructor({ page, signals, port, console, rings, name }: ConsoleOptions) {
    this.#page = page
    this.#rings = rings
    this.#name = name
    this.#view = new DataView(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length)
    this.#console = console
    this.#before = console.onInput
    this.#signals = signals
    this.#signal = signals.connect(port, () => this.#notified())
    console.onInput = (bytes) => {
      if (this.#before && !this.#used) return this.#before(bytes)
      this.#typed.push(bytes.slice())
      this.#service()
    }
    this.#service()
  }

  transfer(state: Transfer): void {
    state.list('typed', this.#typed)
    this.#used = state.field('used', this.#used)
    const own = state.field('signal', this.#signal?.own)
    if (state.loading) this.#signal = own === undefined ? undefined : this.#signals.restore(own, () => this.#notified())
  }

  close(): void {
    this.#console.onInput = this.#before
    this.#signal?.close()
    this.#page.release()
  }

  /** What is typed is for this console from now on, whoever had it before. */
  takeInput(): void {
    this.#used = true
  }

  #notified(): void {
    this.#used = true
    this.#service()
  }

  /** Move what there is in both directions. */
  #service(): void {
    const taken = this.#take()
    const given = this.#give()
    if (taken || given) this.#signal?.raise()
  }

  #take(): boolean {
    const consumer = this.#get(OUT.consumer)
    const waiting = (this.#get(OUT.producer) - consumer) >>> 0
    if (waiting === 0) return false
    // Indices that are no ring's: xenconsoled passes over what it cannot have.
    if (waiting <= OUT.size) {
      const first = consumer & (OUT.size - 1)
      const bytes = new Uint8Array(waiting)
      const part = Math.min(waiting, OUT.size - first)
      bytes.set(this.#page.bytes.subarray(OUT.at + first, OUT.at + first + part))
      bytes.set(this.#page.bytes.subarray(OUT.at, OUT.at + waiting - part), part)
      this.#console.output(bytes)
      this.#rings.note(consoleDeclaration, () => [this.#name, String.fromCharCode(...bytes)], BigInt(waiting))
    }
    this.#set(OUT.consumer, consumer + waiting)
    return true
  }

  #give(): boolean {
    const producer = this.#get(IN.producer)
    const used = (producer - this.#get(IN.consumer)) >>> 0
    let given = 0
    while (used + given < IN.size) {
      const [next] = this.#typed
      if (!next) break
      const at = (producer + given) & (IN.size - 1)
      const part = next.subarray(0, Math.min(IN.size - used - given, IN.size - at))
      this.#page.write(IN.at + at, part)
      given += part.length
      if (part.length < next.length) this.#typed[0] = next.subarray(part.length)
      else this.#typed.shift()
    }
    if (given > 0) this.#set(IN.producer, producer + given)
    return given > 0
  }

  #get(offset: number): number {
    return this.#view.getUint32(offset, true)
  }

  #set(offset: number, value: number): void {
    new DataView(this.#word.buffer).setUint32(0, value, true)
    this.#page.write(offset, this.#word)
  }
}

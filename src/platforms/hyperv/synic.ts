/**
 * A vCPU's synthetic interrupt controller (TLFS, "Inter-Partition Communication"): sixteen sources, each with a vector,
 * a slot of the message page and a queue of messages that wait for the slot, and 256 bytes of the event flags page.
 */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Overlay, type Overlays } from './overlay.ts'

export const SOURCES = 16
const MASKED = 1n << 16n
const AUTO_EOI = 1n << 17n
const POLLING = 1n << 18n
const ENABLE = 1n

const SLOT = 256
const FLAGS = 5
const PENDING = 1

/** HV_MESSAGE on its way: its type, the number of who sends it, and what that one has to remember of it. */
export type Message = {
  readonly type: number
  readonly sender: number
  readonly note: bigint
}

export interface Sender {
  /** Made when the message is put into its slot. */
  payload(note: bigint): Uint8Array
  /** It is in its slot. */
  delivered(): void
}

export class Synic implements Stateful {
  readonly #vcpu: number
  readonly #irq: Effects['irq']
  readonly #pages: { readonly siefp: Overlay; readonly simp: Overlay }
  readonly #registers = { siefp: 0n, simp: 0n }
  readonly #senders = new Map<number, Sender>()
  #sints = resetSints()
  #queues: Message[][] = emptyQueues()
  control = 0n

  constructor(vcpu: number, irq: Effects['irq'], overlays: Overlays) {
    this.#vcpu = vcpu
    this.#irq = irq
    this.#pages = { siefp: new Overlay(overlays, true), simp: new Overlay(overlays, true) }
  }

  transfer(state: Transfer): void {
    for (const which of ['siefp', 'simp'] as const) {
      state.part(`${which}Page`, this.#pages[which])
      this.#registers[which] = state.field(which, this.#registers[which])
    }
    state.list('sints', this.#sints)
    state.list('queues', this.#queues)
    this.control = state.field('control', this.control)
    if (state.loading) this.#watch()
  }

  /** Give a sender of messages its number. */
  connect(number: number, sender: Sender): void {
    this.#senders.set(number, sender)
  }

  /** The vCPU is reset. */
  reset(): void {
    this.control = 0n
    this.#sints = resetSints()
    this.#queues = emptyQueues()
    for (const which of ['siefp', 'simp'] as const) {
      this.writePage(which, 0n)
      this.#pages[which].content.fill(0)
    }
    this.#watch()
  }

  page(which: 'siefp' | 'simp'): bigint {
    return this.#registers[which]
  }

  writePage(which: 'siefp' | 'simp', value: bigint): void {
    this.#registers[which] = value
    this.#pages[which].place(value & ENABLE ? Number(value >> 12n) : undefined)
  }

  sint(index: number): bigint {
    return this.#sints[index] as bigint
  }

  /** False: #GP, an unmasked source needs a vector from 16. */
  writeSint(index: number, value: bigint): boolean {
    if ((value & MASKED) === 0n && (value & 0xffn) < 16n) return false
    this.#sints[index] = value
    return true
  }

  /** Queue a message; false if this vCPU takes none. */
  post(index: number, message: Message): boolean {
    if ((this.control & ENABLE) === 0n) return false
    this.#queues[index]?.push(message)
    this.#scan(index)
    this.#watch()
    return true
  }

  /** End of message, or of an interrupt: slots may have become free. */
  scan(): void {
    for (let i = 0; i < SOURCES; i++) this.#scan(i)
    this.#watch()
  }

  #scan(index: number): void {
    const queue = this.#queues[index] as Message[]
    const simp = this.#pages.simp
    if (queue.length === 0 || !simp.accessible) return
    const at = index * SLOT
    const occupied = [0, 1, 2, 3].some((i) => simp.byte(at + i) !== 0)
    if (occupied) return simp.store(at + FLAGS, Uint8Array.of(simp.byte(at + FLAGS) | PENDING))
    const message = queue.shift() as Message
    const sender = this.#senders.get(message.sender) as Sender
    const payload = sender.payload(message.note)
    const slot = new DataView(new ArrayBuffer(16 + payload.length))
    slot.setUint32(0, message.type, true)
    slot.setUint8(4, payload.length)
    slot.setUint8(FLAGS, queue.length > 0 ? PENDING : 0)
    new Uint8Array(slot.buffer).set(payload, 16)
    simp.store(at, new Uint8Array(slot.buffer))
    sender.delivered()
    this.#interrupt(index)
  }

  #interrupt(index: number): void {
    const sint = this.#sints[index] as bigint
    if (sint & (MASKED | POLLING)) return
    this.#irq.post(this.#vcpu, Number(sint & 0xffn), (sint & AUTO_EOI) !== 0n)
  }

  /** An EOI matters only while messages wait. */
  #watch(): void {
    const waiting = this.#queues.some((queue) => queue.length > 0)
    this.#irq.onEoi(this.#vcpu, waiting ? () => this.scan() : undefined)
  }
}

const resetSints = (): bigint[] => Array.from({ length: SOURCES }, () => MASKED)
const emptyQueues = (): Message[][] => Array.from({ length: SOURCES }, () => [])

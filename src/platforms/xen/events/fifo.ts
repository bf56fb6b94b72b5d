/**
 * The FIFO event ABI (xen/event_channel.h; "FIFO-based event channel ABI", revision H): a word for each port in pages
 * of the guest's, a queue of them for each vCPU and priority, whose heads and ready bits are in a control block.
 *
 * The queues are links in the guest's own memory. They are never followed here: Xen knows each queue's tail only.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import type { Channel, EventAbi } from './channel.ts'

const PAGE = 4096
const WORDS_PER_PAGE = PAGE / 4
const LINK_BITS = 17
const MAX_PAGES = 2 ** LINK_BITS / WORDS_PER_PAGE
const QUEUES = 16
const HEADS = 8
const CONTROL_BYTES = 72

const PENDING = 0x80000000
const MASKED = 0x40000000
const LINKED = 0x20000000
const BUSY = 0x10000000
const LINK_MASK = 2 ** LINK_BITS - 1

type Control = {
  readonly frame: number
  /** Of the control block. */
  readonly address: number
}

/** The channels that exist by now. */
interface Ports {
  channel(port: number): Channel | undefined
}

export class FifoEvents implements EventAbi, Stateful {
  /** Priorities: 0 is the highest. */
  static readonly DEFAULT = 7
  static readonly LOWEST = 15
  /** The last place in a page where a control block fits. */
  static readonly LAST_OFFSET = PAGE - CONTROL_BYTES
  static readonly LINK_BITS = LINK_BITS
  readonly maxPorts = 2 ** LINK_BITS
  readonly #domain: Context
  readonly #ports: Ports
  /** Frames of the event array. */
  readonly #array: number[] = []
  readonly #controls: (Control | undefined)[]
  /** The last port of each queue, by vCPU and priority. */
  readonly #tails: number[][]

  constructor(domain: Context, ports: Ports) {
    this.#domain = domain
    this.#ports = ports
    this.#controls = domain.vcpus.map(() => undefined)
    this.#tails = domain.vcpus.map(() => Array.from({ length: QUEUES }, () => 0))
  }

  transfer(state: Transfer): void {
    state.list('array', this.#array)
    state.list('controls', this.#controls)
    state.list('tails', this.#tails)
  }

  mapControl(vcpu: number, gfn: number, offset: number): number {
    if (this.#controls[vcpu]) return Errno.EINVAL
    const frame = this.#domain.kind.hold(gfn)
    if (frame < 0) return Errno.EINVAL
    this.#controls[vcpu] = { frame, address: frame * PAGE + offset }
    return 0
  }

  /** Another page of the array. */
  expand(gfn: number): number {
    if (this.#array.length >= MAX_PAGES) return Errno.ENOSPC
    const frame = this.#domain.kind.hold(gfn)
    if (frame < 0) return Errno.EINVAL
    const first = this.#array.length * WORDS_PER_PAGE
    this.#array.push(frame)
    // What came while the page was missing.
    for (let port = first; port < first + WORDS_PER_PAGE; port++) {
      const channel = this.#ports.channel(port)
      if (!channel) break
      if (channel.pending) this.raise(channel)
    }
    return 0
  }

  /** Give the guest's pages back. */
  destroy(): void {
    for (const frame of this.#array) this.#domain.kind.release(frame)
    for (const control of this.#controls) if (control) this.#domain.kind.release(control.frame)
  }

  raise(channel: Channel): void {
    const { port, vcpu, priority } = channel
    const { memory } = this.#domain.effects
    const at = this.#word(port)
    if (at < 0) {
      channel.pending = true
      return
    }
    const control = this.#controls[vcpu]
    if (!control) return
    const { view } = memory
    const word = view.getUint32(at, true)
    const pending = (word | PENDING) >>> 0
    let linked = true
    if (word & MASKED || word & LINKED) memory.store32(at, pending)
    else {
      memory.store32(at, (pending | LINKED) >>> 0)
      linked = this.#enqueue(channel, control)
    }
    if (!linked) {
      const ready = view.getUint32(control.address, true)
      if (!(ready & (1 << priority))) {
        memory.store32(control.address, (ready | (1 << priority)) >>> 0)
        this.#domain.vcpus[vcpu]?.markPending()
      }
    }
    if (!(word & PENDING)) this.#domain.pollers.check(port)
  }

  /** Whether it was linked to an event that was there; otherwise it is the head now. */
  #enqueue(channel: Channel, control: Control): boolean {
    const { port, vcpu, priority, lastVcpu, lastPriority } = channel
    const { memory } = this.#domain.effects
    const tails = this.#tails[vcpu] as number[]
    const old = this.#tails[lastVcpu] as number[]
    // As the tail of a queue it was the only one left: that queue is empty.
    if (old[lastPriority] === port) old[lastPriority] = 0
    channel.lastVcpu = vcpu
    channel.lastPriority = priority
    const tail = tails[priority] as number
    const at = tail === 0 ? -1 : this.#word(tail)
    tails[priority] = port
    if (at >= 0) {
      const word = memory.view.getUint32(at, true)
      if (word & LINKED) {
        memory.store32(at, ((word & ~(BUSY | LINK_MASK)) | port) >>> 0)
        return true
      }
    }
    memory.store32(control.address + HEADS + 4 * priority, port)
    return false
  }

  clear({ port }: Channel): void {
    const at = this.#word(port)
    if (at >= 0) this.#change(at, 0, PENDING)
  }

  unmask(channel: Channel): void {
    const at = this.#word(channel.port)
    if (at >= 0 && this.#change(at, 0, MASKED) & PENDING) this.raise(channel)
  }

  isPending({ port }: Channel): boolean {
    return this.#has(port, PENDING)
  }

  isMasked({ port }: Channel): boolean {
    return this.#word(port) < 0 || this.#has(port, MASKED)
  }

  isBusy({ port }: Channel): boolean {
    return this.#has(port, LINKED)
  }

  bound(channel: Channel): void {
    channel.priority = FifoEvents.DEFAULT
  }

  #has(port: number, bit: number): boolean {
    const at = this.#word(port)
    return at >= 0 && (this.#domain.effects.memory.view.getUint32(at, true) & bit) !== 0
  }

  /** Set and clear bits of a word; what it was. */
  #change(at: number, set: number, clear: number): number {
    const { memory } = this.#domain.effects
    const word = memory.view.getUint32(at, true)
    const changed = ((word | set) & ~clear) >>> 0
    if (changed !== word) memory.store32(at, changed)
    return word
  }

  /** Address of a port's word; -1: its page is not there. */
  #word(port: number): number {
    const frame = this.#array[Math.floor(port / WORDS_PER_PAGE)]
    return frame === undefined ? -1 : frame * PAGE + 4 * (port % WORDS_PER_PAGE)
  }
}

/**
 * A virtqueue of the Launcher's: the split ring of virtio 0.9 at a place that the host chooses, above RAM. Buffers are
 * taken, filled and given back; a ring that is none ends the Launcher, in its words.
 */
import type { MemoryEffects } from '../../../paravirt/effects.ts'
import { GuestBuffers, type GuestRange } from '../../../paravirt/sharing.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { PAGE } from '../frames.ts'
import type { Lguest } from '../lguest.ts'

/** VIRTQUEUE_NUM: entries of a ring. */
export const QUEUE_SIZE = 256
const DESCRIPTOR = 16
const Flag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const
const NO_INTERRUPT = 1
const AVAIL = QUEUE_SIZE * DESCRIPTOR
const USED = align(AVAIL + 4 + 2 * QUEUE_SIZE + 2)
/** vring_size, with LGUEST_VRING_ALIGN, in pages. */
export const QUEUE_PAGES = align(USED + 4 + 8 * QUEUE_SIZE + 2) / PAGE

function align(value: number): number {
  return Math.ceil(value / PAGE) * PAGE
}

/** The Launcher ends: errx(1, ...). */
export class LauncherError extends Error {}

export interface Chain {
  readonly head: number
  /** What the guest hands over, and where it wants to be answered, piece by piece. */
  readonly out: readonly GuestRange[]
  readonly in: readonly GuestRange[]
}

/** Some of the pieces as one run of bytes. */
export function joined(ranges: readonly GuestRange[]): GuestBuffers {
  const buffers = new GuestBuffers()
  for (const range of ranges) buffers.add(range, 0, range.bytes.length)
  return buffers
}

export class Virtqueue implements Stateful {
  readonly #lg: Lguest
  readonly #memory: MemoryEffects
  /** Its first page: what LHCALL_NOTIFY names it by. */
  readonly address: number
  readonly irq: number
  /** VIRTIO_F_NOTIFY_ON_EMPTY: tell of an empty ring even if the guest wants no interrupts. */
  notifyOnEmpty = false
  #lastAvail = 0
  #pendingUsed = 0

  constructor(lg: Lguest, address: number, irq: number) {
    this.#lg = lg
    this.#memory = lg.effects.memory
    this.address = address
    this.irq = irq
  }

  transfer(state: Transfer): void {
    this.notifyOnEmpty = state.field('notifyOnEmpty', this.notifyOnEmpty)
    this.#lastAvail = state.field('lastAvail', this.#lastAvail)
    this.#pendingUsed = state.field('pendingUsed', this.#pendingUsed)
  }

  /** reset_device: as if it had never been used. */
  reset(): void {
    this.#lastAvail = 0
    this.#pendingUsed = 0
    this.#memory.place(this.address, new Uint8Array(QUEUE_PAGES * PAGE))
  }

  #u16(offset: number): number {
    return this.#memory.view.getUint16(this.address + offset, true)
  }

  get #availIndex(): number {
    return this.#u16(AVAIL + 2)
  }

  get empty(): boolean {
    return this.#lastAvail === this.#availIndex
  }

  /** The next chain that the guest offers. Throws LauncherError; wait_for_vq_desc. */
  take(): Chain | undefined {
    const index = this.#availIndex
    if (this.#lastAvail === index) return undefined
    if (((index - this.#lastAvail) & 0xffff) > QUEUE_SIZE)
      throw new LauncherError(`Guest moved used index from ${this.#lastAvail} to ${index}`)
    const head = this.#u16(AVAIL + 4 + 2 * (this.#lastAvail % QUEUE_SIZE))
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff
    if (head >= QUEUE_SIZE) throw new LauncherError(`Guest says index ${head} is available`)
    return this.#chain(head)
  }

  #chain(head: number): Chain {
    const { view } = this.#memory
    /** Addresses have 64 bits; a Launcher of 32 looks at the lower ones. */
    const low = (at: number) => view.getUint32(at, true)
    let table = this.address
    let max = QUEUE_SIZE
    let at = head
    const first = table + DESCRIPTOR * head
    if (view.getUint16(first + 12, true) & Flag.INDIRECT) {
      const length = view.getUint32(first + 8, true)
      if (length % DESCRIPTOR !== 0) throw new LauncherError('Invalid size for indirect buffer table')
      max = length / DESCRIPTOR
      table = this.#checked(low(first), length)
      at = 0
    }
    const out: GuestRange[] = []
    const into: GuestRange[] = []
    for (;;) {
      const descriptor = table + DESCRIPTOR * at
      const flags = view.getUint16(descriptor + 12, true)
      const range = this.#range(low(descriptor), view.getUint32(descriptor + 8, true))
      if (flags & Flag.WRITE) into.push(range)
      else if (into.length > 0) throw new LauncherError('Descriptor has out after in')
      else out.push(range)
      if (out.length + into.length > max) throw new LauncherError('Looped descriptor')
      if ((flags & Flag.NEXT) === 0) return { head, out, in: into }
      at = view.getUint16(descriptor + 14, true)
      if (at >= max) throw new LauncherError(`Desc next is ${at}`)
    }
  }

  /** check_pointer. */
  #checked(address: number, length: number): number {
    const limit = this.#lg.pfnLimit * PAGE
    if (address >= limit || address + length >= limit)
      throw new LauncherError(`Invalid address 0x${address.toString(16)}`)
    return address
  }

  #range(address: number, length: number): GuestRange {
    const start = this.#checked(address, length)
    const memory = this.#memory
    return {
      get bytes() {
        return memory.bytes(start, length)
      },
      write: (offset, bytes) => memory.place(start + offset, bytes),
    }
  }

  /** add_used: a chain goes back, `length` bytes of it filled. */
  give(head: number, length: number): void {
    const index = this.#u16(USED + 2)
    const element = this.address + USED + 4 + 8 * (index % QUEUE_SIZE)
    this.#memory.store32(element, head)
    this.#memory.store32(element + 4, length)
    this.#memory.store16(this.address + USED + 2, (index + 1) & 0xffff)
    this.#pendingUsed++
  }

  /** trigger_irq: tell the guest of what it has got back, if it wants to know. */
  trigger(): void {
    if (this.#pendingUsed === 0) return
    this.#pendingUsed = 0
    if (this.#u16(AVAIL) & NO_INTERRUPT && !(this.notifyOnEmpty && this.empty)) return
    this.#lg.setInterrupt(this.irq)
  }
}

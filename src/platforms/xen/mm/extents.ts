/** Lists of frame numbers in the guest's memory, 8 bytes each (32 bits: 4), and what reservations say of the frames they may get. */
import type { Call } from '../hypercalls/call.ts'
import { PAGE } from './entries.ts'

const MOST_BYTES = 8
const ADDRESS_BITS = 0xff
const EXACT_NODE = 1 << 17
const VNODE = 1 << 18
const NO_NODE = 0xff

/** The largest extent that a domain without devices may ask for (Xen's `memop-max-order`). */
export const MOST_ORDER = 9

const bytes = new Uint8Array(MOST_BYTES)
const view = new DataView(bytes.buffer)

export class Extents {
  readonly #call: Call
  readonly #low: number
  readonly #high: number
  readonly #bytes: number
  /** What `read` has read, unsigned halves. */
  low = 0
  high = 0

  constructor(call: Call, low: number, high: number) {
    this.#call = call
    this.#low = low >>> 0
    this.#high = high >>> 0
    this.#bytes = call.wide ? MOST_BYTES : 4
  }

  get isNull(): boolean {
    return this.#low === 0 && this.#high === 0
  }

  /** The guest may have a list there. */
  allowed(from: number): boolean {
    const at = this.#low + this.#bytes * from
    return this.#call.domain.kind.mayAccess(at >>> 0, this.#carried(at))
  }

  read(index: number): boolean {
    const at = this.#low + this.#bytes * index
    const { domain, vcpu } = this.#call
    if (!domain.guest.copyIn(vcpu, at >>> 0, this.#carried(at), bytes, this.#bytes)) return false
    this.low = view.getUint32(0, true)
    this.high = this.#bytes === 4 ? 0 : view.getUint32(4, true)
    return true
  }

  /** What was read, as a frame number; one too large for any frame if it is. */
  get frame(): number {
    return this.high === 0 ? this.low : 0xffffffff
  }

  write(index: number, frame: number): boolean {
    const at = this.#low + this.#bytes * index
    const { domain, vcpu } = this.#call
    view.setUint32(0, frame, true)
    view.setUint32(4, 0, true)
    return domain.guest.copyOut(vcpu, at >>> 0, this.#carried(at), bytes, this.#bytes)
  }

  #carried(at: number): number {
    return (this.#high + Math.floor(at / 2 ** 32)) >>> 0
  }
}

/** What mem_flags allow: frames below this number; undefined: they ask for what this domain may not. */
export function frameLimit(flags: number, frames: number): number | undefined {
  const node = ((flags >>> 8) - 1) & 0xff
  if ((flags & VNODE) === 0 && node !== NO_NODE && flags & EXACT_NODE) return undefined
  const bits = flags & ADDRESS_BITS
  // Addresses of as many bits as the machine's, or more, are no limit.
  if (bits === 0 || 2 ** bits >= frames * PAGE) return frames
  return bits <= 12 ? undefined : 2 ** (bits - 12)
}

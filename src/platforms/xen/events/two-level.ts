/**
 * The 2-level event ABI (xen/xen.h, "Event channel endpoints per domain"): a bitmap of pending and one of masked ports
 * in shared_info, and in each vcpu_info a selector with a bit for each word of the bitmap.
 */
import type { Context } from '../context.ts'
import type { Channel, EventAbi } from './channel.ts'

const PENDING = 0x800
const MASK = { wide: 0xa00, narrow: 0x880 } as const

export class TwoLevelEvents implements EventAbi {
  readonly #domain: Context

  constructor(domain: Context) {
    this.#domain = domain
  }

  get maxPorts(): number {
    return this.#domain.wideInfo ? 4096 : 1024
  }

  raise(channel: Channel): void {
    const { port, vcpu } = channel
    if (this.#testAndSet(PENDING, port)) return
    if (!this.#test(this.#mask(), port)) this.#select(port, vcpu)
    this.#domain.pollers.check(port)
  }

  clear({ port }: Channel): void {
    this.#clear(PENDING, port)
  }

  unmask({ port, vcpu }: Channel): void {
    if (this.#clear(this.#mask(), port) && this.#test(PENDING, port)) this.#select(port, vcpu)
  }

  isPending({ port }: Channel): boolean {
    return this.#test(PENDING, port)
  }

  isMasked({ port }: Channel): boolean {
    return port >= this.maxPorts || this.#test(this.#mask(), port)
  }

  isBusy(): boolean {
    return false
  }

  bound(): void {}

  #mask(): number {
    return this.#domain.wideInfo ? MASK.wide : MASK.narrow
  }

  #select(port: number, vcpu: number): void {
    const { wideInfo, vcpus, effects } = this.#domain
    const word = port >> (wideInfo ? 6 : 5)
    const target = vcpus[vcpu]
    if (!target) return
    const at = target.info + (wideInfo ? 8 : 4) + 4 * (word >> 5)
    const bit = 1 << (word & 31)
    const old = effects.memory.view.getUint32(at, true)
    if (old & bit) return
    effects.memory.store32(at, (old | bit) >>> 0)
    target.markPending()
  }

  #address(bitmap: number, port: number): number {
    return this.#domain.sharedInfo.address + bitmap + 4 * (port >> 5)
  }

  #test(bitmap: number, port: number): boolean {
    const word = this.#domain.effects.memory.view.getUint32(this.#address(bitmap, port), true)
    return (word & (1 << (port & 31))) !== 0
  }

  #testAndSet(bitmap: number, port: number): boolean {
    const { memory } = this.#domain.effects
    const at = this.#address(bitmap, port)
    const word = memory.view.getUint32(at, true)
    const bit = 1 << (port & 31)
    if (word & bit) return true
    memory.store32(at, (word | bit) >>> 0)
    return false
  }

  /** Whether it was set. */
  #clear(bitmap: number, port: number): boolean {
    const { memory } = this.#domain.effects
    const at = this.#address(bitmap, port)
    const word = memory.view.getUint32(at, true)
    const bit = 1 << (port & 31)
    if (!(word & bit)) return false
    memory.store32(at, (word & ~bit) >>> 0)
    return true
  }
}

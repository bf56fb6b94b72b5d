/**
 * The VP assist page, of which one field is used: "no EOI required" (TLFS, "EOI Assist"). The hypervisor sets it when
 * it delivers an interrupt whose EOI nobody needs to see, and the guest clears it instead of the EOI.
 */
import type { Effects, SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Overlay, type Overlays } from './overlay.ts'

const ENABLE = 1n
const NO_EOI_REQUIRED = 1
/** Guests exchange the field for 0 at each end of an interrupt. */
const FIELD: SharedByte = { name: 'VP assist pages', stores: 'apic.eoi' }

export class VpAssist implements Stateful {
  readonly #vcpu: number
  readonly #irq: Effects['irq']
  readonly #memory: Effects['memory']
  readonly #page: Overlay
  readonly #assists: boolean
  #register = 0n

  /** `assists`: EOIs may be left out. */
  constructor(vcpu: number, { irq, memory }: Effects, overlays: Overlays, assists: boolean) {
    this.#vcpu = vcpu
    this.#irq = irq
    this.#memory = memory
    this.#page = new Overlay(overlays, true)
    this.#assists = assists
  }

  transfer(state: Transfer): void {
    state.part('page', this.#page)
    this.#register = state.field('register', this.#register)
    if (state.loading) this.#offer()
  }

  reset(): void {
    this.write(0n)
    this.#page.content.fill(0)
  }

  get register(): bigint {
    return this.#register
  }

  /** False: #GP, the page would lie outside memory. */
  write(value: bigint): boolean {
    const enabled = (value & ENABLE) !== 0n
    const page = value >> 12n
    if (enabled && page >= BigInt(this.#memory.pages)) return false
    this.#irq.assist(this.#vcpu, undefined)
    this.#register = value
    this.#page.place(enabled ? Number(page) : undefined)
    this.#memory.share(FIELD, this.#vcpu, enabled ? page << 12n : undefined)
    this.#offer()
    return true
  }

  #offer(): void {
    if ((this.#register & ENABLE) === 0n || !this.#assists) return
    this.#irq.assist(this.#vcpu, {
      offer: () => {
        this.#page.store(0, Uint8Array.of(this.#page.byte(0) | NO_EOI_REQUIRED))
        return true
      },
      withdraw: () => {
        const field = this.#page.byte(0)
        if ((field & NO_EOI_REQUIRED) === 0) return true
        this.#page.store(0, Uint8Array.of(field & ~NO_EOI_REQUIRED))
        return false
      },
    })
  }
}

/** PV EOI: a bit in memory says that an interrupt needs no EOI; the guest clears it instead of writing one. */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const ENABLED = 1n

export class PvEoi implements Stateful {
  readonly #effects: Effects
  readonly #vcpu: number
  readonly #onUse: () => void
  #value = 0n

  constructor(effects: Effects, vcpu: number, onUse: () => void) {
    this.#effects = effects
    this.#vcpu = vcpu
    this.#onUse = onUse
  }

  transfer(state: Transfer): void {
    this.#value = state.field('value', this.#value)
    if (state.loading) this.#register()
  }

  get value(): bigint {
    return this.#value
  }

  /** False: #GP(0). */
  write(value: bigint): boolean {
    const address = value & ~ENABLED
    const on = (value & ENABLED) !== 0n
    if ((address & 3n) !== 0n || (on && !this.#effects.memory.read(address, 1))) return false
    this.#value = value
    this.#register()
    return true
  }

  #register(): void {
    const { memory, irq } = this.#effects
    const address = this.#value & ~ENABLED
    irq.assist(
      this.#vcpu,
      this.#value & ENABLED
        ? {
            offer: () => memory.write(address, set),
            withdraw: () => {
              if (((memory.read(address, 1)?.[0] ?? 0) & 1) !== 0) {
                memory.write(address, clear)
                return false
              }
              this.#onUse()
              return true
            },
          }
        : undefined,
    )
  }

  reset(): void {
    this.write(0n)
  }
}

const set = Uint8Array.of(1)
const clear = Uint8Array.of(0)

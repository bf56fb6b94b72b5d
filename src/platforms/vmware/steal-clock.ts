/** The steal clock: a counter in memory, in ticks of the TSC (Linux, arch/x86/kernel/cpu/vmware.c). */
import type { Effects, SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const BYTES = 64
const CLOCK: SharedByte = { name: 'steal clocks', loads: 'time.steal_clock' }

export class StealClock implements Stateful {
  readonly #effects: Effects
  readonly #vcpu: number
  #address: bigint | undefined
  readonly #bytes = new Uint8Array(8)
  readonly #view = new DataView(this.#bytes.buffer)

  constructor(effects: Effects, vcpu: number) {
    this.#effects = effects
    this.#vcpu = vcpu
  }

  transfer(state: Transfer): void {
    this.#address = state.field('address', this.#address)
  }

  /** False: it is no place for one; then the clock stays where it is. */
  enable(address: bigint): boolean {
    if (address % BigInt(BYTES) !== 0n || !this.#effects.memory.read(address, BYTES)) return false
    this.#address = address
    this.#effects.memory.share(CLOCK, this.#vcpu, address)
    this.update()
    return true
  }

  disable(): void {
    this.#address = undefined
    this.#effects.memory.share(CLOCK, this.#vcpu, undefined)
  }

  update(): void {
    if (this.#address === undefined) return
    const { memory, time } = this.#effects
    const ticks = (BigInt(time.stolen(this.#vcpu)) * BigInt(time.tscHz)) / 1_000_000_000n
    this.#view.setBigUint64(0, ticks, true)
    memory.write(this.#address, this.#bytes)
  }
}

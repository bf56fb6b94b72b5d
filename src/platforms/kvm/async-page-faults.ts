/**
 * Asynchronous page faults. RAM is always there, so no page is ever missing; what is left is what KVM says whenever a
 * guest enables them: all who may wait for a page shall look again (token ~0).
 */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const ENABLED = 1n
const AS_PF_VMEXIT = 4n
const AS_INT = 8n
const RESERVED = 0x30n
const ADDRESS = ~63n
/** Of struct kvm_vcpu_pv_apf_data. */
const TOKEN = 4n

export class AsyncPageFaults implements Stateful {
  readonly #effects: Effects
  readonly #vcpu: number
  readonly #hasInterrupt: boolean
  #enable = 0n
  #vector = 0n
  /** Everybody is still to be woken. */
  #waiting = false

  constructor(effects: Effects, vcpu: number, hasInterrupt: boolean) {
    this.#effects = effects
    this.#vcpu = vcpu
    this.#hasInterrupt = hasInterrupt
  }

  transfer(state: Transfer): void {
    this.#enable = state.field('enable', this.#enable)
    this.#vector = state.field('vector', this.#vector)
    this.#waiting = state.field('waiting', this.#waiting)
  }

  get enable(): bigint {
    return this.#enable
  }

  get vector(): bigint {
    return this.#vector
  }

  /** MSR_KVM_ASYNC_PF_EN. False: #GP(0). Delivery to nested guests needs nested guests. */
  writeEnable(value: bigint): boolean {
    if ((value & (RESERVED | AS_PF_VMEXIT)) !== 0n) return false
    if ((value & AS_INT) !== 0n && !this.#hasInterrupt) return false
    const on = (value & (ENABLED | AS_INT)) === (ENABLED | AS_INT)
    if (on && !this.#effects.memory.read(value & ADDRESS, 8)) return false
    this.#enable = value
    this.#waiting = on
    this.deliver()
    return true
  }

  /** MSR_KVM_ASYNC_PF_INT. False: #GP(0). */
  writeVector(value: bigint): boolean {
    if (value > 0xffn) return false
    this.#vector = value
    return true
  }

  /** Tell what is to be told once the guest can take it: its local APIC is on and the last token was read. */
  deliver(): void {
    if (!this.#waiting) return
    const { memory, irq } = this.#effects
    const at = (this.#enable & ADDRESS) + TOKEN
    const token = memory.read(at, 4)
    if (!irq.enabled(this.#vcpu) || !token || token.some((byte) => byte !== 0)) return
    this.#waiting = false
    memory.write(at, all)
    irq.post(this.#vcpu, Number(this.#vector))
  }

  reset(): void {
    this.#enable = 0n
    this.#vector = 0n
    this.#waiting = false
  }
}

const all = Uint8Array.of(0xff, 0xff, 0xff, 0xff)

/**
 * Steal time: how long a vCPU could have run but did not, whether it runs now, and the flush of its TLB that others ask
 * for while it does not (struct kvm_steal_time).
 */
import type { Effects, SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const ENABLED = 1n
const RESERVED = 0x3en
const ADDRESS = ~63n
const BYTES = 64
const VERSION = 8
const PREEMPTED = 16

/** Bits of `preempted`; the second is the guest's. */
const PREEMPTED_BIT = 1
const FLUSH_TLB = 2

const STEAL_FIELD: SharedByte = { name: 'steal time', loads: 'time.steal_clock' }
const PREEMPTED_FIELD: SharedByte = { name: 'steal time, preempted', loads: 'lock.vcpu_is_preempted' }

export interface StealTimeOptions {
  readonly effects: Effects
  readonly vcpu: number
  /** Flushes that guests leave to the host; undefined: they cannot. */
  readonly onFlush: (() => void) | undefined
}

export class StealTime implements Stateful {
  readonly #options: StealTimeOptions
  #value = 0n
  /** What was told of `stolen()`. */
  #told = 0
  readonly #head = new Uint8Array(PREEMPTED + 1)
  readonly #view = new DataView(this.#head.buffer)

  constructor(options: StealTimeOptions) {
    this.#options = options
  }

  transfer(state: Transfer): void {
    this.#value = state.field('value', this.#value)
    this.#told = state.field('told', this.#told)
  }

  get value(): bigint {
    return this.#value
  }

  /** False: #GP(0). */
  write(value: bigint): boolean {
    if ((value & RESERVED) !== 0n) return false
    this.#value = value
    this.#share()
    this.enter()
    return true
  }

  /** The vCPU's turn begins. */
  enter(): void {
    if ((this.#value & ENABLED) === 0n) return
    const { effects, vcpu, onFlush } = this.#options
    const address = this.#value & ADDRESS
    const area = effects.memory.read(address, BYTES)
    if (!area) return
    if (onFlush && (area[PREEMPTED] as number) & FLUSH_TLB) {
      effects.mmu.flush(vcpu)
      onFlush()
    }
    this.#head.set(area.subarray(0, PREEMPTED))
    this.#head[PREEMPTED] = 0
    const stolen = effects.time.stolen(vcpu)
    const steal = this.#view.getBigUint64(0, true) + BigInt(stolen - this.#told)
    this.#told = stolen
    this.#view.setBigUint64(0, steal, true)
    // The even version after the one that is there; no guest code runs meanwhile.
    this.#view.setUint32(VERSION, ((this.#view.getUint32(VERSION, true) + 1) | 1) + 1, true)
    effects.memory.write(address, this.#head)
  }

  /** It has ended. */
  leave(): void {
    if ((this.#value & ENABLED) === 0n) return
    this.#options.effects.memory.write((this.#value & ADDRESS) + BigInt(PREEMPTED), preempted)
  }

  reset(): void {
    this.#value = 0n
    this.#share()
  }

  #share(): void {
    const { effects, vcpu } = this.#options
    const address = this.#value & ENABLED ? this.#value & ADDRESS : undefined
    effects.memory.share(STEAL_FIELD, vcpu, address)
    effects.memory.share(PREEMPTED_FIELD, vcpu, address === undefined ? undefined : address + BigInt(PREEMPTED))
  }
}

const preempted = Uint8Array.of(PREEMPTED_BIT)

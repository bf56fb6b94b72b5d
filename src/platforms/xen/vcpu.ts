/** A vCPU's part of the domain: where its vcpu_info is, its run states, its timers. */
import type { Context, VcpuEnd } from './context.ts'

const VCPU_INFO_BYTES = 64

/** vcpu_info: offsets of what both layouts have in common. */
const UPCALL_PENDING = 0
const UPCALL_MASK = 1

export class XenVcpu implements VcpuEnd {
  readonly id: number
  readonly #domain: Context
  /** Address of a registered vcpu_info. */
  #registered: number | undefined
  /** It has a state in which to begin (VCPUOP_initialise, or the domain builder's). */
  initialised = false

  constructor(domain: Context, id: number) {
    this.#domain = domain
    this.id = id
  }

  /** Address in memory of its vcpu_info. There are at most 32 vCPUs, so each has a place in shared_info. */
  get info(): number {
    return this.#registered ?? this.#domain.sharedInfo.address + this.id * VCPU_INFO_BYTES
  }

  get pending(): boolean {
    return this.#domain.effects.memory.view.getUint8(this.info + UPCALL_PENDING) !== 0
  }

  /** evtchn_upcall_mask, which means something to PV guests only. */
  get masked(): boolean {
    return this.#domain.effects.memory.view.getUint8(this.info + UPCALL_MASK) !== 0
  }

  set masked(value: boolean) {
    this.#domain.effects.memory.store8(this.info + UPCALL_MASK, value ? 1 : 0)
  }

  markPending(): void {
    if (this.pending) return
    this.#domain.effects.memory.store8(this.info + UPCALL_PENDING, 1)
    this.#domain.kind.upcall(this.id)
  }
}

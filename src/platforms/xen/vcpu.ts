/** A vCPU's part of the domain: where its vcpu_info is, its run states, its timers. */
import type { SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import type { Context, VcpuEnd } from './context.ts'
import { Errno } from './errno.ts'
import { Virq } from './events/virq.ts'
import { Runstate } from './time/runstate.ts'
import { Timers } from './time/timers.ts'

const PAGE = 4096
const VCPU_INFO_BYTES = 64

/** vcpu_info: what both layouts have at the same place. */
const UPCALL_PENDING = 0
const UPCALL_MASK = 1
const TSC_TIMESTAMP = 0x28

/** A PV guest's interrupt flag; the time, which each reading loads once. */
const MASKS: SharedByte = {
  name: 'event masks',
  loads: 'irq.save_fl',
  stores: { zero: 'irq.irq_enable', other: 'irq.irq_disable' },
}
const CLOCKS: SharedByte = { name: 'clock pages', loads: 'time.clocksource' }

export class XenVcpu implements VcpuEnd, Stateful {
  readonly id: number
  readonly runstate: Runstate
  readonly timers: Timers
  readonly #domain: Context
  /** The frame and address of a registered vcpu_info. */
  #registered: { readonly frame: number; readonly address: number } | undefined

  constructor(domain: Context, id: number) {
    this.#domain = domain
    this.id = id
    this.runstate = new Runstate(domain, id)
    this.timers = new Timers(domain.effects.time, () => domain.events.virq(id, Virq.TIMER))
    this.#share()
  }

  transfer(state: Transfer): void {
    state.part('runstate', this.runstate)
    state.part('timers', this.timers)
    this.#registered = state.field('registered', this.#registered)
    if (state.loading) this.#share()
  }

  /** As a new domain's: vcpu_info is in shared_info, nothing else is registered, no timer is set. */
  restart(): void {
    if (this.#registered) this.#domain.kind.release(this.#registered.frame)
    this.#registered = undefined
    this.#share()
    this.#domain.kind.movedInfo(this.id, this.info)
    this.runstate.restart()
    this.timers.stop()
    this.timers.setPeriod(0)
  }

  #share(): void {
    const { memory } = this.#domain.effects
    memory.share(MASKS, this.id, BigInt(this.info + UPCALL_MASK))
    memory.share(CLOCKS, this.id, BigInt(this.info + TSC_TIMESTAMP))
  }

  /** Address in memory of its vcpu_info. There are at most 32 vCPUs, so each has a place in shared_info. */
  get info(): number {
    return this.#registered?.address ?? this.#domain.sharedInfo.address + this.id * VCPU_INFO_BYTES
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

  /** VCPUOP_register_vcpu_info: once for each vCPU. */
  registerInfo(frameNumber: number, offset: number, caller: number): number {
    const { kind, effects, wideInfo } = this.#domain
    const { memory } = effects
    if (offset > PAGE - VCPU_INFO_BYTES || offset % (wideInfo ? 8 : 4) !== 0) return Errno.ENXIO
    if (this.#registered || (caller !== this.id && this.#domain.isUp(this.id))) return Errno.EINVAL
    const frame = kind.hold(frameNumber)
    if (frame < 0) return Errno.EINVAL
    const address = frame * PAGE + offset
    const old = memory.bytes(this.info, VCPU_INFO_BYTES).slice()
    memory.place(address, old)
    this.#registered = { frame, address }
    this.#share()
    kind.movedInfo(this.id, address)
    // Everything may be pending: the guest looks, so nothing gets lost.
    if (wideInfo) memory.store64(address + 8, (1n << 64n) - 1n)
    else memory.store32(address + 4, 0xffffffff)
    this.markPending()
    return 0
  }
}

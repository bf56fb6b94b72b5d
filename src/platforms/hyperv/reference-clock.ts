/**
 * Reference time (TLFS, "Timers"): 100 ns since the partition was made, as a counter, and as a page with which the
 * guest computes it from the TSC without asking.
 *
 *     time = ((TSC * scale) >> 64) + offset
 *
 * The counter is computed by the same rule, so that both always agree.
 */
import type { Effects, SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Overlay, type Overlays } from './overlay.ts'

const UNITS_PER_SECOND = 10_000_000n

/** Units per tick of a clock as a fraction of 2^64; rounded up, so that whole units are never missed. */
const scaleOf = (hz: number) => (UNITS_PER_SECOND << 64n) / BigInt(hz) + 1n

const ENABLE = 1n
const BOOT = 0
/** Field ReferenceTscScale, which each reading of the time loads once. */
const SCALE = 8n
const PAGE: SharedByte = { name: 'the reference TSC page', loads: 'time.clocksource' }

const NANOSECONDS = scaleOf(1_000_000_000)

export class ReferenceClock implements Stateful {
  readonly #time: Effects['time']
  readonly #memory: Effects['memory']
  readonly #page: Overlay
  readonly #scale: bigint
  /** Of the page; 0 would say that it cannot be used. */
  #sequence = 0
  #register = 0n

  constructor({ time, memory }: Pick<Effects, 'time' | 'memory'>, overlays: Overlays) {
    this.#time = time
    this.#memory = memory
    this.#page = new Overlay(overlays, false)
    this.#scale = scaleOf(time.tscHz)
  }

  transfer(state: Transfer): void {
    state.part('page', this.#page)
    this.#sequence = state.field('sequence', this.#sequence)
    this.#register = state.field('register', this.#register)
  }

  /** Reference time. */
  now(): bigint {
    return (BigInt(this.#time.now()) * NANOSECONDS) >> 64n
  }

  /** The nanosecond since power-on at which reference time reaches `count`; never before it. */
  when(count: bigint): number {
    return Number(((count << 64n) + NANOSECONDS - 1n) / NANOSECONDS)
  }

  get register(): bigint {
    return this.#register
  }

  /** HV_X64_MSR_REFERENCE_TSC. */
  write(vcpu: number, value: bigint): void {
    this.#register = value
    if (value & ENABLE) this.#renew(vcpu)
    this.#page.place(value & ENABLE ? Number(value >> 12n) : undefined)
    this.#memory.share(PAGE, BOOT, value & ENABLE ? ((value >> 12n) << 12n) + SCALE : undefined)
  }

  #renew(vcpu: number): void {
    // Another TSC or another page is a change: readers must see another sequence number.
    this.#sequence = (this.#sequence % 0xffffffff) + 1
    const page = new DataView(new ArrayBuffer(24))
    page.setUint32(0, this.#sequence, true)
    page.setBigUint64(8, this.#scale, true)
    // Both of one moment: the clock goes on between two questions.
    const moment = BigInt(this.#time.now())
    const tsc = BigInt.asUintN(64, moment + this.#time.tscOffset(vcpu))
    page.setBigInt64(16, ((moment * NANOSECONDS) >> 64n) - ((tsc * this.#scale) >> 64n), true)
    this.#page.store(0, new Uint8Array(page.buffer))
  }
}

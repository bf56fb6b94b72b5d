/** kvmclock: a clock page for each vCPU, and the time of day at power-on. */
import type { Effects, SharedByte } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import {
  CLOCK_PAGE_BYTES,
  ClockFlag,
  type ClockScale,
  clockScale,
  writeClockPage,
  writeWallClock,
} from '../../paravirt/pvclock.ts'

const ENABLED = 1n
const PAGE = 4096
const BOOT = 0
/** Field tsc_timestamp, which each reading of the time loads once. */
const TIMESTAMP = 8n
const PAGES: SharedByte = { name: 'clock pages', loads: 'time.clocksource' }

export class KvmClock implements Stateful {
  readonly #effects: Effects
  readonly #scale: ClockScale
  /** MSR_KVM_SYSTEM_TIME as written. */
  readonly #registered: bigint[]
  /** TSC offsets as the pages have them. */
  readonly #offsets: bigint[]
  /** The boot processor uses the old MSR: KVM makes no promise about several vCPUs then. */
  #old = false
  #wall = 0n
  /** Time of day at time 0, in nanoseconds; taken once, so that it is the same for all who ask. */
  #epoch: bigint | undefined

  constructor(effects: Effects) {
    this.#effects = effects
    this.#scale = clockScale(effects.time.tscHz)
    this.#registered = Array.from({ length: effects.cpu.count }, () => 0n)
    this.#offsets = Array.from({ length: effects.cpu.count }, () => 0n)
  }

  transfer(state: Transfer): void {
    state.list('registered', this.#registered)
    state.list('offsets', this.#offsets)
    this.#old = state.field('old', this.#old)
    this.#wall = state.field('wall', this.#wall)
    this.#epoch = state.field('epoch', this.#epoch)
  }

  /** MSR_KVM_SYSTEM_TIME. */
  registered(vcpu: number): bigint {
    return this.#registered[vcpu] as bigint
  }

  /** The page is valid when the WRMSR is done. An address that is no RAM is kept and never written. */
  register(vcpu: number, value: bigint, old: boolean): void {
    this.#registered[vcpu] = value
    this.#effects.memory.share(PAGES, vcpu, value & ENABLED ? (value & ~ENABLED) + TIMESTAMP : undefined)
    if (vcpu === BOOT && this.#old !== old) {
      this.#old = old
      this.#updateAll()
    } else this.#update(vcpu)
  }

  /** MSR_KVM_WALL_CLOCK, which all vCPUs share. */
  get wall(): bigint {
    return this.#wall
  }

  setWall(address: bigint): void {
    this.#wall = address
    if (address !== 0n) writeWallClock(this.#effects.memory, address, this.epoch())
  }

  epoch(): bigint {
    const { time } = this.#effects
    return (this.#epoch ??= time.wallClock() - BigInt(time.now()))
  }

  /** Now, and the vCPU's TSC at the same moment. */
  moment(vcpu: number): { now: bigint; tsc: bigint } {
    const { time } = this.#effects
    const now = BigInt(time.now())
    const ticks = (now * BigInt(time.tscHz)) / 1_000_000_000n
    return { now, tsc: BigInt.asUintN(64, ticks + time.tscOffset(vcpu)) }
  }

  /** A turn begins: the guest may have set the TSC meanwhile. */
  enter(vcpu: number): void {
    const offset = this.#effects.time.tscOffset(vcpu)
    if (offset === this.#offsets[vcpu]) return
    this.#offsets[vcpu] = offset
    this.#updateAll()
  }

  reset(vcpu: number): void {
    this.#registered[vcpu] = 0n
    this.#effects.memory.share(PAGES, vcpu, undefined)
  }

  #updateAll(): void {
    for (let vcpu = 0; vcpu < this.#registered.length; vcpu++) this.#update(vcpu)
  }

  #update(vcpu: number): void {
    const value = this.#registered[vcpu] as bigint
    const address = value & ~ENABLED
    // A page structure does not cross pages.
    if ((value & ENABLED) === 0n || Number(address & 4095n) + CLOCK_PAGE_BYTES > PAGE) return
    const { now, tsc } = this.moment(vcpu)
    const flags = this.#stable() ? ClockFlag.STABLE : 0
    writeClockPage(this.#effects.memory, address, { tsc, time: now, scale: this.#scale, flags })
  }

  /** Whoever reads whichever page gets times in order: all TSCs are the same. */
  #stable(): boolean {
    const { time } = this.#effects
    const first = time.tscOffset(BOOT)
    return !this.#old && this.#registered.every((_, vcpu) => time.tscOffset(vcpu) === first)
  }
}

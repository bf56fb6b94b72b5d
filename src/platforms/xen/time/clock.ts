/**
 * System time: nanoseconds since the domain's beginning, by vcpu_time_info in each vcpu_info and in an area of the
 * guest's choice, and the time of day at system time 0 in shared_info (xen/xen.h).
 *
 * The TSC counts the machine's own nanoseconds, so what a page says stays right until the guest sets its TSC.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Context } from '../context.ts'
import { CLOCK_PAGE_BYTES, ClockFlag, type ClockScale, clockPage, clockScale } from '../../../paravirt/pvclock.ts'

const TIME_IN_INFO = 0x20
/** shared_info: version, seconds, nanoseconds; the seconds' high half. */
const WALL = { wide: 0xc00, narrow: 0x900 } as const
const WALL_HIGH = { wide: 0xc0c, narrow: 0x924 } as const

export class SystemTime implements Stateful {
  readonly #domain: Context
  readonly scale: ClockScale
  readonly #offsets: bigint[]
  readonly #areas: ({ readonly low: number; readonly high: number } | undefined)[]

  constructor(domain: Context) {
    const { effects } = domain
    this.#domain = domain
    this.scale = clockScale(effects.time.tscHz)
    this.#offsets = Array.from({ length: effects.cpu.count }, () => 0n)
    this.#areas = Array.from({ length: effects.cpu.count }, () => undefined)
  }

  transfer(state: Transfer): void {
    state.list('offsets', this.#offsets)
    state.list('areas', this.#areas)
  }

  /** All pages and the time of day, as the domain builder leaves them; after a change of the layout of shared_info too. */
  start(): void {
    for (let vcpu = 0; vcpu < this.#offsets.length; vcpu++) this.update(vcpu)
    const { sharedInfo, effects, wideInfo } = this.#domain
    const { memory, time } = effects
    const layout = wideInfo ? 'wide' : 'narrow'
    const at = sharedInfo.address + WALL[layout]
    const boot = time.wallClock() - BigInt(time.now())
    const version = memory.view.getUint32(at, true)
    memory.store32(at, (((version + 1) | 1) + 1) >>> 0)
    memory.store32(at + 4, Number(BigInt.asUintN(32, boot / 1_000_000_000n)))
    memory.store32(at + 8, Number(boot % 1_000_000_000n))
    memory.store32(sharedInfo.address + WALL_HIGH[layout], Number((boot / 1_000_000_000n) >> 32n))
  }

  /** A turn begins: the guest may have set its TSC. */
  enter(vcpu: number): void {
    if (this.#domain.effects.time.tscOffset(vcpu) !== this.#offsets[vcpu]) this.update(vcpu)
  }

  /** As a new domain's: no areas. */
  restart(): void {
    this.#areas.fill(undefined)
    this.start()
  }

  /** VCPUOP_register_vcpu_time_memory_area. */
  registerArea(vcpu: number, low: number, high: number): void {
    this.#areas[vcpu] = low === 0 && high === 0 ? undefined : { low, high }
    this.update(vcpu)
  }

  /** Write a vCPU's pages: they hold at this moment, and from it on. */
  update(vcpu: number): void {
    const { effects, vcpus, guest } = this.#domain
    const { memory, time } = effects
    const offset = time.tscOffset(vcpu)
    this.#offsets[vcpu] = offset
    const now = BigInt(time.now())
    const tsc = BigInt.asUintN(64, (now * BigInt(time.tscHz)) / 1_000_000_000n + offset)
    const address = (vcpus[vcpu]?.info as number) + TIME_IN_INFO
    const old = memory.bytes(address, CLOCK_PAGE_BYTES)
    const page = clockPage(old, { tsc, time: now, scale: this.scale, flags: ClockFlag.STABLE })
    memory.place(address, page)
    const area = this.#areas[vcpu]
    // One that has not begun has no page tables.
    if (area && effects.cpu.running(vcpu)) guest.copyOut(vcpu, area.low, area.high, page)
  }
}

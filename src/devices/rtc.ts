/**
 * MC146818 real-time clock and CMOS RAM at ports 0x70 and 0x71 (Motorola MC146818A data sheet), running on UTC. It
 * never ticks by itself: the registers are brought up to date when looked at, and the clock is armed only for an
 * interrupt that the guest enabled.
 */
import type { PortDevice } from '../machine/bus.ts'
import type { Clock, Timer } from '../machine/clock.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

const SECONDS = 0
const SECONDS_ALARM = 1
const MINUTES = 2
const MINUTES_ALARM = 3
const HOURS = 4
const HOURS_ALARM = 5
const WEEKDAY = 6
const DAY = 7
const MONTH = 8
const YEAR = 9
const A = 0xa
const B = 0xb
const C = 0xc
const D = 0xd
/** Where PCs keep the century; FADT says so. */
export const RTC_CENTURY = 0x32

const A_UIP = 0x80
const B_SET = 0x80
const B_UIE = 0x10
const B_BINARY = 4
const B_24H = 2
const C_IRQF = 0x80
const C_PF = 0x40
const C_AF = 0x20
const C_UF = 0x10
const INTERRUPTS = C_PF | C_AF | C_UF

const SECOND = 1e9
/** UIP rises 244 µs before the update, which takes 1984 µs. */
const UIP_NS = 2_228_000
/** After the divider's reset the first update comes half a second later. */
const FIRST_UPDATE_NS = 5e8
const DAY_SECONDS = 86400

export interface RtcOptions {
  readonly clock: Clock
  /** Unix time now, in milliseconds. */
  readonly epoch: number
  readonly setIrq: (level: boolean) => void
}

export class Rtc implements PortDevice, Stateful {
  readonly #clock: Clock
  readonly #setIrq: (level: boolean) => void
  readonly #timer: Timer
  readonly #ram = new Uint8Array(128)
  #index = 0
  /** When the divider last completed a second. */
  #second: number
  /** Up to when periodic events are in register C. */
  #seen: number

  constructor(options: RtcOptions) {
    this.#clock = options.clock
    this.#setIrq = options.setIrq
    this.#timer = options.clock.schedule(Infinity, () => this.#update())
    this.#seen = this.#clock.now()
    this.#second = this.#seen - (options.epoch % 1000) * 1e6
    this.#ram[A] = 0x26
    this.#ram[B] = B_24H
    this.#ram[D] = 0x80
    const seconds = Math.floor(options.epoch / 1000)
    // 1 January 1970 was a Thursday, day 5 here.
    this.#ram[WEEKDAY] = this.#encode(((Math.floor(seconds / DAY_SECONDS) + 4) % 7) + 1)
    this.#setTime(seconds)
  }

  transfer(state: Transfer): void {
    state.array('ram', this.#ram)
    this.#index = state.field('index', this.#index)
    this.#second = state.field('second', this.#second)
    this.#seen = state.field('seen', this.#seen)
  }

  read(port: number): number {
    if ((port & 1) === 0) return 0xff
    this.#update()
    const value = this.#ram[this.#index]
    if (this.#index === A) return value | (this.#updating() ? A_UIP : 0)
    if (this.#index === C) {
      this.#ram[C] = 0
      this.#update()
    }
    return value
  }

  write(port: number, _size: number, value: number): void {
    if ((port & 1) === 0) {
      // Bit 7 masks NMI, of which there is no source here.
      this.#index = value & 0x7f
      return
    }
    this.#update()
    switch (this.#index) {
      case A:
        if ((value & 0x70) === 0x20 && !this.#dividerRuns()) {
          this.#second = this.#clock.now() - FIRST_UPDATE_NS
          this.#seen = this.#clock.now()
        }
        this.#ram[A] = value & 0x7f
        break
      case B:
        // SET stops updates, and with them their interrupt.
        this.#ram[B] = value & B_SET ? value & ~B_UIE : value
        break
      case C:
      case D:
        break
      default:
        this.#ram[this.#index] = value
    }
    this.#update()
  }

  #dividerRuns(): boolean {
    return (this.#ram[A] & 0x70) === 0x20
  }

  #counts(): boolean {
    return this.#dividerRuns() && (this.#ram[B] & B_SET) === 0
  }

  #updating(): boolean {
    return this.#counts() && this.#clock.now() - this.#second >= SECOND - UIP_NS
  }

  /** Bring time and flags up to now, drive the interrupt, plan the next event that can change it. */
  #update(): void {
    const now = this.#clock.now()
    if (this.#dividerRuns()) {
      const period = this.#period()
      const phase = (at: number) => Math.floor((at - this.#second) / period)
      if (phase(now) > phase(this.#seen)) this.#ram[C] |= C_PF
      const elapsed = Math.floor((now - this.#second) / SECOND)
      if (elapsed > 0) {
        if (this.#counts()) this.#count(elapsed)
        this.#second += elapsed * SECOND
      }
    }
    this.#seen = now
    const active = (this.#ram[C] & this.#ram[B] & INTERRUPTS) !== 0
    this.#ram[C] = (this.#ram[C] & INTERRUPTS) | (active ? C_IRQF : 0)
    this.#setIrq(active)
    this.#clock.reschedule(this.#timer, active ? Infinity : this.#nextEvent(now))
  }

  /** Of the periodic interrupt, Infinity if the rate is 0. */
  #period(): number {
    const rate = this.#ram[A] & 15
    if (rate === 0) return Infinity
    // Rates 1 and 2 are those of 8 and 9.
    return (SECOND / 32768) * 2 ** ((rate < 3 ? rate + 7 : rate) - 1)
  }

  #nextEvent(now: number): number {
    const wanted = this.#ram[B] & INTERRUPTS
    let at = Infinity
    if (wanted & C_PF && this.#dividerRuns()) {
      const period = this.#period()
      at = Math.ceil(this.#second + (Math.floor((now - this.#second) / period) + 1) * period)
    }
    if (wanted & (C_AF | C_UF) && this.#counts()) at = Math.min(at, this.#second + SECOND)
    return Number.isNaN(at) ? Infinity : at
  }

  // Time

  #encode(value: number): number {
    return this.#ram[B] & B_BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10)
  }

  #decode(value: number): number {
    return this.#ram[B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15)
  }

  #encodeHour(hour: number): number {
    if (this.#ram[B] & B_24H) return this.#encode(hour)
    return this.#encode(hour % 12 || 12) | (hour < 12 ? 0 : 0x80)
  }

  #decodeHour(value: number): number {
    if (this.#ram[B] & B_24H) return this.#decode(value)
    return (this.#decode(value & 0x7f) % 12) + (value & 0x80 ? 12 : 0)
  }

  /** The registers' time; values that are no date count as the date they overflow to. */
  #time(): number {
    const ram = this.#ram
    const year = this.#decode(ram[RTC_CENTURY]) * 100 + this.#decode(ram[YEAR])
    const date = new Date(0)
    date.setUTCFullYear(year, this.#decode(ram[MONTH]) - 1, this.#decode(ram[DAY]))
    date.setUTCHours(this.#decodeHour(ram[HOURS]), this.#decode(ram[MINUTES]), this.#decode(ram[SECONDS]))
    return date.getTime() / 1000
  }

  #setTime(seconds: number): void {
    const ram = this.#ram
    const date = new Date(seconds * 1000)
    const year = date.getUTCFullYear()
    ram[SECONDS] = this.#encode(date.getUTCSeconds())
    ram[MINUTES] = this.#encode(date.getUTCMinutes())
    ram[HOURS] = this.#encodeHour(date.getUTCHours())
    ram[DAY] = this.#encode(date.getUTCDate())
    ram[MONTH] = this.#encode(date.getUTCMonth() + 1)
    ram[YEAR] = this.#encode(year % 100)
    ram[RTC_CENTURY] = this.#encode(Math.floor(year / 100) % 100)
  }

  #count(elapsed: number): void {
    const ram = this.#ram
    const before = this.#time()
    const days = Math.floor((before + elapsed) / DAY_SECONDS) - Math.floor(before / DAY_SECONDS)
    if (days > 0) ram[WEEKDAY] = this.#encode(((this.#decode(ram[WEEKDAY]) - 1 + days) % 7) + 1)
    this.#setTime(before + elapsed)
    ram[C] |= C_UF
    if (this.#alarmIn(before, elapsed)) ram[C] |= C_AF
  }

  /** Did the alarm's time of day come in the seconds after `before`? Alarm bytes 0xc0 to 0xff match anything. */
  #alarmIn(before: number, elapsed: number): boolean {
    const ram = this.#ram
    const any = (register: number) => ram[register] >= 0xc0
    const second = this.#decode(ram[SECONDS_ALARM])
    const minute = this.#decode(ram[MINUTES_ALARM])
    const hour = this.#decodeHour(ram[HOURS_ALARM])
    for (let i = 1; i <= Math.min(elapsed, DAY_SECONDS); i++) {
      const time = (before + i) % DAY_SECONDS
      if (
        (any(SECONDS_ALARM) || time % 60 === second) &&
        (any(MINUTES_ALARM) || Math.floor(time / 60) % 60 === minute) &&
        (any(HOURS_ALARM) || Math.floor(time / 3600) === hour)
      ) {
        return true
      }
    }
    return false
  }
}

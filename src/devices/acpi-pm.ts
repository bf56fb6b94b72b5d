/**
 * ACPI fixed hardware (ACPI Specification, "ACPI Hardware Specification"): PM1a event and control blocks, PM timer.
 * The machine is always in ACPI mode (no SMI command port), so SCI_EN reads 1.
 */
import type { PortDevice } from '../machine/bus.ts'
import type { Clock } from '../machine/clock.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

export const PM1_EVENT = 0x600
export const PM1_CONTROL = 0x604
export const PM_TIMER = 0x608
/** SLP_TYP of S5, as the DSDT's _S5 says. */
export const SLP_TYP_S5 = 5

const TMR_STS = 1
const PWRBTN_STS = 0x100
const ENABLES = 0x0521

const SCI_EN = 1
const SLP_EN = 0x2000
const CONTROL_WRITABLE = 0x1c02

export interface AcpiPmOptions {
  readonly clock: Clock
  /** The SCI, level-triggered. */
  readonly setSci: (level: boolean) => void
  readonly onPowerOff: () => void
}

export class AcpiPm implements PortDevice, Stateful {
  readonly #options: AcpiPmOptions
  #status = 0
  #enable = 0
  #control = SCI_EN
  /** Halves of the timer's range that have passed when TMR_STS was last up to date. */
  #half = 0
  readonly #timer

  constructor(options: AcpiPmOptions) {
    this.#options = options
    this.#timer = options.clock.schedule(Infinity, () => this.#update())
  }

  transfer(state: Transfer): void {
    this.#status = state.field('status', this.#status)
    this.#enable = state.field('enable', this.#enable)
    this.#control = state.field('control', this.#control)
    this.#half = state.field('half', this.#half)
  }

  pressPowerButton(): void {
    this.#status |= PWRBTN_STS
    this.#update()
  }

  read(port: number, size: number): number {
    if (port >= PM_TIMER) {
      const value = (this.#ticks() % 0x100000000) / 2 ** ((port & 3) * 8)
      return size === 4 ? value : Math.floor(value) & (size === 2 ? 0xffff : 0xff)
    }
    this.#update()
    const register = port & ~1
    const value = register === PM1_EVENT ? this.#status : register === PM1_CONTROL ? this.#control : this.#enable
    return port & 1 ? value >> 8 : size === 1 ? value & 0xff : value
  }

  write(port: number, size: number, value: number): void {
    if (port >= PM_TIMER) return
    this.#update()
    const shift = (port & 1) * 8
    const mask = size === 2 ? 0xffff : 0xff << shift
    const bits = value << shift
    switch (port & ~1) {
      case PM1_EVENT:
        this.#status &= ~bits
        break
      case PM1_EVENT + 2:
        this.#enable = ((this.#enable & ~mask) | bits) & ENABLES
        break
      case PM1_CONTROL:
        this.#control = (((this.#control & ~mask) | bits) & CONTROL_WRITABLE) | SCI_EN
        if (bits & SLP_EN && ((this.#control >> 10) & 7) === SLP_TYP_S5) this.#options.onPowerOff()
        break
    }
    this.#update()
  }

  /** The PM timer runs at 315/88 MHz, 3.579545 MHz. */
  #ticks(): number {
    return Math.floor((this.#options.clock.now() * 315) / 88000)
  }

  /** TMR_STS rises whenever the timer's highest bit, 31, changes. */
  #update(): void {
    const half = Math.floor(this.#ticks() / 0x80000000)
    if (half !== this.#half) this.#status |= TMR_STS
    this.#half = half
    const waits = this.#enable & ~this.#status & TMR_STS
    const next = Math.ceil(((half + 1) * 0x80000000 * 88000) / 315) + 1
    this.#options.clock.reschedule(this.#timer, waits ? next : Infinity)
    this.#options.setSci((this.#status & this.#enable & ENABLES) !== 0)
  }
}

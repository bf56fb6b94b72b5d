/**
 * I/O APIC (Intel 82093AA data sheet, with 24 pins unless there are more), version 0x20: it has the EOI register of later ones.
 * A pin's line is given as asserted or not; polarity is between the guest and its tables.
 */
import type { MmioDevice } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

const IOAPIC_PINS = 24
const VERSION = 0x20

const REMOTE_IRR = 0x4000
const LEVEL = 0x8000
const MASKED = 0x10000
/** Delivery status and remote IRR are read-only. */
const WRITABLE = 0x1afff

const FIXED = 0
const LOWEST = 1

export interface IoApicOptions {
  /** Interrupt message to the local APICs. */
  readonly send: (mode: number, vector: number, level: boolean, logical: boolean, destination: number) => void
  /** Destinations have 15 bits: the upper 7 are bits 49 to 55 of an entry (KVM_FEATURE_MSI_EXT_DEST_ID). */
  readonly extendedIds?: boolean | undefined
  /** Default 24. */
  readonly pins?: number | undefined
  /** Called before a write can change which pins are masked. */
  readonly beforeWrite: () => void
  /** Called after it. */
  readonly afterWrite: () => void
}

export class IoApic implements MmioDevice, Stateful {
  readonly #options: IoApicOptions
  #select = 0
  #id = 0
  readonly #pins: number
  readonly #low: Uint32Array
  readonly #high: Uint32Array
  readonly #line: Uint8Array

  constructor(options: IoApicOptions) {
    this.#options = options
    this.#pins = options.pins ?? IOAPIC_PINS
    this.#low = new Uint32Array(this.#pins).fill(MASKED)
    this.#high = new Uint32Array(this.#pins)
    this.#line = new Uint8Array(this.#pins)
  }

  transfer(state: Transfer): void {
    this.#select = state.field('select', this.#select)
    this.#id = state.field('id', this.#id)
    state.array('low', this.#low)
    state.array('high', this.#high)
    state.array('line', this.#line)
  }

  masked(pin: number): boolean {
    return (this.#low[pin] & MASKED) !== 0
  }

  vector(pin: number): number {
    return this.#low[pin] & 0xff
  }

  setPin(pin: number, asserted: boolean): void {
    const rising = asserted && this.#line[pin] === 0
    this.#line[pin] = asserted ? 1 : 0
    // An edge on a masked pin is lost.
    if (rising || this.#low[pin] & LEVEL) this.#sample(pin)
  }

  /** The local APICs' broadcast that a level-triggered vector was served. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < this.#pins; pin++) {
      const low = this.#low[pin]
      if ((low & 0xff) === vector && low & REMOTE_IRR) {
        this.#low[pin] = low & ~REMOTE_IRR
        if (low & LEVEL) this.#sample(pin)
      }
    }
  }

  /** Send what the pin asks for: its caller saw an edge, or the pin is level-triggered. */
  #sample(pin: number): void {
    const low = this.#low[pin]
    if (low & MASKED || this.#line[pin] === 0) return
    const mode = (low >> 8) & 7
    const level = (low & LEVEL) !== 0 && (mode === FIXED || mode === LOWEST)
    if (level) {
      if (low & REMOTE_IRR) return
      this.#low[pin] = low | REMOTE_IRR
    }
    this.#options.send(mode, low & 0xff, level, (low & 0x800) !== 0, this.#destination(pin))
  }

  #destination(pin: number): number {
    const high = this.#high[pin]
    return (high >>> 24) | (((high >>> 17) & 0x7f) << 8)
  }

  read(offset: number, size: number): number {
    const shift = (offset & 3) * 8
    const register = offset & ~3
    const value = register === 0 ? this.#select : register === 0x10 ? this.#readSelected() : 0
    return size === 4 ? value >>> shift : (value >>> shift) & ((1 << (size * 8)) - 1)
  }

  write(offset: number, size: number, value: number): void {
    if (offset === 0) this.#select = value & 0xff
    else if (offset === 0x10 && size === 4) {
      this.#options.beforeWrite()
      this.#writeSelected(value)
      this.#options.afterWrite()
    } else if (offset === 0x40) this.endOfInterrupt(value & 0xff)
  }

  #readSelected(): number {
    const select = this.#select
    // The arbitration id follows the id.
    if (select === 0 || select === 2) return this.#id
    if (select === 1) return VERSION | ((this.#pins - 1) << 16)
    const pin = (select - 0x10) >> 1
    if (pin < 0 || pin >= this.#pins) return 0
    return select & 1 ? this.#high[pin] : this.#low[pin]
  }

  #writeSelected(value: number): void {
    const select = this.#select
    if (select === 0) this.#id = value & 0x0f000000
    const pin = (select - 0x10) >> 1
    if (pin < 0 || pin >= this.#pins) return
    if (select & 1) {
      this.#high[pin] = value & (this.#options.extendedIds ? 0xfffe0000 : 0xff000000)
      return
    }
    let low = (value & WRITABLE) | (this.#low[pin] & REMOTE_IRR)
    // Remote IRR has no meaning for an edge; making a pin edge-triggered clears it, which kernels use to do so.
    if ((low & LEVEL) === 0) low &= ~REMOTE_IRR
    this.#low[pin] = low
    if (low & LEVEL) this.#sample(pin)
  }
}

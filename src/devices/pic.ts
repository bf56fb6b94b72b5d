/**
 * The two cascaded 8259A interrupt controllers of a PC (Intel 8259A data sheet), with the edge/level control
 * registers 0x4d0 and 0x4d1 of EISA and PCI chipsets. The slave's INT is the master's IR2. Vectors are as in 8086
 * mode, the only one that a PC can use.
 */
import type { PortDevice } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

/** Interrupt requests that are edge-triggered whatever ELCR says: timer, keyboard, cascade; RTC, FPU. */
const ELCR_FIXED = [0x07, 0x21]
/** The line to the master that a slave drives. */
const CASCADE = 2

/** One 8259A. */
class Chip implements Stateful {
  /** Latched or held requests. */
  irr = 0
  isr = 0
  /** Nothing gets through before a kernel has initialised the chip. */
  imr = 0xff
  /** Lines as they are. */
  line = 0
  elcr = 0
  readonly #elcrFixed: number

  #icw1 = 0
  #vector = 0
  #icw4 = 0
  /** Next expected initialisation word, 0: initialised. */
  #expect = 0
  /** The request of lowest priority. */
  #lowest = 7
  #rotateInAeoi = false
  #specialMask = false
  #readIsr = false
  #poll = false
  readonly #master: boolean

  constructor(master: boolean) {
    this.#master = master
    this.#elcrFixed = ELCR_FIXED[master ? 0 : 1]
  }

  transfer(state: Transfer): void {
    this.irr = state.field('irr', this.irr)
    this.isr = state.field('isr', this.isr)
    this.imr = state.field('imr', this.imr)
    this.line = state.field('line', this.line)
    this.elcr = state.field('elcr', this.elcr)
    this.#icw1 = state.field('icw1', this.#icw1)
    this.#vector = state.field('vector', this.#vector)
    this.#icw4 = state.field('icw4', this.#icw4)
    this.#expect = state.field('expect', this.#expect)
    this.#lowest = state.field('lowest', this.#lowest)
    this.#rotateInAeoi = state.field('rotateInAeoi', this.#rotateInAeoi)
    this.#specialMask = state.field('specialMask', this.#specialMask)
    this.#readIsr = state.field('readIsr', this.#readIsr)
    this.#poll = state.field('poll', this.#poll)
  }

  #level(): number {
    return this.#icw1 & 8 ? 0xff : this.elcr
  }

  writeElcr(value: number): void {
    this.elcr = value & ~this.#elcrFixed
    this.irr = (this.irr & ~this.elcr) | (this.line & this.elcr)
  }

  /** A request is latched by its edge, or held by its level, and in both cases gone when the line is low. */
  setLine(ir: number, high: boolean): void {
    const bit = 1 << ir
    if (!high) {
      this.line &= ~bit
      this.irr &= ~bit
      return
    }
    if ((this.line & bit) === 0 || this.#level() & bit) this.irr |= bit
    this.line |= bit
  }

  /** Place in the order of priority, 0 the highest. */
  #rank(ir: number): number {
    return (ir - this.#lowest - 1) & 7
  }

  #highest(bits: number): number {
    if (bits === 0) return -1
    const byRank = ((bits | (bits << 8)) >> (this.#lowest + 1)) & 0xff
    const rank = 31 - Math.clz32(byRank & -byRank)
    return (this.#lowest + 1 + rank) & 7
  }

  /** The request that INT stands for, or -1. */
  request(): number {
    const ir = this.#highest(this.irr & ~this.imr)
    if (ir < 0 || this.#expect !== 0) return -1
    // In special mask mode, masked levels in service hold nothing back.
    let service = this.#specialMask ? this.isr & ~this.imr : this.isr
    // Special fully nested: the master lets further requests of the same slave through.
    if (this.#icw4 & 0x10 && this.#master && ir === CASCADE) service &= ~(1 << CASCADE)
    const inService = this.#highest(service)
    return inService < 0 || this.#rank(ir) < this.#rank(inService) ? ir : -1
  }

  /** INTA: put the request in service; 7 without ISR if it went away. */
  acknowledge(): number {
    const ir = this.request()
    if (ir < 0) return 7
    const bit = 1 << ir
    if ((this.#level() & bit) === 0) this.irr &= ~bit
    if (this.#icw4 & 2) {
      if (this.#rotateInAeoi) this.#lowest = ir
    } else this.isr |= bit
    return ir
  }

  vector(ir: number): number {
    return this.#vector | ir
  }

  read(address: number): number {
    if (this.#poll) {
      this.#poll = false
      return this.request() < 0 ? 0 : 0x80 | this.acknowledge()
    }
    if (address === 1) return this.imr
    return this.#readIsr ? this.isr : this.irr
  }

  write(address: number, value: number): void {
    if (address === 0) {
      if (value & 0x10) this.#initialise(value)
      else if (value & 8) this.#writeOcw3(value)
      else this.#writeOcw2(value)
      return
    }
    switch (this.#expect) {
      case 2:
        this.#vector = value & 0xf8
        this.#expect = (this.#icw1 & 2) === 0 ? 3 : this.#icw1 & 1 ? 4 : 0
        break
      case 3:
        // How they are cascaded is wired.
        this.#expect = this.#icw1 & 1 ? 4 : 0
        break
      case 4:
        this.#icw4 = value & 0x1f
        this.#expect = 0
        break
      default:
        this.imr = value
    }
  }

  #initialise(icw1: number): void {
    this.#icw1 = icw1
    this.#expect = 2
    this.#icw4 = 0
    this.imr = 0
    this.isr = 0
    // The edge sense circuit is reset: a line must go low and high again.
    this.irr = this.line & this.#level()
    this.#lowest = 7
    this.#rotateInAeoi = false
    this.#specialMask = false
    this.#readIsr = false
    this.#poll = false
  }

  #writeOcw2(value: number): void {
    const ir = value & 7
    switch (value >> 5) {
      case 0:
      case 4:
        this.#rotateInAeoi = value >= 0x80
        break
      case 1:
        this.#nonSpecificEoi()
        break
      case 3:
        this.isr &= ~(1 << ir)
        break
      case 5: {
        const served = this.#nonSpecificEoi()
        if (served >= 0) this.#lowest = served
        break
      }
      case 6:
        this.#lowest = ir
        break
      case 7:
        this.isr &= ~(1 << ir)
        this.#lowest = ir
        break
    }
  }

  #nonSpecificEoi(): number {
    const ir = this.#highest(this.#specialMask ? this.isr & ~this.imr : this.isr)
    if (ir >= 0) this.isr &= ~(1 << ir)
    return ir
  }

  #writeOcw3(value: number): void {
    if (value & 2) this.#readIsr = (value & 1) !== 0
    if (value & 0x40) this.#specialMask = (value & 0x20) !== 0
    this.#poll = (value & 4) !== 0
  }
}

export interface PicOptions {
  /** The master's INT. */
  readonly setIntr: (level: boolean) => void
  /** Called before an access that sees or changes the state of requests. */
  readonly beforeAccess: () => void
  /** Called after a write. */
  readonly afterWrite: () => void
}

export class PicPair implements PortDevice, Stateful {
  readonly #options: PicOptions
  readonly #master = new Chip(true)
  readonly #slave = new Chip(false)
  #intr = false

  constructor(options: PicOptions) {
    this.#options = options
  }

  transfer(state: Transfer): void {
    state.part('master', this.#master)
    state.part('slave', this.#slave)
    this.#intr = state.field('intr', this.#intr)
  }

  masked(irq: number): boolean {
    const chip = irq < 8 ? this.#master : this.#slave
    return (chip.imr & (1 << (irq & 7))) !== 0
  }

  /** It was asked for and not taken yet. */
  requested(irq: number): boolean {
    const chip = irq < 8 ? this.#master : this.#slave
    return (chip.irr & (1 << (irq & 7))) !== 0
  }

  setIrq(irq: number, high: boolean): void {
    if (irq < 8) this.#master.setLine(irq, high)
    else this.#slave.setLine(irq - 8, high)
    this.#update()
  }

  /** INTA cycles of the processor: the vector. */
  acknowledge(): number {
    const ir = this.#master.acknowledge()
    let vector = this.#master.vector(ir)
    if (ir === CASCADE) {
      vector = this.#slave.vector(this.#slave.acknowledge())
      // The slave drops INT during the cycle; if it has another request that is a new edge.
      this.#master.setLine(CASCADE, false)
    }
    this.#update()
    return vector
  }

  read(port: number): number {
    this.#options.beforeAccess()
    if (port >= 0x4d0) return (port & 1 ? this.#slave : this.#master).elcr
    // A read may be a poll, which is an INTA cycle.
    const value = (port & 0x80 ? this.#slave : this.#master).read(port & 1)
    this.#update()
    return value
  }

  write(port: number, _size: number, value: number): void {
    this.#options.beforeAccess()
    if (port >= 0x4d0) (port & 1 ? this.#slave : this.#master).writeElcr(value)
    else (port & 0x80 ? this.#slave : this.#master).write(port & 1, value)
    this.#update()
    this.#options.afterWrite()
  }

  #update(): void {
    this.#master.setLine(CASCADE, this.#slave.request() >= 0)
    const intr = this.#master.request() >= 0
    if (intr === this.#intr) return
    this.#intr = intr
    this.#options.setIntr(intr)
  }
}

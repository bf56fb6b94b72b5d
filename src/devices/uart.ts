/**
 * 16550A UART (National Semiconductor PC16550D data sheet). Transmission takes no time. Characters come in at the
 * speed that the divisor sets, never faster than the guest drains its FIFO: the host's queue holds the rest, as a
 * peer does that obeys RTS. The peer is always there: CTS, DSR and DCD are active.
 *
 * A fast port's peer does not keep to the speed: it fills the FIFO as soon as there is room, in bursts with pauses, so
 * that a driver that empties the FIFO in its interrupt handler comes to an end.
 */
import type { Clock, Timer } from '../machine/clock.ts'
import type { PortDevice } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

const IER_RDA = 1
const IER_THRE = 2
const IER_RLS = 4
const IER_MSR = 8

const FCR_ENABLE = 1
const FCR_CLEAR_RX = 2

const LCR_BREAK = 0x40
const LCR_DLAB = 0x80

const MCR_RTS = 2
const MCR_OUT2 = 8
const MCR_LOOP = 0x10

const LSR_DR = 1
const LSR_OE = 2
const LSR_BI = 0x10
const LSR_THRE = 0x20
const LSR_TEMT = 0x40
const LSR_FIFO_ERROR = 0x80
const LSR_ERRORS = 0x1e

const IIR_NONE = 1
const IIR_MSR = 0
const IIR_THRE = 2
const IIR_RDA = 4
const IIR_RLS = 6
const IIR_TIMEOUT = 0xc
const IIR_FIFO = 0xc0

const FIFO_SIZE = 16
const TRIGGER = [1, 4, 8, 14]
/** A fast peer sends so many characters, and the next after so many nanoseconds. */
const BURST = 256
const PAUSE = 250_000
/** Baud clock: 1.8432 MHz / 16. */
const MAX_BAUD = 115200

export interface UartOptions {
  readonly clock: Clock
  /** The line as it reaches the bus, gated by OUT2. */
  readonly setIrq: (level: boolean) => void
  readonly onTransmit: (byte: number) => void
  readonly fast?: boolean | undefined
}

export class Uart implements PortDevice, Stateful {
  readonly #clock: Clock
  readonly #setIrq: (level: boolean) => void
  readonly #onTransmit: (byte: number) => void
  readonly #fast: boolean

  #ier = 0
  #fcr = 0
  #lcr = 0
  #mcr = 0
  #lsr = LSR_THRE | LSR_TEMT
  #msr = 0xb0
  #scratch = 0
  #divisor = 1
  #thrEmptyPending = false
  #timeoutPending = false
  #irq = false

  /** Received characters, in a ring; each with its LSR error bits in bits 8-15. */
  readonly #fifo = new Uint16Array(FIFO_SIZE)
  #fifoHead = 0
  #fifoCount = 0

  /** What the peer wants to send. */
  #queue: number[] = []
  #queueHead = 0
  /** When the line is free for the peer's next character. */
  #lineFree = 0
  /** What is left of a fast peer's burst. */
  #burst = 0
  readonly #arrival: Timer
  readonly #timeout: Timer

  constructor(options: UartOptions) {
    this.#clock = options.clock
    this.#setIrq = options.setIrq
    this.#onTransmit = options.onTransmit
    this.#fast = options.fast ?? false
    this.#arrival = options.clock.schedule(Infinity, () => this.#arrive())
    this.#timeout = options.clock.schedule(Infinity, () => {
      this.#timeoutPending = this.#fifoCount > 0
      this.#update()
    })
  }

  /** The peer sends these; they arrive when the guest has RTS active and room. */
  receive(bytes: Iterable<number>): void {
    for (const byte of bytes) this.#queue.push(byte & 0xff)
    this.#feed()
  }

  /** Characters that the peer still holds back. */
  get queued(): number {
    return this.#queue.length - this.#queueHead
  }

  read(port: number): number {
    switch (port & 7) {
      case 0:
        return this.#lcr & LCR_DLAB ? this.#divisor & 0xff : this.#readData()
      case 1:
        return this.#lcr & LCR_DLAB ? this.#divisor >> 8 : this.#ier
      case 2:
        return this.#readIir()
      case 3:
        return this.#lcr
      case 4:
        return this.#mcr
      case 5:
        return this.#readLsr()
      case 6:
        return this.#readMsr()
      default:
        return this.#scratch
    }
  }

  write(port: number, _size: number, value: number): void {
    switch (port & 7) {
      case 0:
        if (this.#lcr & LCR_DLAB) this.#divisor = (this.#divisor & 0xff00) | value
        else this.#transmit(value)
        break
      case 1:
        if (this.#lcr & LCR_DLAB) this.#divisor = (this.#divisor & 0xff) | (value << 8)
        else this.#writeIer(value & 0xf)
        break
      case 2:
        this.#writeFcr(value)
        break
      case 3:
        if (value & ~this.#lcr & LCR_BREAK && this.#mcr & MCR_LOOP) this.#push(LSR_BI << 8)
        this.#lcr = value
        break
      case 4:
        this.#writeMcr(value & 0x1f)
        break
      case 7:
        this.#scratch = value
        break
    }
  }

  transfer(state: Transfer): void {
    this.#ier = state.field('ier', this.#ier)
    this.#fcr = state.field('fcr', this.#fcr)
    this.#lcr = state.field('lcr', this.#lcr)
    this.#mcr = state.field('mcr', this.#mcr)
    this.#lsr = state.field('lsr', this.#lsr)
    this.#msr = state.field('msr', this.#msr)
    this.#scratch = state.field('scratch', this.#scratch)
    this.#divisor = state.field('divisor', this.#divisor)
    this.#thrEmptyPending = state.field('thrEmptyPending', this.#thrEmptyPending)
    this.#timeoutPending = state.field('timeoutPending', this.#timeoutPending)
    this.#irq = state.field('irq', this.#irq)
    state.array('fifo', this.#fifo)
    this.#fifoHead = state.field('fifoHead', this.#fifoHead)
    this.#fifoCount = state.field('fifoCount', this.#fifoCount)
    state.list('queue', this.#queue)
    this.#queueHead = state.field('queueHead', this.#queueHead)
    this.#lineFree = state.field('lineFree', this.#lineFree)
    this.#burst = state.field('burst', this.#burst)
  }

  #transmit(byte: number): void {
    if (this.#mcr & MCR_LOOP) this.#push(byte & (0xff >> (3 - (this.#lcr & 3))))
    else this.#onTransmit(byte)
    // The byte leaves at once: the interrupt goes away and comes back, which is an edge on the line.
    this.#thrEmptyPending = false
    this.#update()
    this.#thrEmptyPending = true
    this.#update()
  }

  #writeIer(value: number): void {
    const enabled = value & ~this.#ier
    this.#ier = value
    if (enabled & IER_THRE) this.#thrEmptyPending = true
    this.#update()
  }

  #writeFcr(value: number): void {
    // Switching the FIFOs on or off clears them; without bit 0 the other bits are ignored.
    // The transmitter's FIFO is always empty, so clearing that (bit 2) changes nothing.
    const toggled = (value ^ this.#fcr) & FCR_ENABLE
    if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_RX)) this.#clearReceiver()
    this.#fcr = value & FCR_ENABLE ? value & 0xc9 : 0
    this.#feed()
    this.#update()
  }

  #writeMcr(value: number): void {
    this.#mcr = value
    const lines = this.#modemLines()
    const changed = (lines ^ this.#msr) & 0xf0
    let delta = (changed >> 4) & 0xb
    // TERI: the ring indicator went from active to inactive.
    if (changed & this.#msr & 0x40) delta |= 4
    this.#msr = lines | (this.#msr & 0xf) | delta
    this.#feed()
    this.#update()
  }

  /** MSR bits 4-7 CTS, DSR, RI, DCD: the peer's, or in loopback RTS, DTR, OUT1, OUT2. */
  #modemLines(): number {
    const mcr = this.#mcr
    if ((mcr & MCR_LOOP) === 0) return 0xb0
    return ((mcr & 2) << 3) | ((mcr & 1) << 5) | ((mcr & 4) << 4) | ((mcr & 8) << 4)
  }

  #readData(): number {
    if (this.#fifoCount === 0) return this.#fifo[this.#fifoHead] & 0xff
    const entry = this.#fifo[this.#fifoHead]
    this.#fifoHead = (this.#fifoHead + 1) % FIFO_SIZE
    this.#fifoCount--
    this.#timeoutPending = false
    this.#receiverChanged()
    this.#feed()
    return entry & 0xff
  }

  #readIir(): number {
    const source = this.#source()
    if (source === IIR_THRE) {
      this.#thrEmptyPending = false
      this.#update()
    }
    return source | (this.#fcr & FCR_ENABLE ? IIR_FIFO : 0)
  }

  #readLsr(): number {
    const value = this.#lsr
    if (value & LSR_ERRORS) {
      this.#lsr &= ~LSR_ERRORS
      this.#fifo[this.#fifoHead] &= 0xff
      this.#showReceiver()
    }
    return value
  }

  #readMsr(): number {
    const value = this.#msr
    this.#msr &= 0xf0
    this.#update()
    return value
  }

  #clearReceiver(): void {
    this.#fifoHead = 0
    this.#fifoCount = 0
    this.#lsr &= ~LSR_ERRORS
    this.#timeoutPending = false
    this.#receiverChanged()
  }

  /** A character from the line; bits 8-15 are its errors. */
  #push(entry: number): void {
    const capacity = this.#fcr & FCR_ENABLE ? FIFO_SIZE : 1
    if (this.#fifoCount === capacity) {
      this.#lsr |= LSR_OE
      // The FIFO keeps what it has; the single receiver register is overwritten.
      if (capacity === 1) this.#fifo[this.#fifoHead] = entry
    } else {
      this.#fifo[(this.#fifoHead + this.#fifoCount) % FIFO_SIZE] = entry
      this.#fifoCount++
    }
    this.#receiverChanged()
  }

  /** A character came or went: the character timeout starts anew. */
  #receiverChanged(): void {
    const waits = this.#fcr & FCR_ENABLE && this.#fifoCount > 0 && !this.#timeoutPending
    this.#clock.reschedule(this.#timeout, waits ? this.#clock.now() + 4 * this.#characterTime() : Infinity)
    this.#showReceiver()
  }

  /** What LSR says of the receiver's contents: DR, the errors at its head, errors further behind. */
  #showReceiver(): void {
    this.#lsr &= ~(LSR_DR | LSR_FIFO_ERROR)
    if (this.#fifoCount > 0) {
      this.#lsr |= LSR_DR | (this.#fifo[this.#fifoHead] >> 8)
      for (let i = 0; this.#fcr & FCR_ENABLE && i < this.#fifoCount; i++) {
        if (this.#fifo[(this.#fifoHead + i) % FIFO_SIZE] > 0xff) this.#lsr |= LSR_FIFO_ERROR
      }
    }
    this.#update()
  }

  /** Plan the next arrival, if the peer has something and may send it. */
  #feed(): void {
    const capacity = this.#fcr & FCR_ENABLE ? FIFO_SIZE : 1
    const ready = this.queued > 0 && this.#fifoCount < capacity && (this.#mcr & (MCR_RTS | MCR_LOOP)) === MCR_RTS
    if (!ready) this.#clock.cancel(this.#arrival)
    else if (this.#burst > 0) this.#take()
    else if (this.#arrival.at === Infinity) {
      this.#clock.reschedule(this.#arrival, Math.max(this.#clock.now(), this.#lineFree))
    }
  }

  #arrive(): void {
    if (this.#fast) this.#burst = BURST
    this.#take()
    this.#lineFree = this.#clock.now() + (this.#fast ? PAUSE : this.#characterTime())
    this.#feed()
  }

  /** The next character, and of a burst all that there is room for. */
  #take(): void {
    if (this.#burst > 0) this.#burst--
    this.#push(this.#queue[this.#queueHead++] & (0xff >> (3 - (this.#lcr & 3))))
    if (this.#queueHead === this.#queue.length) {
      this.#queue = []
      this.#queueHead = 0
    }
    if (this.#burst > 0) this.#feed()
  }

  /** Nanoseconds for start bit, data, parity and stop bits. */
  #characterTime(): number {
    const bits = 7 + (this.#lcr & 3) + ((this.#lcr >> 2) & 1) + ((this.#lcr >> 3) & 1)
    return Math.floor((bits * (this.#divisor || 0x10000) * 1e9) / MAX_BAUD)
  }

  /** The pending interrupt of highest priority, as IIR shows it. */
  #source(): number {
    const ier = this.#ier
    if (ier & IER_RLS && this.#lsr & LSR_ERRORS) return IIR_RLS
    if (ier & IER_RDA) {
      const trigger = this.#fcr & FCR_ENABLE ? TRIGGER[this.#fcr >> 6] : 1
      if (this.#fifoCount >= trigger) return IIR_RDA
      if (this.#timeoutPending) return IIR_TIMEOUT
    }
    if (ier & IER_THRE && this.#thrEmptyPending) return IIR_THRE
    if (ier & IER_MSR && this.#msr & 0xf) return IIR_MSR
    return IIR_NONE
  }

  #update(): void {
    const irq = (this.#mcr & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2 && this.#source() !== IIR_NONE
    if (irq === this.#irq) return
    this.#irq = irq
    this.#setIrq(irq)
  }
}

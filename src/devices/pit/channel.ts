/**
 * One counter of an 8254 (Intel 8254 data sheet). It never ticks: counts, OUT and the next edge follow from the tick
 * at which the counter was loaded. A count written at tick t is loaded at t + 1.
 */

import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const INTERRUPT = 0
const ONE_SHOT = 1
const RATE = 2
const SQUARE = 3
const HARDWARE_STROBE = 5

const LSB = 1
const MSB = 2
const BOTH = 3

export class PitChannel implements Stateful {
  #mode = SQUARE
  #access = BOTH
  #bcd = false
  #gate = true

  /** Initial count in force, 1 to the modulus. */
  #count = 0x10000
  /** Tick at which it was or will be loaded; meaningless until `#loaded`. */
  #loadTick = 0
  /** A count was loaded, or in modes 1 and 5 triggered, since the control word. */
  #loaded = false
  /** Tick at which counting was suspended, -1: it was not. */
  #heldAt = -1
  /** Count written but not in force, 0: none; modes 2 and 3 load it at `#nextTick`. */
  #next = 0
  #nextTick = Infinity
  /** Mode 1: OUT between a trigger and the tick that acts on it. */
  #outBefore = true

  #writeMsb = false
  #writtenLsb = 0
  #readMsb = false
  /** Latched count and status, -1: not latched. */
  #latch = -1
  #statusLatch = -1

  transfer(state: Transfer): void {
    this.#mode = state.field('mode', this.#mode)
    this.#access = state.field('access', this.#access)
    this.#bcd = state.field('bcd', this.#bcd)
    this.#gate = state.field('gate', this.#gate)
    this.#count = state.field('count', this.#count)
    this.#loadTick = state.field('loadTick', this.#loadTick)
    this.#loaded = state.field('loaded', this.#loaded)
    this.#heldAt = state.field('heldAt', this.#heldAt)
    this.#next = state.field('next', this.#next)
    this.#nextTick = state.field('nextTick', this.#nextTick)
    this.#outBefore = state.field('outBefore', this.#outBefore)
    this.#writeMsb = state.field('writeMsb', this.#writeMsb)
    this.#writtenLsb = state.field('writtenLsb', this.#writtenLsb)
    this.#readMsb = state.field('readMsb', this.#readMsb)
    this.#latch = state.field('latch', this.#latch)
    this.#statusLatch = state.field('statusLatch', this.#statusLatch)
  }

  #modulus(): number {
    return this.#bcd ? 10000 : 0x10000
  }

  // Programming

  /** Control word for this counter, a latch command included. */
  control(value: number, tick: number): void {
    this.#advance(tick)
    const access = (value >> 4) & 3
    if (access === 0) {
      this.latchCount(tick)
      return
    }
    this.#access = access
    const mode = (value >> 1) & 7
    this.#mode = mode > 5 ? mode - 4 : mode
    this.#bcd = (value & 1) !== 0
    this.#loaded = false
    this.#heldAt = -1
    this.#next = 0
    this.#nextTick = Infinity
    this.#writeMsb = false
    this.#readMsb = false
    this.#latch = -1
    this.#statusLatch = -1
  }

  write(value: number, tick: number): void {
    this.#advance(tick)
    if (this.#access === LSB) this.#setCount(value, tick)
    else if (this.#access === MSB) this.#setCount(value << 8, tick)
    else if (this.#writeMsb) {
      this.#writeMsb = false
      this.#setCount(this.#writtenLsb | (value << 8), tick)
    } else {
      this.#writeMsb = true
      this.#writtenLsb = value
      // In mode 0 the first byte stops counting and makes OUT low.
      if (this.#mode === INTERRUPT) this.#loaded = false
    }
  }

  #setCount(written: number, tick: number): void {
    const value = this.#bcd ? fromBcd(written) : written
    const count = value === 0 ? this.#modulus() : value
    switch (this.#mode) {
      case ONE_SHOT:
      case HARDWARE_STROBE:
        this.#next = count
        break
      case RATE:
      case SQUARE:
        if (this.#loaded && this.#heldAt < 0) {
          this.#next = count
          this.#nextTick = this.#boundary(tick)
          break
        }
        this.#load(count, tick + 1)
        break
      default: // 0 and 4
        this.#load(count, tick + 1)
    }
  }

  #load(count: number, tick: number): void {
    this.#count = count
    this.#loadTick = tick
    this.#loaded = true
    this.#next = 0
    this.#nextTick = Infinity
    this.#heldAt = this.#gate || this.#mode === ONE_SHOT || this.#mode === HARDWARE_STROBE ? -1 : tick
  }

  setGate(gate: boolean, tick: number): void {
    if (gate === this.#gate) return
    this.#advance(tick)
    this.#gate = gate
    const triggered = this.#mode === ONE_SHOT || this.#mode === HARDWARE_STROBE
    if (triggered) {
      if (!gate || (this.#next === 0 && !this.#loaded)) return
      this.#outBefore = this.out(tick)
      this.#load(this.#next || this.#count, tick + 1)
    } else if (!this.#loaded) return
    else if (!gate) this.#heldAt = Math.max(tick, this.#loadTick)
    else if (this.#mode === RATE || this.#mode === SQUARE) this.#load(this.#next || this.#count, tick + 1)
    else {
      this.#loadTick += Math.max(tick, this.#heldAt) - this.#heldAt
      this.#heldAt = -1
    }
  }

  // Reading

  latchCount(tick: number): void {
    if (this.#latch < 0) this.#latch = this.#read(tick)
  }

  latchStatus(tick: number): void {
    if (this.#statusLatch >= 0) return
    const out = this.out(tick)
    const nullCount = !this.#loaded || this.#next !== 0 || tick < this.#loadTick
    this.#statusLatch =
      (out ? 0x80 : 0) | (nullCount ? 0x40 : 0) | (this.#access << 4) | (this.#mode << 1) | (this.#bcd ? 1 : 0)
  }

  read(tick: number): number {
    if (this.#statusLatch >= 0) {
      const status = this.#statusLatch
      this.#statusLatch = -1
      return status
    }
    const value = this.#latch >= 0 ? this.#latch : this.#read(tick)
    const msb = this.#access === MSB || (this.#access === BOTH && this.#readMsb)
    if (this.#access === BOTH) this.#readMsb = !this.#readMsb
    if (!this.#readMsb) this.#latch = -1
    return msb ? value >> 8 : value & 0xff
  }

  #read(tick: number): number {
    this.#advance(tick)
    const value = this.#value(tick) % this.#modulus()
    return this.#bcd ? toBcd(value) : value
  }

  /** The counting element. */
  #value(tick: number): number {
    const count = this.#count
    if (!this.#loaded) return count
    const elapsed = this.#elapsed(tick)
    if (this.#mode === RATE) return count - (elapsed % count)
    if (this.#mode === SQUARE) {
      const phase = elapsed % count
      const high = highTicks(count)
      return (count & ~1) - 2 * (phase < high ? phase : phase - high)
    }
    const modulus = this.#modulus()
    return (((count - elapsed) % modulus) + modulus) % modulus
  }

  out(tick: number): boolean {
    this.#advance(tick)
    if (!this.#loaded) return this.#mode !== INTERRUPT
    const elapsed = this.#elapsed(tick)
    switch (this.#mode) {
      case INTERRUPT:
        return elapsed >= this.#count
      case ONE_SHOT:
        return tick < this.#loadTick ? this.#outBefore : elapsed >= this.#count
      case RATE:
        return this.#heldAt >= 0 || elapsed % this.#count !== this.#count - 1
      case SQUARE:
        return this.#heldAt >= 0 || elapsed % this.#count < highTicks(this.#count)
      default: // 4 and 5, the strobes
        return elapsed !== this.#count
    }
  }

  /** The next tick after `tick` at which OUT rises. */
  nextRise(tick: number): number {
    this.#advance(tick)
    if (!this.#loaded || this.#heldAt >= 0) return Infinity
    const count = this.#count
    const elapsed = this.#elapsed(tick)
    switch (this.#mode) {
      case INTERRUPT:
      case ONE_SHOT:
        return elapsed < count ? this.#loadTick + count : Infinity
      case RATE:
        return count === 1 ? Infinity : this.#boundary(tick)
      case SQUARE: {
        if (count === 1) return Infinity
        // Ending the low half is a rise; ending the high half is one low half early.
        const boundary = this.#boundary(tick)
        if (elapsed % count >= highTicks(count)) return boundary
        const then = this.#next || count
        return boundary + then - highTicks(then)
      }
      default:
        return elapsed <= count ? this.#loadTick + count + 1 : Infinity
    }
  }

  /** Rises from `first`, which is one, to `tick`. */
  rises(first: number, tick: number): number {
    if (first > tick) return 0
    return this.periodic ? 1 + Math.floor((tick - first) / this.#count) : 1
  }

  get periodic(): boolean {
    return this.#mode === RATE || this.#mode === SQUARE
  }

  /** Ticks of a period. */
  get period(): number {
    return this.#count
  }

  #elapsed(tick: number): number {
    return Math.max(0, (this.#heldAt >= 0 ? this.#heldAt : tick) - this.#loadTick)
  }

  /** Where modes 2 and 3 take a new count: the end of the period, or of the half period. */
  #boundary(tick: number): number {
    const count = this.#count
    const phase = this.#elapsed(tick) % count
    const start = Math.max(tick, this.#loadTick) - phase
    return start + (this.#mode === SQUARE && phase < highTicks(count) ? highTicks(count) : count)
  }

  /** Put a new count in force whose time has come. */
  #advance(tick: number): void {
    if (tick < this.#nextTick) return
    const at = this.#nextTick
    const next = this.#next
    const low = this.#mode === SQUARE && this.#elapsed(at - 1) % this.#count < highTicks(this.#count)
    // After the high half comes the low half of the new count.
    this.#load(next, low ? at - highTicks(next) : at)
  }
}

/** Mode 3: an odd count is high one tick longer than low. */
function highTicks(count: number): number {
  return (count + 1) >> 1
}

function fromBcd(value: number): number {
  return (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15)
}

function toBcd(value: number): number {
  const digit = (unit: number) => Math.floor(value / unit) % 10
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1)
}

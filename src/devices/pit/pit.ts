/**
 * 8254 programmable interval timer at ports 0x40 to 0x43: counter 0 drives IRQ 0, counter 1 was memory refresh,
 * counter 2 is gated and read through port 0x61.
 *
 * A host does not always let its guest run in time, so periodic edges of counter 0 that find the last one still waiting
 * are owed and come one by one as the guest takes them, as on KVM (`lost_tick_policy=delay`): kernels count them against
 * the TSC and give up when they lack.
 */
import type { PortDevice } from '../../machine/bus.ts'
import type { Clock, Timer } from '../../machine/clock.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { PitChannel } from './channel.ts'

/** The input clock is 105/88 MHz (14.31818 MHz / 12). */
const TICKS = 105
const PER_NS = 88000
/** Shorter periods (200 µs, KVM's shortest) are not owed: the guest would do nothing but catch up. */
const SHORTEST_OWED = 239
/** Refresh of memory: a request every 15.085 µs. */
const REFRESH_TICKS = 18

export class Pit implements PortDevice, Stateful {
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #setIrq: (level: boolean) => void
  readonly #waiting: () => boolean
  readonly #channels = [new PitChannel(), new PitChannel(), new PitChannel()]
  /** Somebody would notice IRQ 0. */
  #observed = false
  #line = false
  /** Tick of counter 0's next rising edge. */
  #riseAt = Infinity
  /** Edges that the guest has not seen yet. */
  #owed = 0

  /** `waiting`: the last edge was not taken yet. */
  constructor(clock: Clock, setIrq: (level: boolean) => void, waiting: () => boolean) {
    this.#clock = clock
    this.#setIrq = setIrq
    this.#waiting = waiting
    this.#timer = clock.schedule(Infinity, () => this.sync())
    this.#channels[2].setGate(false, 0)
  }

  transfer(state: Transfer): void {
    state.parts('channels', this.#channels)
    this.#observed = state.field('observed', this.#observed)
    this.#line = state.field('line', this.#line)
    this.#riseAt = state.field('riseAt', this.#riseAt)
    this.#owed = state.field('owed', this.#owed)
  }

  /** Is IRQ 0 unmasked anywhere? Only then edges are worth waking for. */
  set observed(observed: boolean) {
    if (observed === this.#observed) return
    // Of a time in which it was masked nothing is owed.
    if (observed) this.sync()
    this.#owed = 0
    this.#observed = observed
    this.sync()
  }

  /** Bring IRQ 0 up to date: an edge that nobody waited for is shown now. */
  sync(): void {
    const tick = this.#tick()
    const channel = this.#channels[0]
    const rises = channel.rises(this.#riseAt, tick)
    if (rises === 0) this.#drive(channel.out(tick))
    else {
      if (this.#observed && channel.periodic && channel.period >= SHORTEST_OWED)
        this.#owed += this.#waiting() ? rises : rises - 1
      this.#rise()
    }
    this.#riseAt = channel.nextRise(tick)
    this.#clock.reschedule(this.#timer, this.#observed ? nsOfTick(this.#riseAt) : Infinity)
  }

  /** The guest has taken an interrupt, perhaps this one. */
  taken(): void {
    if (this.#owed === 0 || this.#waiting()) return
    this.#owed--
    this.#rise()
  }

  /** However OUT may be by now. */
  #rise(): void {
    this.#drive(false)
    this.#drive(true)
  }

  #drive(level: boolean): void {
    if (level === this.#line) return
    this.#line = level
    this.#setIrq(level)
  }

  #tick(): number {
    return tickOfNs(this.#clock.now())
  }

  read(port: number): number {
    const index = port & 3
    return index === 3 ? 0xff : this.#channels[index].read(this.#tick())
  }

  write(port: number, _size: number, value: number): void {
    this.sync()
    const tick = this.#tick()
    const index = port & 3
    // What counter 0 does from now on has nothing to do with what it did.
    if (index === 0 || (index === 3 && value < 0x40 && (value & 0x30) !== 0)) this.#owed = 0
    if (index !== 3) this.#channels[index].write(value, tick)
    else if (value < 0xc0) this.#channels[value >> 6].control(value, tick)
    else this.#readBack(value, tick)
    this.sync()
  }

  /** Read-back command: bits 1-3 select counters; bit 5 clear latches the count, bit 4 clear the status. */
  #readBack(value: number, tick: number): void {
    for (let index = 0; index < 3; index++) {
      if ((value & (2 << index)) === 0) continue
      if ((value & 0x20) === 0) this.#channels[index].latchCount(tick)
      if ((value & 0x10) === 0) this.#channels[index].latchStatus(tick)
    }
  }

  // Port 0x61's part

  setGate2(gate: boolean): void {
    this.#channels[2].setGate(gate, this.#tick())
  }

  out2(): boolean {
    return this.#channels[2].out(this.#tick())
  }

  /** Toggles with each request for refresh. */
  refresh(): boolean {
    return (Math.floor(this.#tick() / REFRESH_TICKS) & 1) !== 0
  }
}

function tickOfNs(ns: number): number {
  return Math.floor((ns * TICKS) / PER_NS)
}

/** The first nanosecond of a tick. */
function nsOfTick(tick: number): number {
  if (tick === Infinity) return Infinity
  let ns = Math.ceil((tick * PER_NS) / TICKS)
  while (tickOfNs(ns) < tick) ns++
  return ns
}

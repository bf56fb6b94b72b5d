/**
 * A synthetic timer (TLFS, "Synthetic Timers"): one-shot at a reference time, or periodic; it sends a message to a
 * synthetic interrupt source, or (direct mode) interrupts.
 */
import type { Deadline, Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import type { ReferenceClock } from './reference-clock.ts'
import type { Synic } from './synic.ts'

export const TIMERS = 4

/** HV_X64_MSR_STIMERx_CONFIG; vector in bits 4-11, source in bits 16-19. */
const Config = { ENABLED: 1n, PERIODIC: 2n, LAZY: 4n, AUTO_ENABLE: 8n, DIRECT: 0x1000n } as const
const DEFINED = 0xf1fffn
/** HvMessageTimerExpired. */
const EXPIRED = 0x80000010

/** A shorter period would only keep the host busy; the document lets expirations be skipped. */
const SHORTEST = 100n
/** With more periods missed than this, it does not try to catch up. */
const CATCH_UP = 8n

export interface TimerParts {
  readonly vcpu: number
  readonly index: number
  readonly effects: Effects
  readonly clock: ReferenceClock
  readonly synic: Synic
  /** Direct mode exists. */
  readonly direct: boolean
}

export class SyntheticTimer implements Stateful {
  readonly #parts: TimerParts
  readonly #deadline: Deadline
  #config = 0n
  #count = 0n
  /** Reference time of the next expiration. */
  #due = 0n
  /** Its message buffer is in use. */
  #queued = false

  constructor(parts: TimerParts) {
    this.#parts = parts
    this.#deadline = parts.effects.time.deadline(() => this.#expire())
    parts.synic.connect(parts.index, {
      payload: (due) => {
        const payload = new DataView(new ArrayBuffer(24))
        payload.setUint32(0, parts.index, true)
        payload.setBigUint64(8, BigInt.asUintN(64, due), true)
        payload.setBigUint64(16, parts.clock.now(), true)
        return new Uint8Array(payload.buffer)
      },
      delivered: () => {
        this.#queued = false
      },
    })
  }

  transfer(state: Transfer): void {
    this.#config = state.field('config', this.#config)
    this.#count = state.field('count', this.#count)
    this.#due = state.field('due', this.#due)
    this.#queued = state.field('queued', this.#queued)
  }

  get config(): bigint {
    return this.#config
  }

  get count(): bigint {
    return this.#count
  }

  reset(): void {
    this.#config = 0n
    this.#count = 0n
    this.#queued = false
    this.#start()
  }

  /** False: #GP, there is no direct mode. */
  writeConfig(value: bigint): boolean {
    if (value & Config.DIRECT && !this.#parts.direct) return false
    this.#config = value & DEFINED
    if (!this.#target()) this.#config &= ~Config.ENABLED
    this.#start()
    return true
  }

  writeCount(value: bigint): void {
    this.#count = value
    if (value === 0n) this.#config &= ~Config.ENABLED
    else if (this.#config & Config.AUTO_ENABLE && this.#target()) this.#config |= Config.ENABLED
    this.#start()
  }

  /** It has somebody to tell: a source other than 0, or in direct mode a vector. */
  #target(): boolean {
    return this.#config & Config.DIRECT ? this.#vector() >= 16 : this.#source() !== 0
  }

  #vector(): number {
    return Number((this.#config >> 4n) & 0xffn)
  }

  #source(): number {
    return Number((this.#config >> 16n) & 0xfn)
  }

  #start(): void {
    if ((this.#config & Config.ENABLED) === 0n || this.#count === 0n) return this.#deadline.set(Infinity)
    const now = this.#parts.clock.now()
    this.#due = this.#config & Config.PERIODIC ? now + this.#count : this.#count
    if (this.#due <= now) this.#expire()
    else this.#schedule(this.#due)
  }

  #schedule(at: bigint): void {
    this.#deadline.set(this.#parts.clock.when(at))
  }

  #expire(): void {
    const due = this.#due
    if (this.#config & Config.PERIODIC) {
      if (!this.#next()) return
    } else {
      this.#config &= ~Config.ENABLED
      this.#deadline.set(Infinity)
    }
    const { effects, vcpu } = this.#parts
    if (this.#config & Config.DIRECT) effects.irq.post(vcpu, this.#vector())
    else this.#send(due)
  }

  /** Schedule the next period; false if this expiration is better skipped. */
  #next(): boolean {
    const now = this.#parts.clock.now()
    const period = this.#count
    const late = now - this.#due
    const lazy = (this.#config & Config.LAZY) !== 0n
    // A lazy timer skips what it missed, and what comes shortly before the next; another catches up by shorter periods.
    if (lazy || late > CATCH_UP * period) this.#due += period * (late / period + 1n)
    else this.#due += period
    const earliest = now + (period / 2n > SHORTEST ? period / 2n : SHORTEST)
    const behind = this.#due <= now || period < SHORTEST
    this.#schedule(behind ? earliest : this.#due)
    return !(lazy && this.#due - now < period / 8n)
  }

  #send(due: bigint): void {
    if (this.#queued) return
    const { synic, index } = this.#parts
    this.#queued = true
    const taken = synic.post(this.#source(), { type: EXPIRED, sender: index, note: due })
    if (!taken) this.#queued = false
  }
}

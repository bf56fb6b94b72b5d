/**
 * A small model of Hyper-V's interface: what each request must answer and do. It knows the documents, not the
 * implementation: registers are a table, timers a list of times, messages a queue and a slot.
 */
import type { Status } from '../../src/platforms/hyperv/status.ts'

export const VCPUS = 3
/** Bytes of RAM. */
export const MEMORY = 64 * 4096

const PAGES = BigInt(MEMORY / 4096)
const SINTS = 16
const TIMERS = 4
const MASKED = 1n << 16n
const AUTO_EOI = 1n << 17n
const POLLING = 1n << 18n

export type Expected = '#GP' | bigint | 'ok'

interface Timer {
  config: bigint
  count: bigint
  due: bigint | undefined
  /** Of those that are due at once, the one that was used first comes first. */
  order: number
  queued: boolean
}

interface Vp {
  control: bigint
  siefp: bigint
  simp: bigint
  assist: bigint
  sints: bigint[]
  queues: number[][]
  /** Which timer's message is in the slot. */
  slots: (number | undefined)[]
  pending: boolean[]
  timers: Timer[]
  tpr: bigint
  icr: bigint
}

const hex = (value: number | bigint) => `0x${value.toString(16)}`

export class Model {
  readonly features: ReadonlySet<string>
  /** What the platform must do, in order. */
  readonly log: string[] = []
  /** Nanoseconds. */
  now = 0
  osId = 0n
  hypercall = 0n
  referenceTsc = 0n
  reenlightenment = 0n
  emulation = 0n
  invariant = false
  readonly crash = [0n, 0n, 0n, 0n, 0n]
  readonly vps: Vp[]
  #used = 0

  constructor(features: ReadonlySet<string>) {
    this.features = features
    this.vps = Array.from({ length: VCPUS }, () => this.#newVp())
  }

  #newVp(): Vp {
    return {
      control: 0n,
      siefp: 0n,
      simp: 0n,
      assist: 0n,
      sints: Array.from({ length: SINTS }, () => MASKED),
      queues: Array.from({ length: SINTS }, () => []),
      slots: Array.from({ length: SINTS }),
      pending: Array.from({ length: SINTS }, () => false),
      timers: Array.from({ length: TIMERS }, () => ({
        config: 0n,
        count: 0n,
        due: undefined,
        order: -1,
        queued: false,
      })),
      tpr: 0n,
      icr: 0n,
    }
  }

  get time(): bigint {
    return BigInt(this.now) / 100n
  }

  init(vcpu: number): void {
    const old = this.vps[vcpu] as Vp
    const fresh = this.#newVp()
    for (const [i, timer] of fresh.timers.entries()) timer.order = old.timers[i]?.order ?? -1
    this.vps[vcpu] = { ...fresh, tpr: old.tpr, icr: old.icr }
  }

  // MSRs; undefined: there is none with this number

  read(vcpu: number, msr: number): Expected {
    const vp = this.vps[vcpu] as Vp
    const on = (feature: string, value: bigint): Expected => (this.features.has(feature) ? value : '#GP')
    if (msr >= 0x40000090 && msr < 0x400000a0) return on('synic', vp.sints[msr - 0x40000090] as bigint)
    if (msr >= 0x400000b0 && msr < 0x400000b8) {
      const timer = vp.timers[(msr - 0x400000b0) >> 1] as Timer
      return on('stimer', msr & 1 ? timer.count : timer.config)
    }
    if (msr >= 0x40000100 && msr < 0x40000105) return on('crash', this.crash[msr - 0x40000100] as bigint)
    switch (msr) {
      case 0x40000000:
        return this.osId
      case 0x40000001:
        return this.hypercall
      case 0x40000002:
        return BigInt(vcpu)
      case 0x40000003:
        return on('reset', 0n)
      case 0x40000010:
        return on('vp-runtime', 0n)
      case 0x40000020:
        return on('time-ref', this.time)
      case 0x40000021:
        return on('reference-tsc', this.referenceTsc)
      case 0x40000022:
        return on('frequencies', 1_000_000_000n)
      case 0x40000023:
        return on('frequencies', 25_000_000n)
      case 0x40000071:
        return on('apic-msrs', vp.icr)
      case 0x40000072:
        return on('apic-msrs', vp.tpr)
      case 0x40000073:
        return vp.assist
      case 0x40000080:
        return on('synic', vp.control)
      case 0x40000081:
        return on('synic', 1n)
      case 0x40000082:
        return on('synic', vp.siefp)
      case 0x40000083:
        return on('synic', vp.simp)
      case 0x40000084:
        return on('synic', 0n)
      case 0x400000f0:
        if (this.features.has('guest-idle')) this.log.push(`block ${vcpu}`)
        return on('guest-idle', 0n)
      case 0x40000105:
        return on('crash', 3n << 62n)
      case 0x40000106:
        return on('reenlightenment', this.reenlightenment)
      case 0x40000107:
        return on('reenlightenment', this.emulation)
      case 0x40000108:
        return on('reenlightenment', 0n)
      case 0x40000118:
        return on('invtsc', this.invariant ? 1n : 0n)
      default:
        return '#GP'
    }
  }

  write(vcpu: number, msr: number, value: bigint): Expected {
    return this.#write(this.vps[vcpu] as Vp, vcpu, msr, value) ? 'ok' : '#GP'
  }

  #write(vp: Vp, vcpu: number, msr: number, value: bigint): boolean {
    const on = (feature: string, write: () => void): boolean => {
      if (!this.features.has(feature)) return false
      write()
      return true
    }
    const outside = (value & 1n) !== 0n && value >> 12n >= PAGES
    if (msr >= 0x40000090 && msr < 0x400000a0) {
      const bad = (value & MASKED) === 0n && (value & 0xffn) < 16n
      return !bad && on('synic', () => (vp.sints[msr - 0x40000090] = value))
    }
    if (msr >= 0x400000b0 && msr < 0x400000b8) {
      const index = (msr - 0x400000b0) >> 1
      if (!(msr & 1) && value & 0x1000n && !this.features.has('stimer-direct')) return false
      return on('stimer', () => this.#setTimer(vcpu, index, (msr & 1) === 1, value))
    }
    if (msr >= 0x40000100 && msr < 0x40000105) return on('crash', () => (this.crash[msr - 0x40000100] = value))
    switch (msr) {
      case 0x40000000:
        this.osId = value
        if (value === 0n) this.hypercall &= ~1n
        return true
      case 0x40000001: {
        if (this.hypercall & 2n) return true
        if (this.osId !== 0n && outside) return false
        this.hypercall = this.osId === 0n ? value & ~1n : value
        return true
      }
      case 0x40000003:
        return on('reset', () => value & 1n && this.log.push('reset'))
      case 0x40000021:
        return on('reference-tsc', () => (this.referenceTsc = value))
      case 0x40000070:
        return on('apic-msrs', () => {
          this.log.push(`eoi ${vcpu}`)
          this.#scanAll(vcpu)
        })
      case 0x40000071:
        return on('apic-msrs', () => {
          vp.icr = value
          this.log.push(`icr ${vcpu} ${hex(value)}`)
        })
      case 0x40000072:
        return on('apic-msrs', () => (vp.tpr = value & 0xffn))
      case 0x40000073:
        if (!outside) vp.assist = value
        return !outside
      case 0x40000080:
        return on('synic', () => (vp.control = value))
      case 0x40000082:
        return on('synic', () => (vp.siefp = value))
      case 0x40000083:
        return on('synic', () => (vp.simp = value))
      case 0x40000084:
        return on('synic', () => this.#scanAll(vcpu))
      case 0x40000105:
        return on('crash', () => {
          if (value >> 63n) this.log.push('report')
        })
      case 0x40000106:
        return on('reenlightenment', () => (this.reenlightenment = value))
      case 0x40000107:
        return on('reenlightenment', () => (this.emulation = value))
      case 0x40000108:
        return value === 0n && this.features.has('reenlightenment')
      case 0x40000118:
        if (value > 1n || (this.invariant && value === 0n)) return false
        return on('invtsc', () => (this.invariant = value === 1n))
      default:
        return false
    }
  }

  // Timers and messages

  #setTimer(vcpu: number, index: number, isCount: boolean, value: bigint): void {
    const timer = this.vps[vcpu]?.timers[index] as Timer
    const target = (config: bigint) =>
      config & 0x1000n ? ((config >> 4n) & 0xffn) >= 16n : ((config >> 16n) & 0xfn) !== 0n
    if (isCount) {
      timer.count = value
      if (value === 0n) timer.config &= ~1n
      else if (timer.config & 8n && target(timer.config)) timer.config |= 1n
    } else {
      timer.config = value & 0xf1fffn
      if (!target(timer.config)) timer.config &= ~1n
    }
    timer.due = undefined
    if ((timer.config & 1n) === 0n || timer.count === 0n) return
    const due = timer.config & 2n ? this.time + timer.count : timer.count
    if (due <= this.time) return this.#expire(vcpu, index)
    this.#schedule(timer, due)
  }

  #schedule(timer: Timer, due: bigint): void {
    timer.due = due
    if (timer.order < 0) timer.order = this.#used++
  }

  #expire(vcpu: number, index: number): void {
    const vp = this.vps[vcpu] as Vp
    const timer = vp.timers[index] as Timer
    if (timer.config & 2n) this.#schedule(timer, this.time + (timer.count > 100n ? timer.count : 100n))
    else {
      timer.config &= ~1n
      timer.due = undefined
    }
    if (timer.config & 0x1000n) {
      this.log.push(`post ${vcpu} ${hex((timer.config >> 4n) & 0xffn)}`)
      return
    }
    if (timer.queued || (vp.control & 1n) === 0n) return
    const sint = Number((timer.config >> 16n) & 0xfn)
    timer.queued = true
    vp.queues[sint]?.push(index)
    this.#scan(vcpu, sint)
  }

  #scanAll(vcpu: number): void {
    for (let sint = 0; sint < SINTS; sint++) this.#scan(vcpu, sint)
  }

  #scan(vcpu: number, sint: number): void {
    const vp = this.vps[vcpu] as Vp
    const queue = vp.queues[sint] as number[]
    if (queue.length === 0 || !this.messagePage(vcpu)) return
    if (vp.slots[sint] !== undefined) {
      vp.pending[sint] = true
      return
    }
    const index = queue.shift() as number
    ;(vp.timers[index] as Timer).queued = false
    vp.slots[sint] = index
    vp.pending[sint] = queue.length > 0
    const config = vp.sints[sint] as bigint
    if (config & (MASKED | POLLING)) return
    this.log.push(`post ${vcpu} ${hex(config & 0xffn)}${config & AUTO_EOI ? ' auto-eoi' : ''}`)
  }

  /** Where a vCPU's messages are; undefined: nowhere. */
  messagePage(vcpu: number): bigint | undefined {
    const { simp } = this.vps[vcpu] as Vp
    return simp & 1n && simp >> 12n < PAGES ? (simp >> 12n) << 12n : undefined
  }

  /** The guest has read a message. */
  clearSlot(vcpu: number, sint: number): void {
    if (this.messagePage(vcpu) !== undefined) (this.vps[vcpu] as Vp).slots[sint] = undefined
  }

  advance(nanoseconds: number): void {
    const end = this.now + nanoseconds
    for (;;) {
      const next = this.vps
        .flatMap(({ timers }, vcpu) => timers.map((timer, index) => ({ timer, vcpu, index, due: timer.due })))
        .filter(({ due }) => due !== undefined && due * 100n <= BigInt(end))
        .sort((a, b) => Number((a.due as bigint) - (b.due as bigint)) || a.timer.order - b.timer.order)[0]
      if (!next) break
      this.now = Math.max(this.now, Number((next.due as bigint) * 100n))
      this.#expire(next.vcpu, next.index)
    }
    this.now = end
  }
}

/** Answers of hypercalls. */
export type CallAnswer = '#UD' | { readonly status: Status; readonly done: number }

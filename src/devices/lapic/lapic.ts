/**
 * Local APIC (SDM Vol. 3A, "Advanced Programmable Interrupt Controller"): acceptance, priorities, local interrupts and
 * interprocessor messages. `registers.ts` gives the guest access to it, as MMIO and as x2APIC MSRs.
 */
import type { Clock } from '../../machine/clock.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { LapicTimer } from './timer.ts'

export const Delivery = { FIXED: 0, LOWEST: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7 } as const

/** Where the registers are at power-on. */
export const LAPIC_BASE = 0xfee00000

/** LVT entries in register order, 0x320 to 0x370. */
export const Lvt = { TIMER: 0, THERMAL: 1, PERFORMANCE: 2, LINT0: 3, LINT1: 4, ERROR: 5 } as const

/** ESR bits. */
export const ApicError = { SEND_ILLEGAL: 0x20, RECEIVE_ILLEGAL: 0x40, ILLEGAL_REGISTER: 0x80 } as const

/** IA32_APIC_BASE bits. */
export const ApicBase = { BSP: 0x100, EXTD: 0x400, EN: 0x800 } as const

const LVT_VECTOR = 0xff
const LVT_REMOTE_IRR = 0x4000
const LVT_LEVEL = 0x8000
const LVT_MASKED = 0x10000
/** Bits that software may write, by entry. */
const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff]

const SVR_ENABLE = 0x100
const ICR_LEVEL_ASSERT = 0x4000
const ICR_LEVEL_TRIGGERED = 0x8000

/** What a local APIC does to its processor. */
export interface ApicCpu {
  /** A maskable interrupt waits; called when that changes. */
  setInterruptPending(pending: boolean): void
  nmi(): void
  init(): void
  sipi(vector: number): void
  /** TSC minus clock, in nanoseconds. */
  tscOffset(): number
}

/** What local APICs share: the way to each other, to the I/O APICs and to the 8259 pair. */
export interface ApicBus {
  /** Interprocessor message; `shorthand` as in ICR: 0 by destination, 1 self, 2 all, 3 all but self. */
  send(source: Lapic, mode: number, vector: number, shorthand: number, logical: boolean, destination: number): void
  /** A level-triggered vector has been served. */
  endOfInterrupt(vector: number): void
  /** INTA cycle to the 8259 pair. */
  acknowledgePic(): number
}

/** The guest may leave out an EOI: KVM's PV EOI, Hyper-V's APIC assist. See `paravirt/effects.ts`. */
export interface Assist {
  offer(): boolean
  withdraw(): boolean
}

export class Lapic implements Stateful {
  readonly id: number
  readonly timer: LapicTimer
  readonly #cpu: ApicCpu
  readonly #bus: ApicBus

  /** IA32_APIC_BASE's bits 8-11. */
  mode: number
  /** IA32_APIC_BASE's address. */
  base = LAPIC_BASE

  readonly irr = new Uint32Array(8)
  readonly isr = new Uint32Array(8)
  readonly tmr = new Uint32Array(8)
  readonly lvt = new Uint32Array(6)
  tpr = 0
  ldr = 0
  dfr = 0xffffffff
  svr = 0xff
  esr = 0
  icrLow = 0
  icrHigh = 0

  /** Errors since ESR was last written. */
  #errors = 0
  readonly #lint = [false, false]
  /** An ExtINT message (from an I/O APIC or another processor) waits for its INTA cycle. */
  #extIntMessage = false
  #pending = false
  #assist: Assist | undefined
  /** Hears of each EOI. */
  onEoi: (() => void) | undefined
  /** Hears when software has enabled it. */
  onEnabled: (() => void) | undefined
  /** The interrupt in service needs no EOI, as the guest was told. */
  #offered = false
  /** Vectors that wait and will not be in service once they are delivered. */
  readonly #autoEoi = new Uint32Array(8)

  constructor(id: number, clock: Clock, cpu: ApicCpu, bus: ApicBus) {
    this.id = id
    this.#cpu = cpu
    this.#bus = bus
    this.mode = ApicBase.EN | (id === 0 ? ApicBase.BSP : 0)
    this.timer = new LapicTimer(
      clock,
      () => this.#local(Lvt.TIMER),
      () => cpu.tscOffset(),
    )
    this.reset()
  }

  /** How EOIs are left out and who hears of them is the platform's to say again. */
  transfer(state: Transfer): void {
    state.part('timer', this.timer)
    this.mode = state.field('mode', this.mode)
    this.base = state.field('base', this.base)
    state.array('irr', this.irr)
    state.array('isr', this.isr)
    state.array('tmr', this.tmr)
    state.array('lvt', this.lvt)
    this.tpr = state.field('tpr', this.tpr)
    this.ldr = state.field('ldr', this.ldr)
    this.dfr = state.field('dfr', this.dfr)
    this.svr = state.field('svr', this.svr)
    this.esr = state.field('esr', this.esr)
    this.icrLow = state.field('icrLow', this.icrLow)
    this.icrHigh = state.field('icrHigh', this.icrHigh)
    this.#errors = state.field('errors', this.#errors)
    state.list('lint', this.#lint)
    this.#extIntMessage = state.field('extIntMessage', this.#extIntMessage)
    this.#pending = state.field('pending', this.#pending)
    this.#offered = state.field('offered', this.#offered)
    state.array('autoEoi', this.#autoEoi)
  }

  get enabled(): boolean {
    return (this.mode & ApicBase.EN) !== 0
  }

  get x2apic(): boolean {
    return (this.mode & ApicBase.EXTD) !== 0
  }

  /** The state after power-up or INIT; id and IA32_APIC_BASE stay. */
  reset(): void {
    this.irr.fill(0)
    this.isr.fill(0)
    this.tmr.fill(0)
    this.lvt.fill(LVT_MASKED)
    this.tpr = 0
    this.ldr = this.x2apic ? this.#x2apicLogicalId() : 0
    this.dfr = 0xffffffff
    this.svr = 0xff
    this.esr = 0
    this.icrLow = 0
    this.icrHigh = 0
    this.#errors = 0
    this.#extIntMessage = false
    this.#autoEoi.fill(0)
    this.#offered = false
    this.timer.reset()
    this.update()
  }

  /** Bits 8-11 of IA32_APIC_BASE, a transition that was found legal. */
  setMode(mode: number): void {
    const before = this.mode
    this.mode = mode
    if ((mode & ApicBase.EN) === 0 && before & ApicBase.EN) this.reset()
    if (mode & ~before & ApicBase.EXTD) this.ldr = this.#x2apicLogicalId()
    this.update()
  }

  // Priorities and acceptance

  /** Messages of this mode reach the processor: maskable ones only if software has enabled the APIC. */
  accepts(mode: number): boolean {
    if (!this.enabled || mode === Delivery.SMI || mode === 3) return false
    return (mode !== Delivery.FIXED && mode !== Delivery.LOWEST) || (this.svr & SVR_ENABLE) !== 0
  }

  /** PPR: the higher of TPR and the class in service. */
  get ppr(): number {
    const service = highest(this.isr)
    return service >> 4 > this.tpr >> 4 ? service & 0xf0 : this.tpr
  }

  /** An interrupt message for this APIC arrived. */
  deliver(mode: number, vector: number, level: boolean): void {
    if (!this.enabled) return
    switch (mode) {
      case Delivery.FIXED:
      case Delivery.LOWEST:
        this.#accept(vector, level)
        break
      case Delivery.NMI:
        this.#cpu.nmi()
        break
      case Delivery.INIT:
        this.reset()
        this.#cpu.init()
        break
      case Delivery.STARTUP:
        this.#cpu.sipi(vector)
        break
      case Delivery.EXTINT:
        this.#extIntMessage = true
        this.update()
        break
    }
  }

  /** A platform's own fixed, edge-triggered interrupt; with `autoEoi` it needs no EOI. */
  post(vector: number, autoEoi: boolean): void {
    this.#accept(vector, false, autoEoi)
  }

  #accept(vector: number, level: boolean, autoEoi = false): void {
    if (!this.accepts(Delivery.FIXED)) return
    if (vector < 16) {
      this.error(ApicError.RECEIVE_ILLEGAL)
      return
    }
    this.settle()
    const word = vector >> 5
    const bit = 1 << (vector & 31)
    this.irr[word] |= bit
    if (autoEoi) this.#autoEoi[word] |= bit
    else this.#autoEoi[word] &= ~bit
    if (level) this.tmr[word] |= bit
    else this.tmr[word] &= ~bit
    this.update()
  }

  /** It was not taken yet. */
  requested(vector: number): boolean {
    return (this.irr[vector >> 5] & (1 << (vector & 31))) !== 0
  }

  /** The vector that the processor shall take now, or -1. */
  #deliverable(): number {
    const vector = highest(this.irr)
    return vector >> 4 > this.ppr >> 4 && this.enabled ? vector : -1
  }

  /** The 8259 pair's request reaches the processor: LINT0 is an ExtINT, or this APIC is off and LINT0 is INTR. */
  #extInt(): boolean {
    if (this.#extIntMessage) return true
    return this.#lint[0] && (!this.enabled || (this.lvt[Lvt.LINT0] & (LVT_MASKED | 0x700)) === 0x700)
  }

  /** The processor takes its interrupt: the vector, or -1 if there is none any more. */
  acknowledge(): number {
    this.settle()
    const vector = this.#deliverable()
    if (vector >= 0) {
      const word = vector >> 5
      const bit = 1 << (vector & 31)
      this.irr[word] &= ~bit
      if (this.#autoEoi[word] & bit) this.#autoEoi[word] &= ~bit
      else {
        this.isr[word] |= bit
        // Nobody else learns of this EOI, and nothing waits for it.
        if (this.#assist && !(this.tmr[word] & bit) && highest(this.irr) < 0) this.#offered = this.#assist.offer()
      }
      this.update()
      return vector
    }
    if (!this.#extInt()) return -1
    this.#extIntMessage = false
    const external = this.#bus.acknowledgePic()
    this.update()
    return external
  }

  /** How the guest may leave out EOIs from now on. */
  setAssist(assist: Assist | undefined): void {
    this.settle()
    this.#assist = assist
  }

  /** Before anybody looks: do the EOI that the guest left out, or take the offer back. */
  settle(): void {
    if (!this.#offered) return
    this.#offered = false
    if (this.#assist?.withdraw()) this.endOfInterrupt()
  }

  endOfInterrupt(): void {
    this.settle()
    const vector = highest(this.isr)
    if (vector < 0) return
    const word = vector >> 5
    const bit = 1 << (vector & 31)
    this.isr[word] &= ~bit
    if (this.tmr[word] & bit) {
      this.#bus.endOfInterrupt(vector)
      const lint0 = this.lvt[Lvt.LINT0]
      if (lint0 & LVT_REMOTE_IRR && (lint0 & LVT_VECTOR) === vector) {
        this.lvt[Lvt.LINT0] &= ~LVT_REMOTE_IRR
        this.#sampleLint(0, false)
      }
    }
    this.onEoi?.()
    this.update()
  }

  writeTpr(value: number): void {
    this.settle()
    this.tpr = value & 0xff
    this.update()
  }

  /** Tell the processor whether an interrupt waits, if that changed. */
  update(): void {
    const pending = this.#deliverable() >= 0 || this.#extInt()
    if (pending === this.#pending) return
    this.#pending = pending
    this.#cpu.setInterruptPending(pending)
  }

  // Local interrupts

  /** LINT0 or LINT1 changes. */
  setLint(pin: 0 | 1, level: boolean): void {
    const rising = level && !this.#lint[pin]
    this.#lint[pin] = level
    if (this.enabled) this.#sampleLint(pin, rising)
    else if (pin === 1 && rising) this.#cpu.nmi()
    this.update()
  }

  #sampleLint(pin: 0 | 1, rising: boolean): void {
    const index = Lvt.LINT0 + pin
    const entry = this.lvt[index]
    if (entry & LVT_MASKED) return
    const mode = (entry >> 8) & 7
    // Only LINT0 can be level-triggered, and only when fixed.
    if (mode === Delivery.FIXED && pin === 0 && entry & LVT_LEVEL) {
      if (!this.#lint[0] || entry & LVT_REMOTE_IRR) return
      this.lvt[index] |= LVT_REMOTE_IRR
      this.#accept(entry & LVT_VECTOR, true)
    } else if (rising && mode !== Delivery.EXTINT) this.deliver(mode, entry & LVT_VECTOR, false)
  }

  /** A local source other than the LINT pins has an event. */
  #local(index: number): void {
    const entry = this.lvt[index]
    if ((entry & LVT_MASKED) === 0) this.#accept(entry & LVT_VECTOR, false)
  }

  writeLvt(index: number, value: number): void {
    let entry = (value & LVT_WRITABLE[index]) | (this.lvt[index] & LVT_REMOTE_IRR)
    if ((this.svr & SVR_ENABLE) === 0) entry |= LVT_MASKED
    if ((entry & LVT_LEVEL) === 0) entry &= ~LVT_REMOTE_IRR
    // The entry in force decides about an expiry that is already due.
    if (index === Lvt.TIMER) this.timer.setLvt(entry)
    this.lvt[index] = entry
    if (index === Lvt.LINT0 && this.enabled) this.#sampleLint(0, false)
    this.update()
  }

  writeSvr(value: number): void {
    this.svr = value & 0x3ff
    if (value & SVR_ENABLE) return this.onEnabled?.()
    // Software disable masks all local interrupts; what IRR and ISR hold stays.
    for (let i = 0; i < this.lvt.length; i++) this.writeLvt(i, this.lvt[i])
  }

  // Errors

  error(bit: number): void {
    if (this.#errors & bit) return
    this.#errors |= bit
    this.#local(Lvt.ERROR)
  }

  /** A write to ESR shows the errors since the last write. */
  writeEsr(): void {
    this.esr = this.#errors
    this.#errors = 0
  }

  // Interprocessor messages

  /** ICR's low half was written. */
  send(low: number, destination: number): void {
    const mode = (low >> 8) & 7
    const vector = low & 0xff
    const shorthand = (low >> 18) & 3
    const fixed = mode === Delivery.FIXED || mode === Delivery.LOWEST
    if (fixed && vector < 16) {
      this.error(ApicError.SEND_ILLEGAL)
      return
    }
    // INIT level de-assert: only the arbitration ids of old buses cared.
    if (mode === Delivery.INIT && (low & (ICR_LEVEL_ASSERT | ICR_LEVEL_TRIGGERED)) === ICR_LEVEL_TRIGGERED) return
    // Combinations that the SDM's table of valid ICR values lacks, and reserved modes.
    if (mode === 3 || mode === Delivery.EXTINT) return
    if ((shorthand === 1 || shorthand === 2) && mode !== Delivery.FIXED) return
    this.#bus.send(this, mode, vector, shorthand, (low & 0x800) !== 0, destination)
  }

  /** Is a message with this destination for this APIC? Destinations have 8 bits, or 32 if an x2APIC sent it. */
  matches(logical: boolean, destination: number, wide: boolean): boolean {
    if (destination === (wide ? 0xffffffff : 0xff)) return true
    if (!logical) return destination === this.id
    if (this.x2apic) return destination >>> 16 === this.ldr >>> 16 && (destination & this.ldr & 0xffff) !== 0
    const own = this.ldr >>> 24
    if (destination > 0xff) return false
    if (this.dfr >>> 28 === 0xf) return (destination & own) !== 0
    // Cluster model: 4 bits of cluster, 0xf for all, and 4 bits of members.
    const cluster = destination >> 4
    return (cluster === own >> 4 || cluster === 0xf) && (destination & own & 0xf) !== 0
  }

  #x2apicLogicalId(): number {
    return ((this.id >>> 4) << 16) | (1 << (this.id & 0xf))
  }
}

/** Highest bit set in a 256-bit register, or -1. */
function highest(words: Uint32Array): number {
  for (let i = 7; i >= 0; i--) {
    if (words[i] !== 0) return i * 32 + 31 - Math.clz32(words[i])
  }
  return -1
}

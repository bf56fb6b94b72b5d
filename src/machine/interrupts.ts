/**
 * How interrupts travel in this PC. ISA requests go to the 8259 pair and to the I/O APIC (IRQ 0 to pin 2, the others
 * to the pin of their number); the pair's INTR is LINT0 of every local APIC; I/O APIC and local APICs exchange messages.
 */
import { IoApic } from '../devices/ioapic.ts'
import { ApicBase, Delivery, Lapic, Lvt } from '../devices/lapic/lapic.ts'
import type { ApicBus, ApicCpu } from '../devices/lapic/lapic.ts'
import { MSR_APIC_BASE, readApicMsr, readXapic, writeApicMsr, writeXapic } from '../devices/lapic/registers.ts'
import type { ApicFeatures } from '../devices/lapic/registers.ts'
import { PicPair } from '../devices/pic.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'
import { ones } from './bus.ts'
import type { Mmio, Ports } from './bus.ts'
import type { Clock } from './clock.ts'

export const IOAPIC_BASE = 0xfec00000
/** ACPI's interrupt, level-triggered. */
export const SCI_IRQ = 9

export interface InterruptsOptions {
  readonly clock: Clock
  readonly ports: Ports
  readonly mmio: Mmio
  /** One for each vCPU; its index is the APIC id. */
  readonly cpus: readonly ApicCpu[]
  readonly features: ApicFeatures
  /** See `IoApicOptions`. */
  readonly extendedIds?: boolean | undefined
  readonly ioapicPins?: number | undefined
  /** Only local APICs: neither 8259 pair nor I/O APIC. */
  readonly bare?: boolean | undefined
}

/** A device that raises IRQ 0 only while somebody looks. */
export interface LazyTimer {
  observed: boolean
  /** Show what happened meanwhile. */
  sync(): void
  /** A vCPU has taken an interrupt. */
  taken(): void
}

export class Interrupts implements ApicBus, Stateful {
  readonly lapics: readonly Lapic[]
  readonly ioapic: IoApic
  readonly pic: PicPair
  readonly #features: ApicFeatures
  readonly #mmio: Mmio
  /** Addresses at which some local APIC answers. */
  readonly #lapicPages = new Set<number>()
  /** Interrupts that come past the local APICs; see `IrqEffects.line`. */
  readonly #lines: ((() => number) | undefined)[]
  readonly #cpus: readonly ApicCpu[]
  #timer: LazyTimer | undefined
  /** Level-triggered lines that are asked; see `IrqEffects.level`. */
  readonly #levels = new Map<number, () => boolean>()

  constructor(options: InterruptsOptions) {
    this.#features = options.features
    this.#mmio = options.mmio
    this.#lines = options.cpus.map(() => undefined)
    this.#cpus = options.cpus
    this.lapics = options.cpus.map((cpu, id) => new Lapic(id, options.clock, this.#shared(cpu, id), this))
    const beforeAccess = () => {
      this.#timer?.sync()
      this.sampleLevels()
    }
    const afterWrite = () => this.#observe()
    this.ioapic = new IoApic({
      send: (mode, vector, level, logical, destination) =>
        this.#route(mode, vector, level, logical, destination, false, undefined),
      extendedIds: options.extendedIds,
      pins: options.ioapicPins,
      beforeWrite: beforeAccess,
      afterWrite,
    })
    this.pic = new PicPair({
      setIntr: (level) => {
        for (const lapic of this.lapics) lapic.setLint(0, level)
      },
      beforeAccess,
      afterWrite,
    })
    this.#moveLapicPages()
    if (options.bare) return
    options.mmio.register(IOAPIC_BASE, 0x1000, this.ioapic)
    for (const port of [0x20, 0xa0, 0x4d0]) options.ports.register(port, port + 1, this.pic)
    this.#virtualWire()
  }

  /** What firmware leaves (MultiProcessor Specification 3.6.2.2): the 8259 pair reaches the boot processor. */
  #virtualWire(): void {
    const boot = this.lapics[0]
    boot.writeSvr(0x1ff)
    boot.writeLvt(Lvt.LINT0, Delivery.EXTINT << 8)
    boot.writeLvt(Lvt.LINT1, Delivery.NMI << 8)
  }

  transfer(state: Transfer): void {
    state.parts('lapics', this.lapics)
    state.part('ioapic', this.ioapic)
    state.part('pic', this.pic)
    if (state.loading) this.#moveLapicPages()
  }

  // ISA requests

  setIsaIrq(irq: number, level: boolean): void {
    this.pic.setIrq(irq, level)
    this.ioapic.setPin(irq === 0 ? 2 : irq, level)
  }

  /** An edge. The line stays up until the next one: the 8259 forgets a request whose line falls before it is taken. */
  pulseIsaIrq(irq: number): void {
    this.setIsaIrq(irq, false)
    this.setIsaIrq(irq, true)
  }

  /** A line of the I/O APIC and, below 16, of the 8259 pair: up while `up` says so. Undefined takes it away. */
  setLevel(gsi: number, up: (() => boolean) | undefined): void {
    this.#levels.delete(gsi)
    this.#setGsi(gsi, false)
    if (up) this.#levels.set(gsi, up)
    this.sampleLevels()
  }

  sampleLevels(): void {
    for (const [gsi, up] of this.#levels) this.#setGsi(gsi, up())
  }

  #setGsi(gsi: number, up: boolean): void {
    if (gsi < 16) this.setIsaIrq(gsi, up)
    else this.ioapic.setPin(gsi, up)
  }

  /** The source of IRQ 0. */
  attachTimer(timer: LazyTimer): void {
    this.#timer = timer
    this.#observe()
  }

  #observe(): void {
    if (this.#timer !== undefined) this.#timer.observed = !this.pic.masked(0) || !this.ioapic.masked(2)
  }

  /** A request of IRQ 0 was not taken yet. */
  timerWaits(): boolean {
    if (!this.pic.masked(0) && this.pic.requested(0)) return true
    return !this.ioapic.masked(2) && this.lapics.some((lapic) => lapic.requested(this.ioapic.vector(2)))
  }

  // The processor's side

  /** The vector for a vCPU that takes an interrupt, -1 if there is none. */
  acknowledge(vcpu: number): number {
    const own = this.#lines[vcpu]?.() ?? -1
    const vector = own >= 0 ? own : this.lapics[vcpu].acknowledge()
    if (vector < 0) this.#cpus[vcpu].setInterruptPending(false)
    else this.#timer?.taken()
    return vector
  }

  setLine(vcpu: number, line: (() => number) | undefined): void {
    this.#lines[vcpu] = line
  }

  /** While a line may be up, the vCPU keeps asking. */
  #shared(cpu: ApicCpu, vcpu: number): ApicCpu {
    const setInterruptPending = (pending: boolean) =>
      cpu.setInterruptPending(pending || (this.#lines[vcpu]?.() ?? -1) >= 0)
    return { ...cpu, setInterruptPending }
  }

  readCr8(vcpu: number): number {
    return this.lapics[vcpu].tpr >> 4
  }

  writeCr8(vcpu: number, value: number): void {
    this.lapics[vcpu].writeTpr(value << 4)
  }

  /** IA32_APIC_BASE, IA32_TSC_DEADLINE and x2APIC registers (`isApicMsr`); undefined: #GP(0). */
  rdmsr(vcpu: number, index: number): bigint | undefined {
    return readApicMsr(this.lapics[vcpu], index)
  }

  /** False: #GP(0). */
  wrmsr(vcpu: number, index: number, low: number, high: number): boolean {
    const done = writeApicMsr(this.lapics[vcpu], index, low, high, this.#features)
    if (done && index === MSR_APIC_BASE) this.#moveLapicPages()
    return done
  }

  /** Answer where IA32_APIC_BASE says. Another device at that address keeps it. */
  #moveLapicPages(): void {
    const wanted = new Set(this.lapics.map((lapic) => lapic.base))
    for (const base of this.#lapicPages) {
      if (wanted.has(base)) continue
      this.#mmio.unregister(base)
      this.#lapicPages.delete(base)
    }
    for (const base of wanted) {
      if (this.#lapicPages.has(base) || !this.#mmio.isFree(base, 0x1000)) continue
      const answers = (vcpu: number) => {
        const lapic = this.lapics[vcpu]
        return lapic.base === base && (lapic.mode & (ApicBase.EN | ApicBase.EXTD)) === ApicBase.EN
      }
      this.#mmio.register(base, 0x1000, {
        read: (offset, size, vcpu) => (answers(vcpu) ? readXapic(this.lapics[vcpu], offset, size) : ones(size)),
        write: (offset, size, value, vcpu) => {
          if (answers(vcpu)) writeXapic(this.lapics[vcpu], offset, size, value)
        },
      })
      this.#lapicPages.add(base)
    }
  }

  // Messages

  send(source: Lapic, mode: number, vector: number, shorthand: number, logical: boolean, destination: number): void {
    if (shorthand === 0) this.#route(mode, vector, false, logical, destination, source.x2apic, undefined)
    else if (shorthand === 1) source.deliver(mode, vector, false)
    else this.#route(mode, vector, false, false, 0xffffffff, true, shorthand === 3 ? source : undefined)
  }

  #route(
    mode: number,
    vector: number,
    level: boolean,
    logical: boolean,
    destination: number,
    wide: boolean,
    except: Lapic | undefined,
  ): void {
    let lowest: Lapic | undefined
    for (const lapic of this.lapics) {
      if (lapic === except || !lapic.matches(logical, destination, wide)) continue
      if (mode !== Delivery.LOWEST) lapic.deliver(mode, vector, level)
      else if (lapic.enabled && (lowest === undefined || lapic.ppr < lowest.ppr)) lowest = lapic
    }
    lowest?.deliver(mode, vector, level)
  }

  endOfInterrupt(vector: number): void {
    this.sampleLevels()
    this.ioapic.endOfInterrupt(vector)
  }

  acknowledgePic(): number {
    this.sampleLevels()
    return this.pic.acknowledge()
  }
}

/**
 * A guest of lguest's: struct lguest and struct lg_cpu of drivers/lguest/lg.h. Its registers are where the switcher has
 * put them. What it must not do ends it, with the words of the real host.
 */
import type { Deadline, Effects, MemoryEffects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Data, IDT_ENTRIES, IRQS, type RegOffset, REGS_BYTES } from './abi.ts'
import { type FrameMap, frameMap, PAGE } from './frames.ts'

/** Eight bytes of memory. */
export const word64 = ({ view }: MemoryEffects, address: number): bigint =>
  BigInt(view.getUint32(address, true)) | (BigInt(view.getUint32(address + 4, true)) << 32n)

/** The one vCPU. */
export const VCPU = 0
/** How soon the host looks again whether an interrupt can be delivered: a tick of its own, HZ = 1000. */
const TICK = 1_000_000

/** Five words: number and arguments. */
export type HcallArgs = readonly [number, number, number, number, number]

export class Lguest implements Stateful {
  readonly effects: Effects
  readonly map: FrameMap
  /** Pages of guest-physical memory, those of devices included. */
  pfnLimit: number
  /** Guest-physical address of struct lguest_data; undefined: LGUEST_INIT has not been done. */
  data: number | undefined
  kernelAddress = 0
  noirq: readonly [start: number, end: number] = [0, 0]
  stack: { readonly ss: number; readonly esp: number; readonly pages: number } = { ss: 0, esp: 0, pages: 0 }
  /** CR0.TS, as the guest wants it. */
  ts = 0
  halted = false
  /** A hypercall is to be carried out: its arguments are the registers. */
  hcall = false
  nextHcall = 0
  pendingNotify = 0
  irqsPending = 0
  /** The IDT as the guest has given it. */
  readonly idt = new Uint32Array(2 * IDT_ENTRIES)
  /** Why the guest never runs again. */
  dead: string | undefined
  /** It has asked for that, by LHCALL_SHUTDOWN. */
  ending: 'poweroff' | 'restart' | undefined
  /** The host wants the guest to leave. */
  #kicked = false
  readonly #clock: Deadline
  readonly #tick: Deadline

  constructor(effects: Effects) {
    this.effects = effects
    this.map = frameMap(effects.memory.pages)
    this.pfnLimit = effects.memory.pages
    this.#clock = effects.time.deadline(() => this.setInterrupt(0))
    this.#tick = effects.time.deadline(() => this.kick())
  }

  transfer(state: Transfer): void {
    this.pfnLimit = state.field('pfnLimit', this.pfnLimit)
    this.data = state.field('data', this.data)
    this.kernelAddress = state.field('kernelAddress', this.kernelAddress)
    this.noirq = state.field('noirq', this.noirq)
    this.stack = state.field('stack', this.stack)
    this.ts = state.field('ts', this.ts)
    this.halted = state.field('halted', this.halted)
    this.hcall = state.field('hcall', this.hcall)
    this.nextHcall = state.field('nextHcall', this.nextHcall)
    this.pendingNotify = state.field('pendingNotify', this.pendingNotify)
    this.irqsPending = state.field('irqsPending', this.irqsPending)
    state.array('idt', this.idt)
    this.dead = state.field<string | undefined>('dead', this.dead)
    this.ending = state.field<'poweroff' | 'restart' | undefined>('ending', this.ending)
    this.#kicked = state.field('kicked', this.#kicked)
  }

  /** kill_guest: only the first reason counts. */
  kill(reason: string): void {
    this.dead ??= reason
  }

  // Registers

  reg(offset: RegOffset): number {
    return this.effects.memory.view.getUint32(this.#regs + offset, true)
  }

  setReg(offset: RegOffset, value: number): void {
    this.effects.memory.store32(this.#regs + offset, value >>> 0)
  }

  get #regs(): number {
    return (this.map.regs + 1) * PAGE - REGS_BYTES
  }

  // Memory, by guest-physical addresses

  /** lguest_address_ok. */
  addressOk(address: number, length: number): boolean {
    const end = (address + length) >>> 0
    return Math.floor(end / PAGE) < this.pfnLimit && end >= address
  }

  /** __lgread; undefined: the guest is dead. */
  read(address: number, length: number): Uint8Array | undefined {
    if (!this.addressOk(address, length)) {
      this.kill(`bad read address 0x${address.toString(16)} len ${length}`)
      return undefined
    }
    return this.effects.memory.bytes(address, length)
  }

  /** 0 if the guest is dead. */
  read32(address: number): number {
    return this.read(address, 4) ? this.effects.memory.view.getUint32(address, true) : 0
  }

  read64(address: number): bigint {
    return this.read(address, 8) ? word64(this.effects.memory, address) : 0n
  }

  /** __lgwrite. */
  write(address: number, bytes: Uint8Array): void {
    if (this.addressOk(address, bytes.length)) this.effects.memory.place(address, bytes)
    else this.kill(`bad write address 0x${address.toString(16)} len ${bytes.length}`)
  }

  write32(address: number, value: number): void {
    if (this.addressOk(address, 4)) this.effects.memory.store32(address, value >>> 0)
    else this.kill(`bad write address 0x${address.toString(16)} len 4`)
  }

  write64(address: number, value: bigint): void {
    if (this.addressOk(address, 8)) this.effects.memory.store64(address, value)
    else this.kill(`bad write address 0x${address.toString(16)} len 8`)
  }

  /** A word of struct lguest_data, which was checked once; 0 before there is one. */
  field(offset: number): number {
    return this.data === undefined ? 0 : this.effects.memory.view.getUint32(this.data + offset, true)
  }

  setField(offset: number, value: number): void {
    if (this.data !== undefined) this.effects.memory.store32(this.data + offset, value >>> 0)
  }

  /** write_timestamp: the time of day. */
  writeTimestamp(): void {
    const now = this.effects.time.wallClock()
    this.setField(Data.TIME, Number(now / 1_000_000_000n))
    this.setField(Data.TIME + 4, Number(now % 1_000_000_000n))
  }

  // Interrupts of the host's

  setInterrupt(irq: number): void {
    this.irqsPending |= 1 << irq
    this.kick()
  }

  /** The first interrupt that is pending and not blocked, and whether it is the only one; IRQS: none. */
  interruptPending(): { readonly irq: number; readonly more: boolean } {
    if (this.data === undefined) return { irq: IRQS, more: false }
    const waiting = this.irqsPending & ~this.field(Data.BLOCKED_INTERRUPTS)
    const first = waiting & -waiting
    return { irq: waiting === 0 ? IRQS : 31 - Math.clz32(first), more: (waiting & ~first) !== 0 }
  }

  /** Have the guest leave soon. */
  kick(): void {
    this.#kicked = true
    this.effects.irq.pull(VCPU)
  }

  get kicked(): boolean {
    return this.#kicked
  }

  /** The host looks now. */
  looked(): void {
    this.#kicked = false
    this.#tick.set(Infinity)
  }

  /** An interrupt waits that cannot be delivered yet. */
  lookLater(): void {
    this.#tick.set(this.effects.time.now() + TICK)
  }

  /** guest_set_clockevent: nanoseconds from now, 0 for never. */
  setClockEvent(delta: number): void {
    this.#clock.set(delta === 0 ? Infinity : this.effects.time.now() + delta)
  }
}

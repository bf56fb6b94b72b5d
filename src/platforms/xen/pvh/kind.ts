/**
 * Guests of hardware virtualization: PVH, which has no devices, and HVM, which has a PC's. Frame numbers are
 * guest-physical, upcalls are interrupts.
 */
import type { BuildOptions } from '../../../paravirt/platform.ts'
import type { Transfer } from '../../../snapshot/stateful.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'
import type { EventLine } from '../hvm/event-line.ts'
import type { Extents, Kind, Rings } from '../kind.ts'
import { contextBytes, entryOfContext } from './context.ts'
import { Param, Params } from './params.ts'
import { Physmap } from './physmap.ts'

/** HVM_PARAM_CALLBACK_IRQ: how the guest wants to be called; the types below need I/O APIC and 8259. */
const VIA_VECTOR = 2n
const PAGE = 4096

export class PvhKind implements Kind {
  readonly name = 'pvh'
  readonly params = new Params()
  readonly physmap: Physmap
  readonly #domain: Domain
  readonly #build: (kind: PvhKind, options: BuildOptions) => void
  /** How events come by an interrupt line, to guests that have some. */
  readonly #line: EventLine | undefined
  /** HVMOP_set_evtchn_upcall_vector, by vCPU; 0: none. */
  readonly #vectors: number[]
  /** vcpu_hvm_context that VCPUOP_initialise left for VCPUOP_up. */
  readonly #contexts: (Uint8Array | undefined)[]
  /** It was running when it was taken down, so it can be brought up. */
  readonly #parked: boolean[]
  #via = 0

  constructor(domain: Domain, build: (kind: PvhKind, options: BuildOptions) => void, line?: EventLine) {
    this.#domain = domain
    this.#build = build
    this.#line = line
    this.#vectors = domain.vcpus.map(() => 0)
    this.#contexts = domain.vcpus.map(() => undefined)
    this.#parked = domain.vcpus.map(() => false)
    this.physmap = new Physmap(domain)
  }

  transfer(state: Transfer): void {
    state.part('params', this.params)
    state.part('physmap', this.physmap)
    state.list('vectors', this.#vectors)
    state.list('contexts', this.#contexts)
    state.list('parked', this.#parked)
    this.#via = state.field('via', this.#via)
    if (this.#line) state.part('line', this.#line)
    if (!state.loading) return
    for (const [vcpu, vector] of this.#vectors.entries()) if (vector !== 0) this.#hearEnabled(vcpu)
    if (this.#via !== 0) this.#drawLines()
  }

  frame(gfn: number): number {
    return this.physmap.frame(gfn)
  }

  hold(gfn: number): number {
    return this.physmap.frame(gfn)
  }

  release(): void {}

  withdraw(pages: readonly SharedPage[]): boolean {
    for (const page of pages) page.move(page.home)
    return true
  }

  numberOf(page: SharedPage): number {
    return page.frame === page.home ? -1 : page.frame
  }

  mayAccess(): boolean {
    return true
  }

  upcall(vcpu: number): void {
    const vector = this.#vectors[vcpu] as number
    const { irq } = this.#domain.effects
    if (vector === 0) {
      if (this.#via !== 0) irq.pull(vcpu)
      else if (vcpu === 0) this.#line?.raise()
    } else if (irq.enabled(vcpu)) irq.post(vcpu, vector)
  }

  eventWaits(vcpu: number): boolean {
    return this.#domain.effects.irq.waits(vcpu)
  }

  nmi(vcpu: number): void {
    this.#domain.effects.irq.nmi(vcpu)
  }

  /** Events are interrupts: let those in. */
  block(vcpu: number): void {
    const { cpu, lock } = this.#domain.effects
    cpu.setInterruptFlag(vcpu)
    lock.block(vcpu)
  }

  /** HVMOP_set_evtchn_upcall_vector: an upcall comes at once, to begin with. */
  setVector(vcpu: number, vector: number): void {
    this.#vectors[vcpu] = vector
    this.upcall(vcpu)
    this.#hearEnabled(vcpu)
  }

  /** What came while a local APIC was off is told when it is on. */
  #hearEnabled(vcpu: number): void {
    const { irq } = this.#domain.effects
    irq.onEnabled(vcpu, () => {
      if (this.#domain.vcpus[vcpu]?.pending) irq.post(vcpu, this.#vectors[vcpu] as number)
    })
  }

  /** HVM_PARAM_CALLBACK_IRQ. */
  setCallback(value: bigint): void {
    const byVector = value >> 56n === VIA_VECTOR
    if (!byVector && !this.#line) return
    const { irq, cpu } = this.#domain.effects
    this.#via = byVector ? Number(value & 0xffn) : 0
    this.#line?.set(value)
    if (byVector) this.#drawLines()
    for (const { id } of this.#domain.vcpus)
      if (!byVector) irq.line(id, undefined)
      else if (cpu.running(id)) this.upcall(id)
  }

  #drawLines(): void {
    for (const { id } of this.#domain.vcpus)
      this.#domain.effects.irq.line(id, () => (this.#domain.vcpus[id]?.pending ? this.#via : -1))
  }

  initialise(vcpu: number, low: number, high: number, caller: number): number {
    const bytes = new Uint8Array(contextBytes)
    if (!this.#domain.guest.copyIn(caller, low, high, bytes, bytes.length)) return Errno.EFAULT
    if (this.initialised(vcpu)) return Errno.EEXIST
    if (!entryOfContext(bytes)) return Errno.EINVAL
    this.#contexts[vcpu] = bytes
    return 0
  }

  asleep(): boolean {
    return false
  }

  initialised(vcpu: number): boolean {
    return this.#contexts[vcpu] !== undefined || this.#parked[vcpu] === true || this.#domain.effects.cpu.running(vcpu)
  }

  up(vcpu: number): void {
    const bytes = this.#contexts[vcpu]
    const entry = bytes && entryOfContext(bytes)
    if (entry) this.#domain.effects.cpu.enter(vcpu, entry)
    else this.#domain.effects.cpu.unpark(vcpu)
    this.#contexts[vcpu] = undefined
    this.#parked[vcpu] = false
  }

  down(vcpu: number): void {
    this.#parked[vcpu] = this.#domain.effects.cpu.running(vcpu)
    this.#domain.effects.cpu.park(vcpu)
  }

  restore(_argument: number, ports: { store: number; console: number }, { store, console }: Rings): Rings {
    const { irq, memory } = this.#domain.effects
    this.physmap.restart()
    memory.place(this.#domain.sharedInfo.address, new Uint8Array(PAGE))
    for (const { id } of this.#domain.vcpus) {
      irq.line(id, undefined)
      irq.onEnabled(id, undefined)
    }
    this.#vectors.fill(0)
    this.setCallback(0n)
    this.#via = 0
    this.params.set(Param.STORE_EVTCHN, ports.store)
    this.params.set(Param.CONSOLE_EVTCHN, ports.console)
    return { store: { ...store, port: ports.store }, console: { ...console, port: ports.console } }
  }

  /** INIT. */
  reset(vcpu: number): void {
    this.#contexts[vcpu] = undefined
    this.#parked[vcpu] = false
    this.#domain.vcpus[vcpu]?.runstate.offline()
  }

  get pages(): number {
    return this.physmap.pages
  }

  get maximumGpfn(): number {
    return this.physmap.highest
  }

  changeExtent(what: 'increase' | 'decrease' | 'populate', extents: Extents, index: number): boolean {
    return this.physmap.changeExtent(what, extents, index)
  }

  movedInfo(): void {}

  assisted(): void {}

  build(options: BuildOptions): void {
    this.#build(this, options)
  }
}

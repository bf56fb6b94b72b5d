/**
 * The machine's vCPUs, which take turns in one thread: which of them can run, whose turn it is, how many instructions
 * all have executed. Also what their local APICs tell them: interrupts, NMI, INIT and start-up messages.
 */
import type { Core } from '../cpu/core.ts'
import { Exit, S } from '../cpu/layout.ts'
import type { ApicCpu } from '../devices/lapic/lapic.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

const FLAG_IF = 0x200
/** Instructions of a turn when there are several vCPUs; PAUSE ends it earlier. */
const TURN = 50_000
const BOOT = 0

/** Who wants to know of turns: the platform. */
export interface TurnWatcher {
  enter?(vcpu: number): void
  leave?(vcpu: number, halted: boolean): void
  init?(vcpu: number): void
  start?(vcpu: number): boolean
}

export interface VcpusOptions {
  readonly core: Core
  /** Nanoseconds since power-on. */
  readonly now: () => number
  readonly watcher: TurnWatcher
  /** CPUID 1 EAX, which INIT leaves in EDX. */
  readonly signature: number
  /** INIT reached the boot processor: without firmware that is a reset. */
  readonly onBootInit: () => void
}

export class Vcpus implements Stateful {
  readonly #core: Core
  readonly #options: VcpusOptions
  /** INIT was received, start-up message not yet. */
  readonly #waiting: boolean[]
  readonly #halted: boolean[]
  readonly #initPending: boolean[]
  /** The next HLT is none, or this one ends, whatever IF says. */
  readonly #woken: boolean[]
  /** Halted until an interrupt waits, whatever IF says. */
  readonly #blocked: boolean[]
  /** Since when a vCPU could have run; Infinity: it could not, or does. */
  readonly #ready: number[]
  readonly #stolen: number[]
  #last = 0
  /** Whose turn is next, if it can run. */
  #favoured = -1
  /** The vCPU whose slice runs, -1 between slices. */
  #current = -1
  #done = 0
  #slice = 0

  constructor(options: VcpusOptions) {
    const { core } = options
    this.#core = core
    this.#options = options
    this.#waiting = core.vcpus.map((_, i) => i !== BOOT)
    this.#halted = core.vcpus.map(() => false)
    this.#initPending = core.vcpus.map(() => false)
    this.#woken = core.vcpus.map(() => false)
    this.#blocked = core.vcpus.map(() => false)
    this.#ready = core.vcpus.map(() => Infinity)
    this.#stolen = core.vcpus.map(() => 0)
    const several = core.vcpus.length > 1 ? 1 : 0
    for (const p of core.vcpus) core.i32[(p + S.PAUSE_EXITS) >> 2] = several
  }

  /** Between slices. */
  transfer(state: Transfer): void {
    state.list('waiting', this.#waiting)
    state.list('halted', this.#halted)
    state.list('initPending', this.#initPending)
    state.list('woken', this.#woken)
    state.list('blocked', this.#blocked)
    state.list('ready', this.#ready)
    state.list('stolen', this.#stolen)
    this.#last = state.field('last', this.#last)
    this.#favoured = state.field('favoured', this.#favoured)
    this.#done = state.field('done', this.#done)
  }

  /** Instructions executed by all, exact inside a slice too. */
  count(): number {
    return this.#current < 0 ? this.#done : this.#done + this.#slice - this.#core.budgetLeft(this.#current)
  }

  /** Run the next vCPU that can for at most `budget` instructions; returns its exit, or undefined if none can. */
  slice(budget: number): number | undefined {
    const n = this.#core.vcpus.length
    const turn = n > 1 ? Math.min(budget, TURN) : budget
    const favoured = this.#favoured
    this.#favoured = -1
    if (favoured >= 0 && this.#runnable(favoured)) return this.#run(favoured, turn)
    for (let i = 1; i <= n; i++) {
      const vcpu = (this.#last + i) % n
      if (this.#runnable(vcpu)) return this.#run(vcpu, turn)
    }
    return undefined
  }

  #runnable(vcpu: number): boolean {
    return !this.#waiting[vcpu] && (!this.#halted[vcpu] || this.#awake(vcpu))
  }

  #run(vcpu: number, budget: number): number {
    const { now, watcher } = this.#options
    this.#last = vcpu
    if (this.#halted[vcpu]) this.#woken[vcpu] = false
    this.#halted[vcpu] = false
    this.#blocked[vcpu] = false
    this.#stolen[vcpu] = this.stolen(vcpu)
    this.#ready[vcpu] = Infinity
    watcher.enter?.(vcpu)
    this.#slice = budget
    this.#current = vcpu
    const exit = this.#core.runSlice(vcpu, budget)
    this.#done += budget - this.#core.budgetLeft(vcpu)
    this.#current = -1
    if (exit === Exit.HALT) {
      this.#halted[vcpu] = !this.#woken[vcpu]
      this.#woken[vcpu] = false
    }
    if (this.#initPending[vcpu]) this.#init(vcpu)
    const halted = this.#halted[vcpu] as boolean
    watcher.leave?.(vcpu, halted)
    if (!this.#waiting[vcpu] && (!halted || this.#awake(vcpu))) this.#ready[vcpu] = now()
    return exit
  }

  /** One instruction, without interrupts, if the vCPU can run at all: for debuggers. */
  step(vcpu: number): void {
    if (this.#waiting[vcpu] || this.#halted[vcpu]) return
    const core = this.#core
    const at = ((core.vcpus[vcpu] as number) + S.SHADOW) >> 2
    core.i32[at] = (core.i32[at] as number) || 1
    this.#run(vcpu, 1)
  }

  /** What a vCPU does. */
  state(vcpu: number): 'running' | 'halted' | 'not started' {
    return this.#waiting[vcpu] ? 'not started' : this.#halted[vcpu] ? 'halted' : 'running'
  }

  /** The vCPU that ran last. */
  get last(): number {
    return this.#last
  }

  /** How long a vCPU could have run but did not, in nanoseconds. */
  stolen(vcpu: number): number {
    return (this.#stolen[vcpu] as number) + Math.max(0, this.#options.now() - (this.#ready[vcpu] as number))
  }

  /** End HLT whatever IF says; without one, the next is none. */
  wake(vcpu: number): void {
    this.#woken[vcpu] = true
    this.#becameReady(vcpu)
  }

  /** Halt the running vCPU until an interrupt waits, even with IF = 0. */
  block(vcpu: number): void {
    this.#blocked[vcpu] = true
    this.#core.stop(vcpu, Exit.HALT)
  }

  /** End this turn; the next is `vcpu`'s, if it can run. */
  yieldTo(vcpu: number): void {
    this.#favoured = vcpu
    this.interrupt()
  }

  #becameReady(vcpu: number): void {
    if (this.#halted[vcpu] && !this.#waiting[vcpu] && this.#ready[vcpu] === Infinity && this.#awake(vcpu))
      this.#ready[vcpu] = this.#options.now()
  }

  /** End the running slice at the next instruction boundary. */
  interrupt(): void {
    if (this.#current >= 0) this.#core.stop(this.#current, Exit.BUDGET)
  }

  /** Some vCPU could run now. */
  canRun(): boolean {
    return this.#halted.some((halted, i) => !this.#waiting[i] && (!halted || this.#awake(i)))
  }

  /** It runs nothing until it is started. */
  park(vcpu: number): void {
    this.#waiting[vcpu] = true
    this.#ready[vcpu] = Infinity
    if (this.#current === vcpu) this.interrupt()
  }

  /** It is in the state in which it begins. */
  start(vcpu: number): void {
    this.#halted[vcpu] = false
    this.#woken[vcpu] = false
    this.#blocked[vcpu] = false
    this.#waiting[vcpu] = false
    this.#ready[vcpu] = this.#options.now()
  }

  /** It goes on where it was parked. */
  unpark(vcpu: number): void {
    this.#waiting[vcpu] = false
    this.#ready[vcpu] = this.#halted[vcpu] && !this.#awake(vcpu) ? Infinity : this.#options.now()
  }

  running(vcpu: number): boolean {
    return !this.#waiting[vcpu]
  }

  /** It has halted, and nothing is there that would end that. */
  waits(vcpu: number): boolean {
    return (this.#halted[vcpu] as boolean) && !this.#awake(vcpu)
  }

  /** A line that comes past the local APIC is up. */
  pull(vcpu: number): void {
    const p = this.#core.vcpus[vcpu] as number
    this.#core.i32[(p + S.IRQ_PENDING) >> 2] = 1
    if (this.#interruptible(p)) this.#core.kick(vcpu)
    this.#becameReady(vcpu)
  }

  /** No interrupt can ever reach a vCPU again: all have halted with interrupts off. */
  dead(): boolean {
    return this.#core.vcpus.every(
      (p, i) =>
        this.#waiting[i] || (this.#halted[i] && !this.#awake(i) && !this.#interruptible(p) && !this.#blocked[i]),
    )
  }

  /** Where the vCPU that ran last is, for messages. */
  where(): string {
    const p = this.#core.vcpus[this.#last] as number
    return `vCPU ${this.#last} at ${(this.#core.u64[(p + S.RIP) >> 3] as bigint).toString(16)}`
  }

  #word(p: number, offset: number): number {
    return this.#core.i32[(p + offset) >> 2] as number
  }

  #interruptible(p: number): boolean {
    return (this.#word(p, S.SYSFLAGS) & FLAG_IF) !== 0
  }

  /** An interrupt would end HLT now. */
  #awake(vcpu: number): boolean {
    const p = this.#core.vcpus[vcpu] as number
    if (this.#woken[vcpu] || (this.#blocked[vcpu] && this.#word(p, S.IRQ_PENDING) !== 0)) return true
    return (
      (this.#word(p, S.IRQ_PENDING) !== 0 && this.#interruptible(p)) ||
      (this.#word(p, S.NMI_PENDING) !== 0 && this.#word(p, S.NMI_BLOCKED) === 0)
    )
  }

  #init(vcpu: number): void {
    this.#initPending[vcpu] = false
    if (vcpu === BOOT) return this.#options.onBootInit()
    this.#core.system.initVcpu(this.#core.vcpus[vcpu] as number, this.#options.signature)
    this.#halted[vcpu] = false
    this.#woken[vcpu] = false
    this.#blocked[vcpu] = false
    this.#ready[vcpu] = Infinity
    this.#waiting[vcpu] = true
    this.#options.watcher.init?.(vcpu)
  }

  /** What each local APIC needs of its vCPU. */
  apicCpus(): ApicCpu[] {
    const core = this.#core
    return core.vcpus.map((p, vcpu) => ({
      setInterruptPending: (pending) => {
        core.i32[(p + S.IRQ_PENDING) >> 2] = pending ? 1 : 0
        if (pending && this.#interruptible(p)) core.kick(vcpu)
        if (pending) this.#becameReady(vcpu)
      },
      nmi: () => {
        core.i32[(p + S.NMI_PENDING) >> 2] = 1
        core.kick(vcpu)
      },
      init: () => {
        if (this.#current !== vcpu) return this.#init(vcpu)
        this.#initPending[vcpu] = true
        this.interrupt()
      },
      sipi: (vector) => {
        if (!this.#waiting[vcpu] || this.#options.watcher.start?.(vcpu)) return
        core.system.startVcpu(p, vector)
        this.#waiting[vcpu] = false
        this.#ready[vcpu] = this.#options.now()
      },
      tscOffset: () => Number(BigInt.asIntN(64, core.u64[(p + S.TSC_OFFSET) >> 3] as bigint)),
    }))
  }
}

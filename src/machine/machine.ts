/**
 * The machine: core, PC and platform joined, and the loop that runs them.
 *
 *   timers that are due → run the vCPU until the next one → why did it stop? → idle or again
 *
 * Time is the host's, or (deterministic) the count of guest instructions. A slice is at most 5 ms of host time; after
 * each the event loop gets its turn.
 */
import { firmwareTables } from '../boot/firmware.ts'
import { layoutBoot } from '../boot/layout.ts'
import { Core, type CoreHost } from '../cpu/core.ts'
import { Exit, MAXPHYADDR, S } from '../cpu/layout.ts'
import { isApicMsr } from '../devices/lapic/registers.ts'
import { cpuid, cpuModel, signature, type CpuidState } from '../platforms/cpu-models.ts'
import { NativeMsrs } from '../platforms/native/msrs.ts'
import { CountedClock, RealClock } from './clock.ts'
import { enter } from './entry.ts'
import { createPc, type Pc } from './pc.ts'
import type { ExitReason, MachineOptions, MachineStats, SerialPort } from './types.ts'

/** Power-on of a deterministic machine: 2026-01-01 UTC. */
const DETERMINISTIC_EPOCH = Date.UTC(2026, 0, 1)
const SLICE_NS = 4e6
const MAX_SLICE = 4_000_000
const MIN_SLICE = 1000
const CR4_OSXSAVE = 1n << 18n
const FLAG_IF = 0x200
const SERIAL_PORTS: readonly SerialPort[] = ['com1', 'com2', 'com3', 'com4']

/** A serial port's output, gathered until the vCPU pauses. */
class SerialOutput {
  readonly #sink: ((bytes: Uint8Array) => void) | undefined
  #bytes: number[] = []

  constructor(sink: ((bytes: Uint8Array) => void) | undefined) {
    this.#sink = sink
  }

  push(byte: number): void {
    if (this.#sink) this.#bytes.push(byte)
  }

  flush(): void {
    if (this.#bytes.length === 0) return
    const bytes = Uint8Array.from(this.#bytes)
    this.#bytes = []
    this.#sink?.(bytes)
  }
}

export class Machine {
  readonly serial: readonly { send(bytes: Uint8Array): void }[]
  readonly core: Core
  readonly #clock: RealClock | CountedClock
  readonly #outputs: readonly SerialOutput[]
  readonly #state: RunState
  readonly #observe: MachineOptions['observe']

  private constructor(
    core: Core,
    clock: RealClock | CountedClock,
    pc: Pc,
    outputs: readonly SerialOutput[],
    state: RunState,
    observe: MachineOptions['observe'],
  ) {
    this.core = core
    this.#clock = clock
    this.#outputs = outputs
    this.#state = state
    this.#observe = observe
    this.serial = pc.uarts.map((uart) => ({
      send: (bytes) => {
        uart.receive(bytes)
        state.wake?.()
      },
    }))
  }

  /** A machine with its kernel in place, ready to run. Throws BootError for what cannot be booted. */
  static async create(options: MachineOptions): Promise<Machine> {
    const model = cpuModel(options.cpu)
    const features = cpuid(model, 1, 0, { apicId: 0, vcpus: 1, osxsave: false, apicEnabled: true })[3]
    const firmware = firmwareTables({
      vcpus: 1,
      serialPorts: SERIAL_PORTS.length,
      signature: signature(model),
      features,
    })
    const boot = layoutBoot({ ...options.boot, ...firmware, memory: options.memory })
    const state = new RunState()
    const clock = options.deterministic ? new CountedClock(() => state.count()) : new RealClock()
    const outputs = SERIAL_PORTS.map((port) => new SerialOutput(options.serial[port]))
    const msrs = new NativeMsrs(model)
    let core: Core
    let pc: Pc
    let seed = 0x9e3779b9
    const word = (offset: number) => core.i32[((core.vcpus[0] as number) + offset) >> 2] as number
    const host: CoreHost = {
      mmioRead: (vcpu, address, size) => pc.mmio.read(address, size, vcpu),
      mmioWrite: (vcpu, address, size, value) => pc.mmio.write(address, size, value, vcpu),
      portIn: (_, port, size) => pc.ports.read(port, size),
      portOut: (_, port, size, value) => pc.ports.write(port, size, value),
      rdmsr: (vcpu, index) => (isApicMsr(index) ? pc.interrupts.rdmsr(vcpu, index) : msrs.read(index)),
      wrmsr: (vcpu, index, value) =>
        isApicMsr(index)
          ? pc.interrupts.wrmsr(vcpu, index, Number(value & 0xffffffffn), Number(value >> 32n))
          : msrs.write(index, value),
      cpuid: (vcpu, leaf, subleaf) => {
        const cr4 = core.u64[((core.vcpus[vcpu] as number) + S.CR4) >> 3] as bigint
        const cpu: CpuidState = { apicId: vcpu, vcpus: 1, osxsave: (cr4 & CR4_OSXSAVE) !== 0n, apicEnabled: true }
        return cpuid(model, leaf, subleaf, cpu)
      },
      hypercall: () => false,
      tsc: () => clock.now(),
      readCr8: (vcpu) => pc.interrupts.readCr8(vcpu),
      writeCr8: (vcpu, value) => pc.interrupts.writeCr8(vcpu, value),
      random: () => {
        if (!options.deterministic) return (Math.random() * 2 ** 32) | 0
        seed = (Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
        return seed ^ (seed >>> 13)
      },
      acknowledge: (vcpu) => pc.interrupts.acknowledge(vcpu),
    }
    core = await Core.create({
      ramBytes: options.memory,
      vcpus: 1,
      signature: signature(model),
      amd: model.vendor === 'AuthenticAMD',
      host,
      interpreter: options.interpreter,
      translate: options.translate,
    })
    state.core = core
    pc = createPc({
      clock,
      cpus: [
        {
          setInterruptPending(pending) {
            core.i32[((core.vcpus[0] as number) + S.IRQ_PENDING) >> 2] = pending ? 1 : 0
            if (pending && word(S.SYSFLAGS) & FLAG_IF) core.kick(0)
          },
          nmi() {
            core.i32[((core.vcpus[0] as number) + S.NMI_PENDING) >> 2] = 1
            core.kick(0)
          },
          init() {},
          sipi() {},
          tscOffset: () =>
            Number(BigInt.asIntN(64, core.u64[((core.vcpus[0] as number) + S.TSC_OFFSET) >> 3] as bigint)),
        },
      ],
      physicalBits: MAXPHYADDR,
      x2apic: true,
      epoch: options.deterministic ? DETERMINISTIC_EPOCH : Date.now(),
      serial: outputs.map((output) => (byte) => output.push(byte)),
      onReset: () => state.stop({ kind: 'reset' }),
      onPowerOff: () => state.stop({ kind: 'power-off' }),
    })
    clock.onEarlier = () => state.interrupt()
    enter(core, 0, boot)
    return new Machine(core, clock, pc, outputs, state, options.observe)
  }

  stats(): MachineStats {
    return { instructions: this.#state.count(), virtualNanoseconds: this.#clock.now() }
  }

  /** Run until the guest stops or `signal` aborts. */
  async run(signal?: AbortSignal): Promise<ExitReason> {
    const state = this.#state
    const clock = this.#clock
    const abort = () => state.stop({ kind: 'aborted' })
    signal?.addEventListener('abort', abort)
    if (signal?.aborted) abort()
    try {
      let pause = performance.now()
      let rate = 0.1 // guest instructions a nanosecond
      for (;;) {
        clock.runDue()
        if (state.reason) return state.reason
        const began = performance.now()
        const before = state.count()
        const exit = state.slice(this.#budget(rate))
        const executed = state.count() - before
        if (this.#observe && executed > 0 && state.count() % this.#observe.every === 0)
          this.#observe.at(this.core, state.count())
        const now = performance.now()
        if (executed > 100_000) rate = 0.5 * rate + 0.5 * (executed / ((now - began) * 1e6))
        if (state.reason) return state.reason
        if (exit === Exit.SHUTDOWN) return { kind: 'triple-fault', detail: this.#where() }
        if (exit === Exit.FATAL) throw new Error(`the core met a record that must never run ${this.#where()}`)
        if (exit === Exit.HALT) {
          this.#flush()
          if (!(await this.#idle())) return { kind: 'halted' }
          pause = performance.now()
        } else if (now - pause > SLICE_NS / 1e6) {
          this.#flush()
          await new Promise((resolve) => setImmediate(resolve))
          pause = performance.now()
        }
      }
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#flush()
    }
  }

  #flush(): void {
    for (const output of this.#outputs) output.flush()
  }

  #where(): string {
    const p = this.core.vcpus[0] as number
    return `at ${(this.core.u64[(p + S.RIP) >> 3] as bigint).toString(16)}`
  }

  /** Instructions until the next timer, as far as the rate can tell. */
  #budget(rate: number): number {
    const clock = this.#clock
    const left = clock.nextDeadline() - clock.now()
    if (clock instanceof CountedClock) {
      const every = this.#observe?.every ?? MAX_SLICE
      return Math.max(1, Math.min(MAX_SLICE, left, every - (this.#state.count() % every)))
    }
    return Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.ceil(Math.min(left, SLICE_NS) * rate)))
  }

  /** HLT: wait for an interrupt. False if none can come. */
  async #idle(): Promise<boolean> {
    const state = this.#state
    const clock = this.#clock
    for (;;) {
      if (state.reason || state.awake()) return true
      const left = clock.nextDeadline() - clock.now()
      if (clock instanceof CountedClock) {
        if (left === Infinity) return false
        clock.skipTo(clock.nextDeadline())
      } else await state.sleep(left)
      clock.runDue()
    }
  }
}

/** What the run loop, the devices and the caller tell each other about the running slice. */
class RunState {
  core!: Core
  reason: ExitReason | undefined
  wake: (() => void) | undefined
  #done = 0
  #slice = 0

  /** Instructions executed, exact inside a slice too. */
  count(): number {
    return this.#slice ? this.#done + this.#slice - this.core.budgetLeft(0) : this.#done
  }

  /** Run one slice; returns its exit. */
  slice(budget: number): number {
    this.#slice = budget
    const exit = this.core.runSlice(0, budget)
    this.#done += budget - this.core.budgetLeft(0)
    this.#slice = 0
    return exit
  }

  /** End the running slice at the next instruction boundary. */
  interrupt(): void {
    if (this.#slice) this.core.stop(0, Exit.BUDGET)
  }

  stop(reason: ExitReason): void {
    this.reason ??= reason
    this.interrupt()
    this.wake?.()
  }

  /** An interrupt would end HLT now. */
  awake(): boolean {
    const p = this.core.vcpus[0] as number
    const word = (offset: number) => this.core.i32[(p + offset) >> 2] as number
    return (
      (word(S.IRQ_PENDING) !== 0 && (word(S.SYSFLAGS) & FLAG_IF) !== 0) ||
      (word(S.NMI_PENDING) !== 0 && word(S.NMI_BLOCKED) === 0)
    )
  }

  /** Sleep at most `ns`, less if something wakes the machine. Short waits spin: timers of the host are coarse. */
  async sleep(ns: number): Promise<void> {
    if (ns < 1e6) {
      await new Promise((resolve) => setImmediate(resolve))
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.floor(ns / 1e6), 60_000))
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.wake = undefined
  }
}

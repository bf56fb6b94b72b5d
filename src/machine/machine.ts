/**
 * The machine: core, PC and platform joined, and the loop that runs them.
 *
 *   timers that are due → run the next vCPU until the next one → why did it stop? → idle or again
 *
 * Time is the host's, or (deterministic) the count of guest instructions. A slice is at most 5 ms of host time; after
 * each the event loop gets its turn.
 */
import { firmwareTables } from '../boot/firmware.ts'
import { layoutBoot } from '../boot/layout.ts'
import { Core, type CoreHost } from '../cpu/core.ts'
import { Exit, M, MAXPHYADDR, PageAttr, S } from '../cpu/layout.ts'
import { isApicMsr } from '../devices/lapic/registers.ts'
import { cpuid, cpuModel, type CpuModel, signature, type CpuidState } from '../cpu/models.ts'
import type { ConsolePort } from '../paravirt/effects.ts'
import { Observer } from '../paravirt/observe.ts'
import { chosenFeatures, type Platform, type PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'
import { CountedClock, RealClock } from './clock.ts'
import { Census } from './census.ts'
import { machineEffects } from './effects.ts'
import { enter } from './entry.ts'
import { createPc, type Pc } from './pc.ts'
import { hostRandom, repeatedRandom } from './random.ts'
import { SerialOutput } from './serial-output.ts'
import type { ExitReason, MachineOptions, MachineStats, SerialPort } from './types.ts'
import { turn } from './turn.ts'
import { Vcpus } from './vcpus.ts'

/** Power-on of a deterministic machine: 2026-01-01 UTC. */
const DETERMINISTIC_EPOCH = Date.UTC(2026, 0, 1)
const PAGE = 4096
const SLICE_NS = 4e6
const MAX_SLICE = 4_000_000
const MIN_SLICE = 1000
const CR4_OSXSAVE = 1n << 18n
/** The core's number for SYSCALL as a hypercall. */
const SYSCALL = 2
const SERIAL_PORTS: readonly SerialPort[] = ['com1', 'com2', 'com3', 'com4']

export class Machine {
  readonly serial: readonly { send(bytes: Uint8Array): void }[]
  readonly core: Core
  /** What the guest asks of its hypervisor. */
  readonly requests: Observer
  /** What it does without asking, if that is counted. */
  readonly census: Census | undefined
  readonly #clock: RealClock | CountedClock
  readonly #outputs: readonly SerialOutput[]
  readonly #state: RunState
  readonly #observe: MachineOptions['observe']

  private constructor(
    core: Core,
    clock: RealClock | CountedClock,
    consoles: readonly ConsolePort[],
    outputs: readonly SerialOutput[],
    state: RunState,
    { requests, census }: { requests: Observer; census: Census | undefined },
    observe: MachineOptions['observe'],
  ) {
    this.core = core
    this.requests = requests
    this.census = census
    this.#clock = clock
    this.#outputs = outputs
    this.#state = state
    this.#observe = observe
    this.serial = consoles.map((console) => ({
      send: (bytes) => {
        console.onInput?.(bytes)
        state.wake?.()
      },
    }))
  }

  /** A machine with its kernel in place, ready to run. Throws BootError for what cannot be booted. */
  static async create(options: MachineOptions): Promise<Machine> {
    const model = cpuModel(options.cpu)
    const count = options.cpus ?? 1
    const definition: PlatformDefinition = definitions[options.platform]
    const frames = options.memory / PAGE + (definition.frames?.(options.memory, count) ?? 0)
    const state = new RunState()
    const outputs = SERIAL_PORTS.map((port) => new SerialOutput(options.serial[port]))
    const bare = definition.board === 'bare'
    let core: Core
    let pc: Pc
    let platform: Platform
    const census = options.census ? new Census() : undefined
    const random = options.deterministic ? repeatedRandom() : hostRandom()
    const host: CoreHost = {
      mmioRead: (vcpu, address, size) => pc.mmio.read(address, size, vcpu),
      mmioWrite: (vcpu, address, size, value) => pc.mmio.write(address, size, value, vcpu),
      portIn: (vcpu, port, size) => platform.portIn?.(vcpu, port, size) ?? pc.ports.read(port, size),
      portOut: (vcpu, port, size, value) => {
        if (!platform.portOut?.(vcpu, port, size, value)) pc.ports.write(port, size, value)
      },
      rdpmc: (vcpu, index) => platform.rdpmc?.(vcpu, index),
      rdmsr: (vcpu, index) => (isApicMsr(index) ? pc.interrupts.rdmsr(vcpu, index) : platform.rdmsr(vcpu, index)),
      wrmsr: (vcpu, index, value) =>
        isApicMsr(index)
          ? pc.interrupts.wrmsr(vcpu, index, Number(value & 0xffffffffn), Number(value >> 32n))
          : platform.wrmsr(vcpu, index, value),
      cpuid: (vcpu, leaf, subleaf) => {
        const cr4 = core.u64[((core.vcpus[vcpu] as number) + S.CR4) >> 3] as bigint
        const cpu: CpuidState = {
          apicId: vcpu,
          vcpus: count,
          osxsave: (cr4 & CR4_OSXSAVE) !== 0n,
          apicEnabled: pc.interrupts.lapics[vcpu].enabled,
        }
        return platform.cpuid(vcpu, leaf, subleaf, cpuid(model, leaf, subleaf, cpu))
      },
      hypercall: (vcpu, kind) =>
        kind === SYSCALL
          ? (platform.pv?.hypercall(vcpu) ?? 'done') === 'done' || 'again'
          : platform.hypercall(vcpu, kind === 0 ? 'vmcall' : 'vmmcall'),
      pvCrash: (vcpu, reason) => platform.pv?.crash(vcpu, reason),
      pvLdt: (vcpu, page) => platform.pv?.ldt(vcpu, page) ?? 0,
      pvNote: (vcpu, number, result) => platform.pv?.note(vcpu, number, result),
      pvRoot: (vcpu, frame) => platform.pv?.root(vcpu, frame) ?? false,
      pvStore: (vcpu, address, size, low, high) => platform.pv?.store(vcpu, address, size, low, high) ?? false,
      tsc: () => clock.now(),
      readCr8: (vcpu) => pc.interrupts.readCr8(vcpu),
      writeCr8: (vcpu, value) => pc.interrupts.writeCr8(vcpu, value),
      random,
      watchedStore: (_, address, size, attribute) => census?.store(address, size, attribute),
      watchedLoad: (_, address, size) => census?.load(address, size),
      acknowledge: (vcpu) => pc.interrupts.acknowledge(vcpu),
    }
    core = await Core.create({
      ramBytes: frames * PAGE,
      vcpus: count,
      signature: signature(model),
      amd: model.vendor === 'AuthenticAMD',
      host,
      interpreter: census?.interpreter ?? options.interpreter,
      system: options.system,
      translate: census ? false : (options.translate ?? true),
      profile: options.profile,
      deterministic: options.deterministic,
    })
    // The platform's own frames are nothing to the guest until they are given to it.
    core.u8.fill(PageAttr.MMIO, M.PAGE_ATTR + options.memory / PAGE, M.PAGE_ATTR + frames)
    // Power-on is now: building the core is not the guest's time.
    const clock = options.deterministic ? new CountedClock(() => state.vcpus.count()) : new RealClock()
    census?.start(core)
    const epoch = options.deterministic ? DETERMINISTIC_EPOCH : Date.now()
    const observer = new Observer(() => clock.now())
    const consoles: readonly ConsolePort[] = outputs.map((sink) => ({
      output: (bytes) => {
        for (const byte of bytes) sink.push(byte)
      },
      onInput: undefined,
    }))
    platform = definition.create({
      effects: machineEffects({
        parts: () => ({
          core,
          clock,
          get interrupts() {
            return pc.interrupts
          },
          vcpus: state.vcpus,
        }),
        census,
        cpus: count,
        consoles,
        memory: options.memory,
        frames,
        signature: signature(model),
        epoch,
        onReset: () => state.stop({ kind: 'reset' }),
        onPowerOff: () => state.stop({ kind: 'power-off' }),
        onCrash: (detail) => state.stop({ kind: 'crash', detail }),
        onReport: (lines) => options.onReport?.(lines),
      }),
      model,
      features: chosenFeatures(definition, options.features ?? []),
      observer,
    })
    state.vcpus = new Vcpus({
      core,
      now: () => clock.now(),
      watcher: platform,
      signature: signature(model),
      onBootInit: () => state.stop({ kind: 'reset' }),
    })
    pc = createPc({
      clock,
      cpus: state.vcpus.apicCpus(),
      physicalBits: MAXPHYADDR,
      x2apic: true,
      extendedIds: platform.extendedIds,
      bare,
      epoch,
      serial: outputs.map((output) => (byte) => output.push(byte)),
      onReset: () => state.stop({ kind: 'reset' }),
      onPowerOff: () => state.stop({ kind: 'power-off' }),
      testDevices: options.testDevices
        ? {
            cpus: count,
            memory: options.memory,
            onExit: (code) => state.stop({ kind: 'exit', code }),
          }
        : undefined,
    })
    clock.onEarlier = () => state.vcpus.interrupt()
    if (platform.openPorts) {
      const { first, count: ports, key } = platform.openPorts
      core.openPorts(first, ports, key)
    }
    if (platform.build) platform.build({ ...options.boot, memory: options.memory })
    else bootPc(core, options, model)
    if (!bare) for (const [i, uart] of pc.uarts.entries()) consoles[i].onInput = (bytes) => uart.receive(bytes)
    return new Machine(core, clock, consoles, outputs, state, { requests: observer, census }, options.observe)
  }

  stats(): MachineStats {
    return {
      instructions: this.#state.vcpus.count(),
      virtualNanoseconds: this.#clock.now(),
      translation: this.core.translator?.stats,
    }
  }

  /** Run until the guest stops or `signal` aborts. */
  async run(signal?: AbortSignal): Promise<ExitReason> {
    const state = this.#state
    const { vcpus } = state
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
        const before = vcpus.count()
        const exit = vcpus.slice(this.#budget(rate))
        const executed = vcpus.count() - before
        if (this.#observe && executed > 0 && vcpus.count() % this.#observe.every === 0)
          this.#observe.at(this.core, vcpus.count())
        const now = performance.now()
        if (executed > 100_000) rate = 0.5 * rate + 0.5 * (executed / ((now - began) * 1e6))
        if (state.reason) return state.reason
        if (exit === Exit.SHUTDOWN) return { kind: 'triple-fault', detail: vcpus.where() }
        if (exit === Exit.FATAL) throw new Error(`the core met a record that must never run: ${vcpus.where()}`)
        if (!vcpus.canRun()) {
          this.#flush()
          if (!(await this.#idle())) return { kind: 'halted' }
          pause = performance.now()
        } else if (now - pause > SLICE_NS / 1e6) {
          this.#flush()
          await turn()
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

  /** Instructions until the next timer, as far as the rate can tell. */
  #budget(rate: number): number {
    const clock = this.#clock
    const left = clock.nextDeadline() - clock.now()
    if (clock instanceof CountedClock) {
      const every = this.#observe?.every ?? MAX_SLICE
      return Math.max(1, Math.min(MAX_SLICE, left, every - (this.#state.vcpus.count() % every)))
    }
    return Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.ceil(Math.min(left, SLICE_NS) * rate)))
  }

  /** All have halted: wait for an interrupt. False if none can come. */
  async #idle(): Promise<boolean> {
    const state = this.#state
    const clock = this.#clock
    for (;;) {
      if (state.reason || state.vcpus.canRun()) return true
      const left = clock.nextDeadline() - clock.now()
      if (state.vcpus.dead()) return false
      if (clock instanceof CountedClock) {
        if (left === Infinity) return false
        clock.skipTo(clock.nextDeadline())
      } else await state.sleep(left)
      clock.runDue()
    }
  }
}

/** As firmware would: the kernel and its tables in memory, the boot processor at the kernel's entry. */
function bootPc(core: Core, options: MachineOptions, model: CpuModel): void {
  const vcpus = options.cpus ?? 1
  const features = cpuid(model, 1, 0, { apicId: 0, vcpus, osxsave: false, apicEnabled: true })[3]
  const firmware = firmwareTables({ vcpus, serialPorts: SERIAL_PORTS.length, signature: signature(model), features })
  const boot = layoutBoot({ ...options.boot, ...firmware, memory: options.memory })
  for (const { address, bytes } of boot.pieces) core.writeRam(address, bytes)
  enter(core, 0, boot.entry)
}

/** What devices and the caller tell the run loop. */
class RunState {
  vcpus!: Vcpus
  reason: ExitReason | undefined
  wake: (() => void) | undefined

  stop(reason: ExitReason): void {
    this.reason ??= reason
    this.vcpus.interrupt()
    this.wake?.()
  }

  /** Sleep at most `ns`, less if something wakes the machine. Short waits spin: timers of the host are coarse. */
  async sleep(ns: number): Promise<void> {
    if (ns < 1e6) {
      await turn()
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

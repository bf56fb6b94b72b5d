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
import type { Core } from '../cpu/core.ts'
import { Exit } from '../cpu/layout.ts'
import { cpuid, cpuModel, signature } from '../cpu/models.ts'
import type { Observer } from '../paravirt/observe.ts'
import type { GuestControl } from '../paravirt/platform.ts'
import type { OpenSnapshot } from '../snapshot/file.ts'
import { type Assembly, assemble, SERIAL_PORTS } from './assemble.ts'
import { CountedClock, RealClock } from './clock.ts'
import type { Census } from './census.ts'
import { Debugger } from './debugger.ts'
import { enter } from './entry.ts'
import { Rate } from './rate.ts'
import { RunState } from './run-state.ts'
import { hardwareOf, loadMachine, saveMachine } from './snapshot.ts'
import type { ExitReason, Hardware, HostOptions, MachineOptions, MachineStats } from './types.ts'
import { turn } from './turn.ts'

const SLICE_NS = 4e6
/** The event loop has its turn at least so often. */
const BREATH_MS = SLICE_NS / 1e6
const MAX_SLICE = 4_000_000
/** A timer may be as late as this takes. */
const MIN_SLICE = 4000

export class Machine {
  readonly serial: readonly { send(bytes: Uint8Array): void }[]
  readonly #parts: Assembly
  readonly #state: RunState
  readonly #observe: MachineOptions['observe']
  #running = false
  /** When it had its last one. */
  #breath = 0

  private constructor(parts: Assembly, state: RunState, observe: MachineOptions['observe']) {
    this.#parts = parts
    this.#state = state
    this.#observe = observe
    this.serial = parts.consoles.map((console) => ({
      send: (bytes) => {
        console.onInput?.(bytes)
        state.wake()
      },
    }))
  }

  /** A machine with its kernel in place, ready to run. Throws BootError for what cannot be booted. */
  static async create(options: MachineOptions): Promise<Machine> {
    const state = new RunState()
    const parts = await assemble(options, state)
    if (parts.platform.build) parts.platform.build({ ...options.boot, memory: options.memory })
    else bootPc(parts.core, options)
    return new Machine(parts, state, options.observe)
  }

  /** The machine as it was when the snapshot was taken, ready to run. Throws SnapshotError. */
  static async restore(snapshot: OpenSnapshot, options: HostOptions): Promise<Machine> {
    const state = new RunState()
    const parts = await assemble({ ...hardwareOf(snapshot), ...options }, state)
    await loadMachine(parts, snapshot)
    return new Machine(parts, state, options.observe)
  }

  get core(): Core {
    return this.#parts.core
  }

  /** What the guest asks of its hypervisor. */
  get requests(): Observer {
    return this.#parts.requests
  }

  /** What it does without asking, if that is counted. */
  get census(): Census | undefined {
    return this.#parts.census
  }

  /** Asks the guest to stop, to use less memory, ...; undefined: its platform has no way to. */
  get control(): GuestControl | undefined {
    return this.#parts.platform.control
  }

  get hardware(): Hardware {
    return this.#parts.hardware
  }

  /**
   * A snapshot as bytes. The machine must not run until they have all been read: pause it, or take them before or
   * after its run.
   */
  save(notes: Readonly<Record<string, unknown>> = {}): AsyncGenerator<Uint8Array> {
    this.#flush()
    return saveMachine(this.#parts, notes)
  }

  /** For whoever debugs it; one at a time. */
  get debugger(): Debugger {
    return (this.#parts.debug.current ??= new Debugger(this.core, this.#parts.vcpus))
  }

  get paused(): boolean {
    return this.#state.paused
  }

  /** Settles when no guest code runs any more; its time stands still until `resume`. */
  async pause(): Promise<void> {
    await this.#state.pause(this.#running)
    this.#flush()
  }

  resume(): void {
    this.#state.resume()
  }

  stats(): MachineStats {
    return {
      instructions: this.#parts.vcpus.count(),
      virtualNanoseconds: this.#parts.clock.now(),
      translation: this.core.translator?.stats,
    }
  }

  /** Run until the guest stops or `signal` aborts. */
  async run(signal?: AbortSignal): Promise<ExitReason> {
    const state = this.#state
    const { vcpus, clock } = this.#parts
    const abort = () => state.stop({ kind: 'aborted' })
    signal?.addEventListener('abort', abort)
    if (signal?.aborted) abort()
    this.#running = true
    try {
      if (clock instanceof RealClock) clock.resume()
      this.#breath = performance.now()
      const rate = new Rate()
      for (;;) {
        if (state.paused) await this.#rest()
        clock.runDue()
        if (state.reason) return state.reason
        const began = performance.now()
        const before = vcpus.count()
        const exit = vcpus.slice(this.#budget(rate.value))
        const executed = vcpus.count() - before
        if (this.#observe && executed > 0 && vcpus.count() % this.#observe.every === 0)
          this.#observe.at(this.core, vcpus.count())
        const now = performance.now()
        rate.add(executed, now - began)
        if (state.reason) return state.reason
        if (exit === Exit.SHUTDOWN) return { kind: 'triple-fault', detail: vcpus.where() }
        if (exit === Exit.FATAL) throw new Error(`the core met a record that must never run: ${vcpus.where()}`)
        if (!vcpus.canRun()) {
          this.#flush()
          if (!(await this.#idle())) return { kind: 'halted' }
        } else if (now - this.#breath > BREATH_MS) await this.#breathe()
      }
    } finally {
      this.#running = false
      signal?.removeEventListener('abort', abort)
      this.#flush()
    }
  }

  /** The event loop's turn: input, timers, whoever wants to stop the machine. */
  async #breathe(): Promise<void> {
    this.#flush()
    await turn()
    this.#breath = performance.now()
  }

  async #rest(): Promise<void> {
    const { clock } = this.#parts
    if (clock instanceof RealClock) clock.pause()
    await this.#state.rest()
    if (clock instanceof RealClock) clock.resume()
  }

  #flush(): void {
    for (const output of this.#parts.outputs) output.flush()
  }

  /** Instructions until the next timer, as far as the rate can tell. */
  #budget(rate: number): number {
    const { clock, vcpus } = this.#parts
    const left = clock.nextDeadline() - clock.now()
    if (clock instanceof CountedClock) {
      const every = this.#observe?.every ?? MAX_SLICE
      return Math.max(1, Math.min(MAX_SLICE, left, every - (vcpus.count() % every)))
    }
    return Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.ceil(Math.min(left, SLICE_NS) * rate)))
  }

  /** All have halted: wait for an interrupt. False if none can come. */
  async #idle(): Promise<boolean> {
    const state = this.#state
    const { clock, vcpus } = this.#parts
    for (;;) {
      if (state.reason || state.paused || vcpus.canRun()) return true
      const left = clock.nextDeadline() - clock.now()
      if (vcpus.dead()) return false
      if (clock instanceof CountedClock) {
        if (left === Infinity) return false
        clock.skipTo(clock.nextDeadline())
        // No time passes, however long the guest waits.
        if (performance.now() - this.#breath > BREATH_MS) await this.#breathe()
      } else {
        await state.sleep(left)
        this.#breath = performance.now()
      }
      clock.runDue()
    }
  }
}

/** As firmware would: the kernel and its tables in memory, the boot processor at the kernel's entry. */
function bootPc(core: Core, options: MachineOptions): void {
  const model = cpuModel(options.cpu)
  const vcpus = options.cpus ?? 1
  const features = cpuid(model, 1, 0, { apicId: 0, vcpus, osxsave: false, apicEnabled: true })[3]
  const firmware = firmwareTables({ vcpus, serialPorts: SERIAL_PORTS.length, signature: signature(model), features })
  const boot = layoutBoot({ ...options.boot, ...firmware, memory: options.memory })
  for (const { address, bytes } of boot.pieces) core.writeRam(address, bytes)
  enter(core, 0, boot.entry)
}

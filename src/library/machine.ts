/**
 * A machine as programs use it: it runs by itself once it was made; its console, commands and files in it, its events
 * and its snapshots are methods. There is no global state: any number of machines run side by side in one thread.
 */
import { bootPlan, openLibraryDevices, readSnapshot } from '#host'
import { InputError } from '../errors.ts'
import { PanicWatcher } from '../cli/panic.ts'
import { Hooks } from '../machine/hooks.ts'
import { Machine as Inner } from '../machine/machine.ts'
import { hardwareOf, identity } from '../machine/snapshot.ts'
import type { ExitReason, Hardware, HostOptions, MachineStats, SerialPort } from '../machine/types.ts'
import type { GuestControl } from '../paravirt/platform.ts'
import type { Declaration } from '../paravirt/requests.ts'
import { openSnapshot } from '../snapshot/file.ts'
import { load, save } from '../snapshot/stateful.ts'
import { Agent } from './agent.ts'
import { Console } from './console.ts'
import { Events, type MachineEvents } from './events.ts'
import { Files } from './files.ts'
import { addHook, type HookTarget, type HookFor } from './hook.ts'
import {
  type BootOptions,
  checkBoot,
  type CheckedRun,
  checkRestore,
  type DeviceOptions,
  type RunOptions,
} from './options.ts'
import { type Bytes, execute, type ExecOptions, type ExecResult, type Process, spawn } from './process.ts'

/** The agent's lines, and its commands' standard inputs. */
const CONTROL = 1
const DATA = 2
const FAST: readonly SerialPort[] = ['com2', 'com3']

/** Where a snapshot is: a file (in browsers a URL), its bytes (which must not change while the machine lives), or a stream of them. */
export type SnapshotSource = string | Uint8Array | Blob | ReadableStream<Uint8Array>

export class Machine implements AsyncDisposable {
  /** The guest's console. */
  readonly console: Console
  /** Settles with the reason when the machine has stopped; rejects only for a fault of paravirt's own. */
  readonly exited: Promise<ExitReason>
  readonly #inner: Inner
  readonly #hooks: Hooks
  readonly #agent: Agent
  readonly #files: Files
  readonly #events: Events
  readonly #ending = new AbortController()
  /** There is a default initramfs, and with it an agent. */
  readonly #commands: boolean

  private constructor(inner: Inner, parts: Parts, { signal, paused }: CheckedRun, commands: boolean) {
    this.#inner = inner
    this.console = parts.console
    this.#hooks = parts.hooks
    this.#agent = parts.agent
    this.#events = parts.events
    this.#commands = commands
    this.#files = new Files((command, options) => this.spawn(command, options))
    this.#events.watchRequests(inner.requests)
    if (paused) void inner.pause()
    const signals = AbortSignal.any([this.#ending.signal, ...(signal ? [signal] : [])])
    this.exited = inner.run(signals).then(
      (reason) => this.#ended(reason, new Error(`the machine has stopped: ${reason.kind}`)),
      (error: unknown) => {
        this.#ended(undefined, error as Error)
        throw error
      },
    )
    // Whoever does not look at it is told by what he waits for.
    this.exited.catch(() => {})
  }

  /**
   * Boot a kernel. Settles when the machine runs (or would, if `paused`), not when user space is there: wait for what
   * the console says, or run a command. Throws InputError for options, files and names that cannot be used.
   */
  static async boot(options: BootOptions = {}): Promise<Machine> {
    const checked = checkBoot(options)
    const devices = await openLibraryDevices('Machine.boot', checked, checked.on, checked.deterministic)
    const hardware: Hardware = {
      memory: checked.memory,
      cpus: checked.cpus,
      cpu: checked.cpu,
      platform: checked.on,
      features: checked.features,
      deterministic: checked.deterministic,
      fastSerial: FAST,
    }
    return Machine.#with(devices, async () => {
      const boot = await bootPlan(checked, devices)
      return Machine.#make(checked, boot.agent, (host) =>
        Inner.create({ ...hardware, ...host, devices, boot: boot.plan }),
      )
    })
  }

  /**
   * A machine that goes on where the snapshot was taken, with the disks as they were then and as many network cards.
   * Throws SnapshotError (an InputError) for what is none, is damaged, or was taken by another version.
   */
  static async restore(source: SnapshotSource, options: RunOptions & DeviceOptions = {}): Promise<Machine> {
    const checked = checkRestore(options)
    const name = typeof source === 'string' ? source : 'the snapshot'
    const snapshot = await openSnapshot(await bytesOf(source), identity, name)
    const { agent } = snapshot.header.about as { agent?: unknown }
    const { platform, deterministic = false } = hardwareOf(snapshot)
    const devices = await openLibraryDevices('Machine.restore', checked, platform, deterministic)
    return Machine.#with(devices, () =>
      Machine.#make(checked, agent !== undefined, async (host, parts) => {
        const inner = await Inner.restore(snapshot, { ...host, devices })
        if (agent !== undefined) load(parts.agent, agent as ReturnType<typeof save>, 'agent')
        return inner
      }),
    )
  }

  /** Disks are closed when the machine has ended, or cannot be made. */
  static async #with(devices: Disposable | undefined, make: () => Promise<Machine>): Promise<Machine> {
    const close = () => devices?.[Symbol.dispose]()
    try {
      const machine = await make()
      machine.exited.then(close, close)
      return machine
    } catch (error) {
      close()
      throw error
    }
  }

  static async #make(
    options: CheckedRun,
    commands: boolean,
    create: (host: HostOptions, parts: Parts) => Promise<Inner>,
  ): Promise<Machine> {
    let inner: Inner | undefined
    const send = (port: number) => (bytes: Uint8Array) => inner?.serial[port]?.send(bytes)
    const parts: Parts = {
      console: new Console(send(0)),
      agent: new Agent({ control: send(CONTROL), data: send(DATA) }),
      hooks: new Hooks(),
      events: new Events(),
    }
    const panic = new PanicWatcher()
    const host: HostOptions = {
      translate: options.translate,
      hooks: parts.hooks,
      onReport: (lines) => parts.events.emit('report', { lines }),
      serial: {
        com1(bytes) {
          const before = panic.message
          panic.see(bytes)
          if (panic.message !== before) parts.events.emit('panic', { message: panic.message as string })
          parts.console.receive(bytes)
        },
        com2: (bytes) => parts.agent.receive(bytes),
        // Nothing comes, but consoles of Xen's are made for whom somebody listens to.
        com3: () => {},
      },
    }
    inner = await create(host, parts)
    const machine = new Machine(inner, parts, options, commands)
    if (commands) parts.agent.greet()
    return machine
  }

  #ended(reason: ExitReason | undefined, error: Error): ExitReason {
    this.console.end(error)
    this.#agent.lose(error)
    if (reason) this.#events.emit('exit', { reason })
    return reason as ExitReason
  }

  // Commands and files

  /**
   * Run a shell command in the default initramfs, beside the shell on the console; any number at the same time. Settles
   * when it has ended and its outputs are closed. Rejects if the machine stops, at `timeout` and by `signal`: then the
   * command is killed.
   */
  exec(command: string, options: ExecOptions & { readonly encoding: 'bytes' }): Promise<ExecResult<Uint8Array>>
  exec(command: string, options?: ExecOptions): Promise<ExecResult<string>>
  exec(command: string, options: ExecOptions = {}): Promise<ExecResult<string | Uint8Array>> {
    return execute(this.#withAgent(), command, options)
  }

  /** Start a command whose outputs are read as they come. */
  spawn(command: string, options: { readonly stdin?: Bytes } = {}): Process {
    return spawn(this.#withAgent(), command, options)
  }

  #withAgent(): Agent {
    if (!this.#commands)
      throw new InputError('commands and files need the default initramfs, which this machine has not')
    return this.#agent
  }

  /** A file of the guest's. Rejects with the guest's message if it cannot be read. */
  readFile(path: string): Promise<Uint8Array> {
    return this.#files.read(path)
  }

  /** The same as a stream. */
  openFile(path: string): ReadableStream<Uint8Array> {
    return this.#files.open(path)
  }

  /** Write a file of the guest's; folders that it needs are made. */
  writeFile(path: string, content: Bytes, options: { readonly mode?: number } = {}): Promise<void> {
    return this.#files.write(path, content, options)
  }

  // Events and hooks

  /** Call `listener` whenever it happens; returns how to stop. */
  on<Name extends keyof MachineEvents>(name: Name, listener: (event: MachineEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  /** The next event of this name. */
  once<Name extends keyof MachineEvents>(name: Name): Promise<MachineEvents[Name]> {
    return this.#events.once(name)
  }

  /**
   * Hear requests before the machine does and, if the hook returns something, answer them: a CPUID leaf, an MSR, a port,
   * hypercalls, or a request by the name that `paravirt explain` knows. Returns how to stop. Boot with `paused` to miss
   * none.
   */
  hook<Target extends HookTarget>(target: Target, hook: HookFor<Target>): () => void {
    return addHook(this.#hooks, this.#inner.hardware.platform, target, hook)
  }

  /** How often each declared request was made. */
  get requests(): ReadonlyMap<Declaration, number> {
    return this.#inner.requests.counts
  }

  stats(): MachineStats {
    return this.#inner.stats()
  }

  /**
   * What the platform's hypervisor can ask of its guest: to power off, reboot, halt or suspend, a SysRq key, how much
   * memory to use. Undefined: it has no way, as all but Xen.
   */
  get control(): GuestControl | undefined {
    return this.#inner.control
  }

  // Its life

  /** Settles when no guest code runs any more. The guest's time stands still. */
  pause(): Promise<void> {
    return this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  /**
   * A snapshot as a stream of bytes: a file for `restore`. The machine stands still until all of it was read or the
   * stream is cancelled, then goes on as before. Commands that run are in it, but nobody hears of them.
   */
  snapshot(): ReadableStream<Uint8Array> {
    const wasPaused = this.#inner.paused
    const goOn = () => {
      if (!wasPaused) this.resume()
    }
    let pieces: AsyncGenerator<Uint8Array> | undefined
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          if (!pieces) {
            await this.pause()
            pieces = this.#inner.save(this.#commands ? { agent: save(this.#agent) } : {})
          }
          const { done, value } = await pieces.next()
          if (!done) return controller.enqueue(value)
          controller.close()
          goOn()
        } catch (error) {
          goOn()
          throw error
        }
      },
      cancel: goOn,
    })
  }

  /** End the machine as by pulling its plug; settles when it has ended. */
  async stop(): Promise<ExitReason> {
    this.#ending.abort()
    return this.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

interface Parts {
  readonly console: Console
  readonly agent: Agent
  readonly hooks: Hooks
  readonly events: Events
}

async function bytesOf(source: SnapshotSource): Promise<AsyncIterable<Uint8Array> | Iterable<Uint8Array>> {
  if (source instanceof Uint8Array) return [source]
  if (typeof source !== 'string') return source instanceof Blob ? source.stream() : source
  return readSnapshot(source)
}

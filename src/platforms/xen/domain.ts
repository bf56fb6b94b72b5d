/**
 * The domain: what its vCPUs share, each one's own, and the ends that backends hold. Requests are carried out on it.
 *
 * Who does what: `kind` is what PVH and PV differ in; `guest` copies from and to the guest; `frames` are Xen's own
 * pages; `events` and `grants` have a side for the guest and one for backends (`events.connect`, `grants.map`), which
 * play the part of dom0.
 */
import type { Devices } from '../../paravirt/devices.ts'
import type { Deadline, Effects } from '../../paravirt/effects.ts'
import type { RingWatch } from '../../paravirt/observe.ts'
import type { PlatformOptions } from '../../paravirt/platform.ts'
import { SnapshotError } from '../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { backendPlan, type BackendPlan, grantRings, makeBackends } from './backends.ts'
import { DOMU, Shutdown } from './constants.ts'
import type { Context } from './context.ts'
import type { ConsoleBackend } from './devices/console.ts'
import type { Dom0 } from './dom0/dom0.ts'
import { EventChannels } from './events/channels.ts'
import { Pollers } from './events/pollers.ts'
import { Frames, type SharedPage } from './frames.ts'
import { GrantTable } from './grants/table.ts'
import { GuestMemory } from './guest-memory.ts'
import type { Kind, Rings } from './kind.ts'
import { Watchdogs } from './time/watchdogs.ts'
import { SystemTime } from './time/clock.ts'
import { XenVcpu } from './vcpu.ts'

/** Frames that libxl lets a domain have beyond its memory (LIBXL_MAXMEM_CONSTANT), and those of its own. */
const SLACK = 256 + 32
const NEWLINE = 10
const PAGE = 4096
/** Nothing has changed meanwhile (XEN_ELFNOTE_SUSPEND_CANCEL). */
const SUSPEND_CANCELLED = 1
const LONGEST_LINE = 256
/** The domain's UUID: the same in each run, as no two run on one Xen. */
const UUID = [0x70, 0x61, 0x72, 0x61, 0x76, 0x69, 0x42, 0x74, 0x80, 0x78, 0x65, 0x6e, 0x64, 0x6f, 0x6d, 0x55]

/** A range of guest-physical memory; `type` as in e820. */
export type E820Entry = {
  readonly address: bigint
  readonly size: bigint
  readonly type: number
}

export class Domain implements Context, Stateful {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  readonly kind: Kind
  readonly frames: Frames
  readonly guest: GuestMemory
  readonly sharedInfo: SharedPage
  readonly vcpus: readonly XenVcpu[]
  readonly events: EventChannels
  readonly pollers: Pollers
  readonly grants: GrantTable
  readonly time: SystemTime
  /** shared_info and what is in it have the 64-bit layout. */
  wideInfo = true
  /** VMASST_TYPE_* that are on. */
  readonly assists = new Set<number>()
  readonly watchdogs: Watchdogs
  /** What XENMEM_memory_map tells. */
  memoryMap: readonly E820Entry[] = []
  /** How many frames it may have. */
  readonly maxPages: number
  /** Why the next shutdown is, whatever it says (SCHEDOP_shutdown_code). */
  shutdownCode: number | undefined
  readonly uuid: Uint8Array
  /** The processor’s hypercall instruction is AMD’s. */
  readonly vmmcall: boolean
  /** Disks and network cards that it is given. */
  readonly devices: Devices
  /** Who watches requests on its rings. */
  readonly rings: RingWatch
  /** What serves it, once it is built, and with what it was made. */
  dom0: Dom0 | undefined
  #console: ConsoleBackend | undefined
  #plan: BackendPlan | undefined
  /** Backends' deadlines: those that are made anew, in the same order, take over those of before. */
  readonly #deadlines: { readonly deadline: Deadline; callback: () => void }[] = []
  #used = 0
  readonly #debugText: number[] = []

  constructor({ effects, features, model, devices, observer }: PlatformOptions, kind: (domain: Domain) => Kind) {
    this.effects = effects
    this.features = features
    this.devices = devices ?? { disks: [], networks: [] }
    this.rings = observer.rings
    this.vmmcall = model.vendor === 'AuthenticAMD'
    this.frames = new Frames(effects.memory)
    this.guest = new GuestMemory(effects, () => this.kind)
    this.sharedInfo = this.frames.sharedPage()
    this.vcpus = Array.from({ length: effects.cpu.count }, (_, id) => new XenVcpu(this, id))
    this.pollers = new Pollers(this)
    this.events = new EventChannels(this)
    this.grants = new GrantTable(this)
    this.time = new SystemTime(this)
    this.watchdogs = new Watchdogs(this)
    this.maxPages = effects.memory.pages + SLACK
    this.uuid = Uint8Array.from(UUID)
    this.kind = kind(this)
  }

  /** Before the guest runs: backends, with the rings that the builder has made. Returns the first console's. */
  serve(rings: Rings, furtherConsoles = true): ConsoleBackend | undefined {
    grantRings(this, rings)
    this.#serve(backendPlan(this, rings, furtherConsoles))
    return this.#console
  }

  #serve(plan: BackendPlan): void {
    this.#plan = plan
    this.#used = 0
    const { console, dom0 } = makeBackends(this, plan)
    this.#console = console
    this.dom0 = dom0
  }

  deadline(callback: () => void): Deadline {
    const known = this.#deadlines[this.#used++]
    if (known) {
      known.callback = callback
      known.deadline.set(Infinity)
      return known.deadline
    }
    const made = { callback, deadline: this.effects.time.deadline(() => made.callback()) }
    this.#deadlines.push(made)
    return made.deadline
  }

  /**
   * As `xl save` and `xl restore` would leave it: its memory and its vCPUs are what they were, everything that it had from
   * Xen and from dom0 is a new domain's. False: it cannot be restored.
   */
  #restore(argument: number): boolean {
    const plan = this.#plan as BackendPlan
    this.#console?.close()
    this.dom0?.close()
    this.events.restart()
    this.watchdogs.restart()
    for (const vcpu of this.vcpus) vcpu.restart()
    const ports = { store: this.events.offer(), console: this.events.offer() }
    const rings = this.kind.restore(argument, ports, plan)
    if (!rings) return false
    this.grants.restart()
    this.time.restart()
    grantRings(this, rings)
    const before = this.dom0?.control
    this.#serve({ ...plan, ...rings })
    if (before) this.dom0?.control.follow(before)
    return true
  }

  /** Backends are made first, for their timers; they come to what they hold of the guest's last. */
  transfer(state: Transfer): void {
    const plan = state.field('plan', this.#plan)
    if (state.loading && plan) {
      checkDevices(plan, this.devices)
      this.#serve(plan)
    }
    this.wideInfo = state.field('wideInfo', this.wideInfo)
    const assists = [...this.assists]
    state.list('assists', assists)
    if (state.loading) for (const assist of assists) this.assists.add(assist)
    this.memoryMap = state.field('memoryMap', this.memoryMap)
    this.shutdownCode = state.field('shutdownCode', this.shutdownCode)
    state.list('debugText', this.#debugText)
    state.part('frames', this.frames)
    state.part('sharedInfo', this.sharedInfo)
    state.part('grants', this.grants)
    state.part('kind', this.kind)
    state.parts('vcpus', this.vcpus)
    state.part('pollers', this.pollers)
    state.part('events', this.events)
    state.part('time', this.time)
    state.part('watchdogs', this.watchdogs)
    if (this.#console) state.part('console', this.#console)
    if (this.dom0) state.part('dom0', this.dom0)
  }

  /** Where the lowest of Xen's frames begins. */
  get ownMemory(): number {
    return this.frames.lowest * PAGE
  }

  /** Frames at which backends and the kind of domain look without asking. */
  *needs(): Generator<number> {
    if (this.#plan) yield* [this.#plan.console.frame, this.#plan.store.frame]
    yield* this.grants.frames()
    if (this.kind.needs) yield* this.kind.needs()
  }

  /** A vCPU by a number that the guest gave. */
  vcpu(id: number): XenVcpu | undefined {
    return this.vcpus[id]
  }

  crash(reason: string): 0 {
    this.effects.machine.crash(reason)
    return 0
  }

  /** Text for Xen's own console, which shows whole lines. */
  debugConsole(text: Uint8Array): void {
    for (const byte of text) {
      if (byte !== NEWLINE && this.#debugText.length < LONGEST_LINE) this.#debugText.push(byte)
      else {
        this.effects.machine.report([`(d${DOMU}) ${String.fromCharCode(...this.#debugText)}`])
        this.#debugText.length = 0
        if (byte !== NEWLINE) this.#debugText.push(byte)
      }
    }
  }

  /** VCPUOP_up, and not VCPUOP_down since. */
  isUp(vcpu: number): boolean {
    return this.effects.cpu.running(vcpu) || this.kind.asleep(vcpu)
  }

  /** VCPUOP_up of one that is down. */
  up(vcpu: number): void {
    this.kind.up(vcpu)
    this.vcpus[vcpu]?.runstate.online()
  }

  /** VCPUOP_down, or the end of a vCPU that a local APIC has taken away. */
  down(vcpu: number): void {
    this.vcpus[vcpu]?.runstate.offline()
    this.kind.down(vcpu)
  }

  /** A vCPU's turn begins, or ends. */
  enter(vcpu: number): void {
    this.pollers.entered(vcpu)
    this.time.enter(vcpu)
    this.vcpus[vcpu]?.runstate.enter()
    this.vcpus[vcpu]?.timers.enter()
  }

  leave(vcpu: number, halted: boolean): void {
    if (this.effects.cpu.running(vcpu)) this.vcpus[vcpu]?.runstate.leave(halted)
    if (halted) this.vcpus[vcpu]?.timers.halt()
  }

  /** shared_info follows the width of the code that sets up events (hvm_latch_shinfo_size). */
  latchWidth(wide: boolean): void {
    if (wide === this.wideInfo) return
    this.wideInfo = wide
    this.time.start()
  }

  /** The end of the domain, and why; or what SCHEDOP_shutdown answers if it goes on. `argument`: its third one. */
  shutdown(given: number, argument = 0): number {
    const { machine } = this.effects
    const reason = this.shutdownCode ?? given
    switch (reason) {
      case Shutdown.POWEROFF:
        machine.powerOff()
        return 0
      case Shutdown.REBOOT:
        machine.reset()
        return 0
      case Shutdown.CRASH:
        return this.crash('it reported its own crash')
      case Shutdown.WATCHDOG:
        return this.crash('its watchdog timer ran out')
      case Shutdown.SUSPEND:
        if (this.dom0?.control.suspended() !== 'restored') return SUSPEND_CANCELLED
        return this.#restore(argument) ? 0 : this.crash('it suspended itself without a start_info of its own')
      default:
        return this.crash(`it shut down for reason ${reason}`)
    }
  }
}

/** Whoever restores a snapshot has to give the devices again. */
function checkDevices({ disks, networks }: BackendPlan, given: Devices): void {
  const sizes = given.disks.map(({ size }) => size)
  const differ = sizes.length !== disks.length || sizes.some((size, i) => size !== disks[i])
  if (differ)
    throw new SnapshotError(`the machine had disks of [${disks.join(', ')}] bytes; it is given [${sizes.join(', ')}]`)
  if (given.networks.length !== networks)
    throw new SnapshotError(`the machine had ${networks} network cards; it is given ${given.networks.length}`)
}

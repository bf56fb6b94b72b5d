/** Dom0's part of a domain: its grants of the rings that the builder has made, consoles, store and devices. */
import type { Devices } from '../../paravirt/devices.ts'
import type { Deadline, Effects } from '../../paravirt/effects.ts'
import type { RingWatch } from '../../paravirt/observe.ts'
import type { Declaration } from '../../paravirt/requests.ts'
import { blockDeclarations } from './devices/block/requests.ts'
import { ConsoleBackend, consoleDeclaration } from './devices/console.ts'
import { netDeclarations } from './devices/net/requests.ts'
import { storeDeclarations } from './store/declarations.ts'
import { Dom0 } from './dom0/dom0.ts'
import type { EventChannels } from './events/channels.ts'
import type { GrantTable } from './grants/table.ts'
import { guestPage } from './guest-page.ts'
import type { Rings } from './kind.ts'

/** What a guest can ask of them, on their rings. */
export const ringRequests: readonly Declaration[] = [
  ...storeDeclarations,
  ...blockDeclarations,
  ...Object.values(netDeclarations),
  consoleDeclaration,
]

/** With what a domain's backends are made. */
export type BackendPlan = Rings & {
  /** Numbers of the consoles besides the first: hvc1 and so on. */
  readonly consoles: readonly number[]
  /** Bytes of each disk, and how many network cards. */
  readonly disks: readonly number[]
  readonly networks: number
}

/** What of the domain they need. */
interface Served {
  readonly effects: Effects
  readonly events: EventChannels
  readonly grants: GrantTable
  readonly uuid: Uint8Array
  readonly devices: Devices
  readonly rings: RingWatch
  /** An event at a time; see `TimeEffects`. */
  readonly deadline: (callback: () => void) => Deadline
}

const PAGE_KIB = 4
/** Refs of the rings (GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE). */
const Reserved = { CONSOLE: 0, XENSTORE: 1 } as const

/** The plan for what the user gives the domain; `further`: consoles besides the first. */
export function backendPlan({ effects, devices }: Served, rings: Rings, further: boolean): BackendPlan {
  return {
    ...rings,
    consoles: !further ? [] : effects.consoles.flatMap(({ connected }, id) => (id > 0 && connected ? [id] : [])),
    disks: devices.disks.map(({ size }) => size),
    networks: devices.networks.length,
  }
}

/** Before the guest runs: what the toolstack puts into its grant table. */
export function grantRings({ grants }: Served, rings: Rings): void {
  grants.reserve(Reserved.CONSOLE, rings.console.frame)
  grants.reserve(Reserved.XENSTORE, rings.store.frame)
}

export function makeBackends(domain: Served, plan: BackendPlan): { console: ConsoleBackend | undefined; dom0: Dom0 } {
  const { effects, events, grants, rings } = domain
  const { memory, cpu, time, machine, consoles } = effects
  const page = (frame: number, release?: () => void, offset?: number, length?: number) =>
    guestPage(memory, frame, release, offset, length)
  const [first] = consoles
  const console =
    first &&
    new ConsoleBackend({
      page: page(plan.console.frame),
      signals: events,
      port: plan.console.port,
      console: first,
      rings,
      name: 'console/0',
    })
  const dom0 = new Dom0({
    grants,
    page,
    signals: events,
    rings,
    time: { now: () => time.now(), deadline: (callback) => domain.deadline(callback) },
    wake: () => machine.wake(),
    report: (line) => machine.report([line]),
    uuid: domain.uuid,
    vcpus: cpu.count,
    memory: memory.pages * PAGE_KIB,
    store: { ...plan.store, page: page(plan.store.frame) },
    console: plan.console,
    consoles: new Map(plan.consoles.flatMap((id) => (consoles[id] ? [[id, consoles[id]]] : []))),
    devices: domain.devices,
  })
  return { console, dom0 }
}

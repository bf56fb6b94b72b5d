/** Dom0's part of a domain: its grants of the rings that the builder has made, consoles, store and devices. */
import { ConsoleBackend } from './devices/console.ts'
import { Dom0 } from './dom0/dom0.ts'
import type { Domain } from './domain.ts'
import { guestPage } from './guest-page.ts'

/** A ring's frame of memory, as the guest numbers it too, and the guest's port for it. */
export interface Ring {
  readonly frame: number
  readonly port: number
}

const PAGE_KIB = 4
/** Refs of the rings (GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE). */
const Reserved = { CONSOLE: 0, XENSTORE: 1 } as const

/** Before the guest runs. */
export function startBackends(
  domain: Domain,
  rings: { readonly console: Ring; readonly store: Ring },
  consoles = domain.effects.consoles,
): void {
  const { effects, events, grants } = domain
  const { memory, cpu, time, machine } = effects
  const page = (frame: number, release?: () => void, offset?: number, length?: number) =>
    guestPage(memory, frame, release, offset, length)
  grants.reserve(Reserved.CONSOLE, rings.console.frame)
  grants.reserve(Reserved.XENSTORE, rings.store.frame)
  const [first] = consoles
  domain.console = first && new ConsoleBackend(page(rings.console.frame), events, rings.console.port, first)
  domain.dom0 = new Dom0({
    grants,
    page,
    signals: events,
    time,
    wake: () => machine.wake(),
    report: (line) => machine.report([line]),
    uuid: domain.uuid,
    vcpus: cpu.count,
    memory: memory.pages * PAGE_KIB,
    store: { ...rings.store, page: page(rings.store.frame) },
    console: rings.console,
    consoles,
    devices: domain.devices,
  })
}

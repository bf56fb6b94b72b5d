/** Dom0's part: what serves the rings that the domain builder has made, and devices. */
import { DOMU } from './constants.ts'
import { ConsoleBackend } from './devices/console.ts'
import type { Domain } from './domain.ts'
import { guestPage } from './guest-page.ts'
import { StoreClient } from './store/client.ts'
import { writeDomain } from './store/domain.ts'
import { StoreRing } from './store/ring.ts'
import { StoreServer } from './store/server.ts'

/** A ring's frame of memory, and the guest's port for it. */
export interface Ring {
  readonly frame: number
  readonly port: number
}

export interface Backends {
  /** The domain is gone. */
  close(): void
}

const PAGE_KIB = 4

/** Console and xenstore, before the guest runs. */
export function startBackends(domain: Domain, rings: { readonly console: Ring; readonly store: Ring }): Backends {
  const { effects, events } = domain
  const { memory, cpu, time } = effects
  const [first] = effects.consoles
  const console = first && new ConsoleBackend(guestPage(memory, rings.console.frame), events, rings.console.port, first)
  const server = new StoreServer(() => time.now())
  const deadline = (callback: () => void) => time.deadline(callback)
  const page = guestPage(memory, rings.store.frame)
  const store = new StoreRing({ server, domain: DOMU, page, signals: events, port: rings.store.port, deadline })
  const size = memory.pages * PAGE_KIB
  writeDomain(new StoreClient(server), {
    domain: DOMU,
    uuid: uuidText(domain.uuid),
    name: 'paravirt',
    vcpus: cpu.count,
    maximum: size,
    target: size,
    ...rings,
  })
  return {
    close: () => {
      console?.close()
      store.close()
    },
  }
}

function uuidText(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

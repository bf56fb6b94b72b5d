/**
 * Dom0's part: the toolstack that has made the domain, the store that both use, and the backends of its devices. All
 * of it runs between the guest's turns.
 */
import type { Devices } from '../../../paravirt/devices.ts'
import type { ConsolePort, Deadline } from '../../../paravirt/effects.ts'
import type { RingWatch } from '../../../paravirt/observe.ts'
import type { SharedPage } from '../../../paravirt/sharing.ts'
import type { Signals } from '../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { DOMU } from '../constants.ts'
import { ConsoleDevice } from '../devices/console-device.ts'
import { BlockBackend } from '../devices/block/backend.ts'
import { NetBackend } from '../devices/net/backend.ts'
import { type GrantParts, grantSharing } from '../devices/sharing.ts'
import type { BackendParts } from '../devices/xenbus.ts'
import { StoreClient } from '../store/client.ts'
import { writeDomain } from '../store/domain.ts'
import { StoreRing } from '../store/ring.ts'
import { StoreServer } from '../store/server.ts'
import { DomainControl } from './control.ts'

/** A page that the builder has made for a ring, as the guest knows it, and the guest's end of its event channel. */
interface Ring {
  readonly page: SharedPage
  readonly frame: number
  readonly port: number
}

export interface Dom0Options extends GrantParts {
  readonly signals: Signals
  readonly rings: RingWatch
  readonly time: { now(): number; deadline(callback: () => void): Deadline }
  readonly wake: () => void
  readonly report: (line: string) => void
  readonly uuid: Uint8Array
  readonly vcpus: number
  /** KiB. */
  readonly memory: number
  readonly store: Ring
  readonly console: Pick<Ring, 'frame' | 'port'>
  /** Those besides the builder's, by their numbers. */
  readonly consoles: ReadonlyMap<number, ConsolePort>
  readonly devices: Devices
}

const NAME = 'paravirt'
/** Xen's own prefix of Ethernet addresses; the rest counts. */
const macOf = (index: number): string => `00:16:3e:00:00:${(index + 1).toString(16).padStart(2, '0')}`

function uuidText(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

export class Dom0 implements Stateful {
  readonly control: DomainControl
  readonly #ring: StoreRing
  readonly #server: StoreServer
  readonly #store: StoreClient
  readonly #devices: readonly (Stateful & { close(): void })[]

  constructor(options: Dom0Options) {
    const { signals, rings, time, wake, report, devices, memory, vcpus } = options
    const server = new StoreServer(() => time.now(), rings)
    const store = new StoreClient(server)
    this.#server = server
    this.#store = store
    const deadline = (callback: () => void) => time.deadline(callback)
    this.#ring = new StoreRing({
      server,
      domain: DOMU,
      page: options.store.page,
      signals,
      port: options.store.port,
      deadline,
    })
    const ends = { store: options.store, console: options.console }
    writeDomain(store, {
      domain: DOMU,
      uuid: uuidText(options.uuid),
      name: NAME,
      vcpus,
      maximum: memory,
      target: memory,
      ...ends,
    })
    this.control = new DomainControl(store, DOMU, wake)
    const parts: BackendParts = {
      store,
      domain: DOMU,
      sharing: grantSharing(options),
      signals,
      rings,
      now: () => time.now(),
      deadline,
      wake,
      report,
    }
    this.#devices = [
      ...[...options.consoles].map(([id, port]) => new ConsoleDevice(parts, id, port)),
      ...devices.disks.map((disk, index) => new BlockBackend(parts, { disk, index, queues: vcpus })),
      ...devices.networks.map(
        (port, index) => new NetBackend(parts, { port, index, mac: macOf(index), queues: vcpus }),
      ),
    ]
  }

  /** One with the same devices has been made, and has not done anything yet. */
  transfer(state: Transfer): void {
    state.part('server', this.#server)
    state.part('store', this.#store)
    state.part('ring', this.#ring)
    state.part('control', this.control)
    state.parts('devices', this.#devices)
  }

  /** The domain is gone. */
  close(): void {
    for (const device of this.#devices) device.close()
    this.#ring.close()
  }
}

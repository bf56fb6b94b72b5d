/**
 * A disk of the guest: the backend as Linux's xen-blkback is one, over `devices/block`. It says in the store what it
 * can, takes the rings that the frontend publishes, and lets go of them when it closes.
 */
import type { Disk } from '../../../../backends/disk.ts'
import { BlockDevice } from '../../../../devices/block/block.ts'
import type { SharedPage } from '../../../../paravirt/sharing.ts'
import type { Stateful, Transfer } from '../../../../snapshot/stateful.ts'
import { addDevice } from '../../store/domain.ts'
import { BackRing } from '../ring.ts'
import { Backend, type BackendParts, Errno, type Frontend, FrontendError, mapRing, XenbusState } from '../xenbus.ts'
import { BlockPages } from './grants.ts'
import { BlockQueue } from './queue.ts'
import { MAX_INDIRECT_SEGMENTS, type Protocol, requestSize } from './requests.ts'

/** log2 of the pages of a ring. */
const MAX_RING_ORDER = 4
/** VDISK_READONLY. */
const INFO_READ_ONLY = 4
const BLOCK_SIZE = 512
const DISCARD_GRANULARITY = 4096
/** xvda, xvdb, ...: major number 202, 16 minor numbers for each. */
const FIRST_VDEV = 202 << 8
const MINORS = 16
/** From the 17th disk on ids have another form: 1 << 28 | disk << 8. */
const EXTENDED = 1 << 28

/** `a` to `z`, `aa`, ... as disks are named. */
const letters = (index: number): string =>
  (index < 26 ? '' : letters(Math.floor(index / 26) - 1)) + String.fromCharCode(97 + (index % 26))

export const diskName = (index: number): string => `xvd${letters(index)}`
export const virtualDevice = (index: number): number =>
  index < MINORS ? FIRST_VDEV + MINORS * index : EXTENDED | (index << 8)

export interface BlockBackendOptions {
  readonly disk: Disk
  /** 0: xvda. */
  readonly index: number
  /** At most so many rings. */
  readonly queues: number
}

/** By what a ring was connected. */
type Connected = {
  readonly references: readonly number[]
  readonly port: number
  readonly protocol: Protocol
  readonly persistent: boolean
}

export class BlockBackend implements Stateful {
  readonly #parts: BackendParts
  readonly #device: BlockDevice
  readonly #backend: Backend
  readonly #maxQueues: number
  readonly #disk: Disk
  readonly #name: string
  readonly #laters: readonly { set(at: number): void }[]
  readonly #connected: Connected[] = []
  readonly #queues: BlockQueue[] = []

  constructor(parts: BackendParts, { disk, index, queues }: BlockBackendOptions) {
    const id = virtualDevice(index)
    const name = diskName(index)
    this.#parts = parts
    this.#maxQueues = queues
    this.#disk = disk
    this.#name = `vbd/${id}`
    this.#laters = Array.from({ length: queues }, (_, i) => parts.deadline(() => this.#queues[i]?.run()))
    this.#device = new BlockDevice(disk, (what) => parts.report(`${name}: ${what}`))
    addDevice(parts.store, {
      domain: parts.domain,
      kind: 'vbd',
      id,
      frontend: { 'backend-id': 0, state: 1, 'virtual-device': id, 'device-type': 'disk', trusted: 1 },
      backend: {
        'frontend-id': parts.domain,
        online: 1,
        removable: 0,
        bootable: 1,
        state: 1,
        dev: name,
        type: 'phy',
        mode: disk.readOnly ? 'r' : 'w',
        'device-type': 'disk',
        'discard-enable': 1,
        specification: 'xen',
      },
    })
    this.#backend = new Backend(parts, 'vbd', id, {
      connect: (frontend) => this.#connect(frontend),
      disconnect: () => this.#disconnect(),
    })
    this.#backend.start({
      'feature-max-indirect-segments': MAX_INDIRECT_SEGMENTS,
      'multi-queue-max-queues': queues,
      'max-ring-page-order': MAX_RING_ORDER,
    })
  }

  transfer(state: Transfer): void {
    state.part('backend', this.#backend)
    if (this.#disk.transfer) state.part('disk', this.#disk as Disk & Stateful)
    state.list('connected', this.#connected)
    if (state.loading)
      for (const [i, connected] of this.#connected.entries()) {
        const { sharing } = this.#parts
        this.#addQueue(
          i,
          connected,
          connected.references.map((reference) => sharing.restore(reference, true)),
        )
      }
    state.parts('queues', this.#queues)
  }

  /** The disk stays open: whoever opened it may go on with it. */
  close(): void {
    this.#backend.stop()
  }

  #connect(frontend: Frontend): void {
    const protocol = this.#protocol(frontend)
    const persistent = frontend.flag('feature-persistent')
    const count = frontend.number('multi-queue-num-queues') ?? 1
    if (count === 0 || count > this.#maxQueues)
      throw new FrontendError(
        Errno.ENOSYS,
        `guest requested ${count} queues, exceeding the maximum of ${this.#maxQueues}.`,
      )
    const order = frontend.number('ring-page-order')
    if (order !== undefined && order > MAX_RING_ORDER)
      throw new FrontendError(Errno.EINVAL, `requested ring page order ${order} exceed max:${MAX_RING_ORDER}`)
    for (let i = 0; i < count; i++)
      this.#connectQueue(i, count === 1 ? frontend : frontend.queue(i), protocol, order, persistent)
    const discard: Record<string, number> = this.#device.canDiscard
      ? { 'discard-granularity': DISCARD_GRANULARITY, 'discard-alignment': 0, 'discard-secure': 0 }
      : {}
    this.#backend.publish({
      'feature-flush-cache': 1,
      ...discard,
      'feature-discard': this.#device.canDiscard ? 1 : 0,
      'feature-barrier': 1,
      'feature-persistent': 1,
      sectors: this.#device.sectors,
      info: this.#device.readOnly ? INFO_READ_ONLY : 0,
      'sector-size': BLOCK_SIZE,
      'physical-sector-size': BLOCK_SIZE,
    })
    this.#backend.switch(XenbusState.CONNECTED)
  }

  /** A guest that does not say has this machine's own layout, the 64-bit one. */
  #protocol(frontend: Frontend): Protocol {
    const text = frontend.text('protocol')
    if (text === undefined || text === '' || text === 'x86_64-abi') return 'x86_64-abi'
    if (text === 'x86_32-abi') return text
    throw new FrontendError(Errno.ENOSYS, `unknown fe protocol ${text.slice(0, 63)}`)
  }

  #connectQueue(
    index: number,
    folder: Frontend,
    protocol: Protocol,
    order: number | undefined,
    persistent: boolean,
  ): void {
    const { sharing, signals } = this.#parts
    const port = folder.required('event-channel')
    const references =
      order === undefined
        ? [folder.required('ring-ref')]
        : Array.from({ length: 1 << order }, (_, i) => folder.required(`ring-ref${i}`))
    const connected = { references, port, protocol, persistent }
    const { queue, ring, schedule } = this.#addQueue(index, connected, mapRing(sharing, references, port))
    this.#connected.push(connected)
    const signal = ring.overflown ? undefined : signals.connect(port, schedule)
    if (!signal) throw new FrontendError(Errno.EIO, `mapping ring-ref port ${port}`)
    queue.attach(signal)
    schedule()
  }

  #addQueue(index: number, { protocol, persistent }: Connected, pages: readonly SharedPage[]) {
    const { sharing, signals, now, wake, rings } = this.#parts
    const ring = new BackRing(pages, requestSize(protocol))
    const schedule = () => this.#laters[index]?.set(now())
    const queue = new BlockQueue({
      device: this.#device,
      ring,
      pages: new BlockPages(sharing, persistent),
      protocol,
      canDiscard: this.#device.canDiscard,
      rings,
      name: this.#name,
      signals,
      schedule,
      wake,
    })
    this.#queues.push(queue)
    return { queue, ring, schedule }
  }

  #disconnect(): void {
    this.#connected.length = 0
    for (const queue of this.#queues.splice(0)) queue.close()
  }
}

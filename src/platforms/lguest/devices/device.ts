/**
 * A device of the Launcher's: its descriptor on the device page (struct lguest_device_desc, then queues, features,
 * configuration), its queues, and what the guest says of its state.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Lguest } from '../lguest.ts'
import type { Virtqueue } from './virtqueue.ts'

/** VIRTIO_ID_*. */
export const VirtioId = { NET: 1, BLOCK: 2, CONSOLE: 3, RNG: 4 } as const
const Status = { DRIVER_OK: 4, FAILED: 0x80 } as const
const NOTIFY_ON_EMPTY = 24
const DESC_BYTES = 5
const VQCONFIG_BYTES = 8

/** What a device is, apart from the way to it. */
export interface Kind {
  readonly type: number
  readonly queues: number
  /** Bits of the features that it offers. */
  readonly features: readonly number[]
  readonly config: Uint8Array
  /** The guest has something for its `index`th queue; all of it is done at once. Throws LauncherError. */
  service(queue: Virtqueue, index: number): void
  start?(device: Device): void
  stop?(): void
  /** State of its own; its queues’ is not. */
  transfer?(state: Transfer): void
}

export class Device implements Stateful {
  readonly kind: Kind
  readonly queues: readonly Virtqueue[]
  /** Guest-physical address of its descriptor. */
  readonly address: number
  readonly #lg: Lguest
  running = false

  constructor(lg: Lguest, kind: Kind, address: number, queues: readonly Virtqueue[]) {
    this.#lg = lg
    this.kind = kind
    this.address = address
    this.queues = queues
  }

  transfer(state: Transfer): void {
    this.running = state.field('running', this.running)
    state.parts('queues', this.queues)
    this.kind.transfer?.(state)
    if (state.loading && this.running) this.kind.start?.(this)
  }

  /** Bytes of its descriptor. */
  static length({ queues, features, config }: Kind): number {
    return DESC_BYTES + VQCONFIG_BYTES * queues + 2 * featureBytes(features) + config.length
  }

  /** Writes the descriptor. */
  describe(): void {
    const { type, features, config } = this.kind
    const bytes = new Uint8Array(Device.length(this.kind))
    const view = new DataView(bytes.buffer)
    bytes.set([type, this.queues.length, featureBytes(features), config.length])
    for (const [i, { address, irq }] of this.queues.entries()) {
      view.setUint16(DESC_BYTES + VQCONFIG_BYTES * i, 256, true)
      view.setUint16(DESC_BYTES + VQCONFIG_BYTES * i + 2, irq, true)
      view.setUint32(DESC_BYTES + VQCONFIG_BYTES * i + 4, address / 4096, true)
    }
    for (const bit of features) bytes[this.#features + (bit >> 3)]! |= 1 << (bit & 7)
    bytes.set(config, bytes.length - config.length)
    this.#lg.effects.memory.place(this.address, bytes)
  }

  get #features(): number {
    return DESC_BYTES + VQCONFIG_BYTES * this.queues.length
  }

  /** accepted_feature. */
  accepted(bit: number): boolean {
    const length = featureBytes(this.kind.features)
    if (bit >> 3 >= length) return false
    const at = this.address + this.#features + length + (bit >> 3)
    return (this.#lg.effects.memory.view.getUint8(at) & (1 << (bit & 7))) !== 0
  }

  /** update_device_status. */
  statusChanged(): void {
    const status = this.#lg.effects.memory.view.getUint8(this.address + 4)
    if (status === 0) this.#reset()
    else if (status & Status.FAILED) {
      if (this.running) this.#reset()
    } else if (status & Status.DRIVER_OK && !this.running) this.start()
  }

  /** start_device; what waits on its queues is served. */
  start(): void {
    this.running = true
    for (const queue of this.queues) queue.notifyOnEmpty = this.accepted(NOTIFY_ON_EMPTY)
    this.kind.start?.(this)
    for (const [index, queue] of this.queues.entries()) this.kind.service(queue, index)
  }

  #reset(): void {
    const length = featureBytes(this.kind.features)
    this.#lg.effects.memory.place(this.address + this.#features + length, new Uint8Array(length))
    for (const queue of this.queues) queue.reset()
    this.running = false
    this.kind.stop?.()
  }
}

const featureBytes = (features: readonly number[]): number =>
  features.length === 0 ? 0 : (Math.max(...features) >> 3) + 1

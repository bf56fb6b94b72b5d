/**
 * The Launcher's devices, in the pages above RAM, and what LHCALL_NOTIFY tells it: a device's descriptor (its status
 * has changed), a queue, or text for the console before there is a driver for one.
 */
import type { PlatformOptions } from '../../../paravirt/platform.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { DEVICE_PAGES, PAGE } from '../frames.ts'
import type { Launcher } from '../host.ts'
import type { Lguest } from '../lguest.ts'
import { blockKind } from './block.ts'
import { consoleKind } from './console.ts'
import { Device, type Kind } from './device.ts'
import { netKind } from './net.ts'
import type { Told } from './requests.ts'
import { rngKind } from './rng.ts'
import { LauncherError, QUEUE_PAGES, Virtqueue } from './virtqueue.ts'

/** The clock has interrupt 0. */
const FIRST_IRQ = 1
const MAX_IRQ = 31
/** Locally administered, as QEMU's. */
const MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]

export class Devices implements Launcher, Stateful {
  readonly #lg: Lguest
  readonly #options: PlatformOptions
  readonly #devices: readonly Device[]

  constructor(lg: Lguest, options: PlatformOptions) {
    this.#lg = lg
    this.#options = options
    this.#devices = this.#place(this.#kinds())
  }

  transfer(state: Transfer): void {
    state.parts('devices', this.#devices)
  }

  /** In the order of the Launcher's options, but for the consoles: the user's is the first, so that it is hvc0. */
  #kinds(): Kind[] {
    const { effects, features, devices, observer } = this.#options
    const told = (name: string): Told => ({ rings: observer.rings, name })
    const { disks = [], networks = [] } = devices ?? {}
    const [first, ...others] = effects.consoles
    const guarded = (action: () => void) => {
      const deadline = effects.time.deadline(() => this.#guard(action))
      return () => deadline.set(effects.time.now())
    }
    return [
      ...networks.map((port, i) =>
        netKind(port, Uint8Array.from([...MAC.slice(0, 5), MAC[5]! + i]), guarded, told(`net/${i}`)),
      ),
      ...disks.map((disk, i) =>
        blockKind(
          disk,
          (what) => effects.machine.report([`vd${String.fromCharCode(97 + i)}: ${what}`]),
          told(`block/${i}`),
        ),
      ),
      ...(features.has('rng') ? [rngKind(() => effects.machine.random(), told('rng/0'))] : []),
      ...(first ? [consoleKind(first, guarded, told('console/0'))] : []),
      ...others
        .filter(({ connected }) => connected)
        .map((port, i) => consoleKind(port, guarded, told(`console/${i + 1}`))),
    ]
  }

  #place(kinds: readonly Kind[]): Device[] {
    const lg = this.#lg
    const { devices: page } = lg.map
    let descriptor = page * PAGE
    let next = page + 1
    let irq = FIRST_IRQ
    const placed = kinds.map((kind) => {
      if (descriptor + Device.length(kind) > (page + 1) * PAGE) throw new RangeError('lguest: Too many devices')
      const queues = Array.from({ length: kind.queues }, () => {
        const queue = new Virtqueue(lg, next * PAGE, irq++)
        next += QUEUE_PAGES
        return queue
      })
      const device = new Device(lg, kind, descriptor, queues)
      device.describe()
      descriptor += Device.length(kind)
      return device
    })
    if (irq > MAX_IRQ + 1 || next > page + DEVICE_PAGES) throw new RangeError('lguest: Not enough memory for devices')
    lg.pfnLimit = next
    return placed
  }

  /** handle_output. */
  notify(address: number): void {
    this.#guard(() => this.#notify(address))
  }

  #notify(address: number): void {
    for (const device of this.#devices) {
      if (address === device.address) return device.statusChanged()
      const index = device.queues.findIndex((one) => one.address === address)
      const queue = device.queues[index]
      if (!queue) continue
      if (device.running) device.kind.service(queue, index)
      else device.start()
      return
    }
    const limit = this.#lg.pfnLimit * PAGE
    if (address >= limit) throw new LauncherError(`Bad NOTIFY 0x${address.toString(16)}`)
    const rest = this.#lg.effects.memory.bytes(address, limit - address)
    const end = rest.indexOf(0)
    this.#lg.effects.consoles[0]?.output(rest.slice(0, end < 0 ? rest.length : end))
  }

  /** What the Launcher does not forgive is the guest's end. */
  #guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      if (!(error instanceof LauncherError)) throw error
      this.#lg.kill(error.message)
      this.#lg.kick()
    }
  }
}

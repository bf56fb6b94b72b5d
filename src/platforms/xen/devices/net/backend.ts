/** A network card of the guest: the backend as Linux's xen-netback is one, over `devices/net`. */
import type { NetworkPort } from '../../../../backends/network/port.ts'
import { NetDevice } from '../../../../devices/net/net.ts'
import type { SharedPage } from '../../../../paravirt/sharing.ts'
import type { Signal } from '../../../../paravirt/signals.ts'
import type { Stateful, Transfer } from '../../../../snapshot/stateful.ts'
import { addDevice } from '../../store/domain.ts'
import { BackRing } from '../ring.ts'
import { Backend, type BackendParts, Errno, type Frontend, FrontendError, mapRing, XenbusState } from '../xenbus.ts'
import { Receiver } from './receive.ts'
import { RX_ENTRY, TX_ENTRY } from './requests.ts'
import { Transmitter } from './transmit.ts'

const MTU = 1500

export interface NetBackendOptions {
  readonly port: NetworkPort
  /** 0: the first card. */
  readonly index: number
  /** As `00:16:3e:00:00:01`. */
  readonly mac: string
  /** At most so many queues. */
  readonly queues: number
}

/** By what a queue was connected: references of its rings, one port or two. */
type Connected = { readonly references: readonly number[]; readonly ports: readonly number[] }

interface Queue {
  readonly rings: readonly BackRing[]
  readonly signals: Signal[]
  readonly transmitter: Transmitter
  readonly receiver: Receiver
  readonly close: () => void
}

export class NetBackend implements Stateful {
  readonly #parts: BackendParts
  readonly #device: NetDevice
  readonly #backend: Backend
  readonly #maxQueues: number
  readonly #name: string
  readonly #receive: { set(at: number): void }
  readonly #port: NetworkPort
  readonly #laters: readonly { set(at: number): void }[]
  readonly #connected: Connected[] = []
  readonly #queues: Queue[] = []

  constructor(parts: BackendParts, { port, index, mac, queues }: NetBackendOptions) {
    this.#parts = parts
    this.#maxQueues = queues
    this.#name = `vif/${index}`
    this.#port = port
    this.#laters = Array.from({ length: queues }, (_, i) => parts.deadline(() => this.#run(i)))
    this.#device = new NetDevice(port)
    this.#receive = parts.deadline(() => this.#deliver())
    addDevice(parts.store, {
      domain: parts.domain,
      kind: 'vif',
      id: index,
      frontend: { 'backend-id': 0, state: 1, handle: index, mac, trusted: 1 },
      fixed: { mtu: MTU },
      backend: {
        'frontend-id': parts.domain,
        online: 1,
        state: 1,
        script: '/etc/xen/scripts/vif-bridge',
        mac,
        bridge: 'xenbr0',
        handle: index,
        type: 'vif',
        'hotplug-status': 'connected',
      },
    })
    this.#backend = new Backend(parts, 'vif', index, {
      connect: (frontend) => this.#connect(frontend),
      disconnect: () => this.#disconnect(),
    })
    this.#backend.start({
      'feature-sg': 1,
      'feature-gso-tcpv4': 1,
      'feature-gso-tcpv6': 1,
      'feature-ipv6-csum-offload': 1,
      'feature-rx-copy': 1,
      'feature-rx-flip': 0,
      'feature-multicast-control': 1,
      'feature-split-event-channels': 1,
      'multi-queue-max-queues': queues,
    })
  }

  transfer(state: Transfer): void {
    const { sharing, signals } = this.#parts
    state.part('backend', this.#backend)
    if (this.#port.state) state.part('network', this.#port.state)
    state.list('connected', this.#connected)
    if (state.loading) {
      for (const [i, { references }] of this.#connected.entries())
        this.#addQueue(
          i,
          references.map((reference) => sharing.restore(reference, true)),
        )
      if (this.#queues.length > 0) this.#start()
    }
    state.parts(
      'rings',
      this.#queues.flatMap(({ rings }) => rings),
    )
    const own = this.#queues.map((queue) => queue.signals.map((signal) => signal.own))
    state.list('signals', own)
    if (state.loading)
      for (const [i, queue] of this.#queues.entries())
        queue.signals.push(...(own[i] ?? []).map((each) => signals.restore(each, () => this.#schedule(i))))
    state.part('device', this.#device)
  }

  close(): void {
    this.#backend.stop()
  }

  #connect(frontend: Frontend): void {
    const count = frontend.number('multi-queue-num-queues') ?? 1
    if (count === 0 || count > this.#maxQueues)
      throw new FrontendError(
        Errno.EINVAL,
        `guest requested ${count} queues, but valid range is 1 - ${this.#maxQueues}.`,
      )
    if (!frontend.flag('request-rx-copy'))
      throw new FrontendError(Errno.EOPNOTSUPP, `reading ${frontend.path}/request-rx-copy`)
    for (let i = 0; i < count; i++) this.#connectQueue(i, count === 1 ? frontend : frontend.queue(i))
    this.#device.filtersGroups = frontend.flag('request-multicast-control')
    this.#start()
    this.#backend.switch(XenbusState.CONNECTED)
  }

  #start(): void {
    this.#device.start(() => {
      this.#receive.set(this.#parts.now())
      this.#parts.wake()
    })
  }

  #connectQueue(index: number, folder: Frontend): void {
    const { sharing, signals } = this.#parts
    const references = [folder.required('tx-ring-ref'), folder.required('rx-ring-ref')]
    const split = [folder.number('event-channel-tx'), folder.number('event-channel-rx')]
    const ports = split.includes(undefined) ? [folder.required('event-channel')] : (split as number[])
    const queue = this.#addQueue(index, mapRing(sharing, references, ports[0] as number))
    this.#connected.push({ references, ports })
    for (const port of ports) {
      const signal = signals.connect(port, () => this.#schedule(index))
      if (!signal)
        throw new FrontendError(
          Errno.EINVAL,
          `mapping shared-frames ${references.join('/')} port tx ${ports[0]} rx ${ports.at(-1)}`,
        )
      queue.signals.push(signal)
    }
    this.#schedule(index)
  }

  #addQueue(index: number, pages: readonly SharedPage[]): Queue {
    const { sharing, rings } = this.#parts
    const tx = new BackRing(pages.slice(0, 1), TX_ENTRY)
    const rx = new BackRing(pages.slice(1), RX_ENTRY)
    const signals: Signal[] = []
    const close = () => {
      this.#laters[index]?.set(Infinity)
      for (const signal of signals) signal.close()
      for (const page of pages) page.release()
    }
    const common = { device: this.#device, sharing, rings, name: this.#name }
    const transmitter = new Transmitter({
      ...common,
      ring: tx,
      notify: () => signals[0]?.raise(),
      schedule: () => this.#schedule(index),
      fatal: (why) => this.#fatal(why),
    })
    const receiver = new Receiver({ ...common, ring: rx, notify: () => signals.at(-1)?.raise() })
    const queue = { rings: [tx, rx], signals, transmitter, receiver, close }
    this.#queues.push(queue)
    return queue
  }

  #schedule(index: number): void {
    this.#laters[index]?.set(this.#parts.now())
  }

  #run(index: number): void {
    const queue = this.#queues[index]
    queue?.transmitter.run()
    // That may have found out that the guest is broken.
    if (queue === this.#queues[index]) queue?.receiver.run()
  }

  /** Frames that arrive go to the first queue, as netback's default hash of one flow would. */
  #deliver(): void {
    this.#queues[0]?.receiver.run()
  }

  #fatal(why: string): void {
    this.#parts.report(`vif${this.#parts.domain}: ${why}; the device is disabled`)
    this.#disconnect()
  }

  #disconnect(): void {
    this.#receive.set(Infinity)
    this.#device.stop()
    this.#connected.length = 0
    for (const queue of this.#queues.splice(0)) queue.close()
  }
}

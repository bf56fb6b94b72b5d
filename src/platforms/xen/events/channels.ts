/**
 * Event channels (xen/event_channel.h): ports and what they are bound to. How a pending port is shown to the guest is
 * the business of an `EventAbi`: 2-level bitmaps at first, FIFO queues once the guest sets them up.
 *
 * Dom0's ends belong to backends, which hold them as `BackendPort`; they have port numbers of dom0's for the guest to
 * see in EVTCHNOP_status.
 */
import { SnapshotError } from '../../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import { type BackendPort, type Channel, type EventAbi, Status } from './channel.ts'
import { FifoEvents } from './fifo.ts'
import { TwoLevelEvents } from './two-level.ts'
import { isGlobalVirq, VIRQS } from './virq.ts'

/** Ports come into being by the page of struct evtchn. */
const BUCKET = 64
/** libxl's limit unless the configuration says otherwise: ports 0 to 1023. */
const MAX_PORT = 1023
/** Ports that EVTCHNOP_reset closes before it lets others have their turn. */
const RESET_SLICE = 64

export class EventChannels implements Stateful {
  readonly #domain: Context
  readonly #channels: Channel[] = []
  readonly #backends = new Map<number, End>()
  /** Port of each virq by vCPU, 0: none. */
  readonly #virqs: number[][]
  #abi: EventAbi
  #fifo: FifoEvents | undefined
  #nextBackend = 16
  #active = 0
  /** Where a reset goes on; 0: there is none. */
  #resetting = 0

  constructor(domain: Context) {
    this.#domain = domain
    this.#virqs = domain.vcpus.map(() => Array.from({ length: VIRQS }, () => 0))
    this.#abi = new TwoLevelEvents(domain)
    this.#begin()
  }

  #begin(): void {
    this.#grow(0)
    ;(this.#channels[0] as Channel).reserved = true
  }

  transfer(state: Transfer): void {
    const ends = [...this.#backends.values()].map(({ port, own, closed }) => ({ port, own, closed }))
    state.list('ends', ends)
    if (state.loading) {
      this.#backends.clear()
      for (const { port, own, closed } of ends) {
        const end = new End(port, own, () => {}, this)
        end.closed = closed
        this.#backends.set(own, end)
      }
    }
    const channels = this.#channels.map((channel) => ({ ...channel, backend: channel.backend?.own }))
    state.list('channels', channels)
    if (state.loading) {
      const all = channels.map((channel) => ({ ...channel, backend: this.#backends.get(channel.backend ?? -1) }))
      this.#channels.splice(0, Infinity, ...all)
    }
    state.list('virqs', this.#virqs)
    const queued = state.field('queued', this.#fifo !== undefined)
    if (state.loading && queued) this.#abi = this.#fifo = new FifoEvents(this.#domain, this)
    if (this.#fifo) state.part('fifo', this.#fifo)
    this.#nextBackend = state.field('nextBackend', this.#nextBackend)
    this.#active = state.field('active', this.#active)
    this.#resetting = state.field('resetting', this.#resetting)
  }

  /** As a new domain's: no ports, the 2-level ABI. Backends have let go of theirs, or will find them closed. */
  restart(): void {
    for (const { port } of this.#channels) this.close(port)
    this.#fifo?.destroy()
    this.#fifo = undefined
    this.#abi = new TwoLevelEvents(this.#domain)
    this.#channels.length = 0
    this.#active = 0
    this.#resetting = 0
    this.#begin()
  }

  // For backends and the toolstack

  /** While a snapshot is loaded: dom0's end with this number. */
  restore(own: number, onNotify: () => void): BackendPort {
    const end = this.#backends.get(own)
    if (!end) throw new SnapshotError(`dom0 has no port ${own}`)
    end.onNotify = onNotify
    return end
  }

  /** A port of the guest's for dom0 to bind to, as the toolstack makes them for console and xenstore. */
  offer(): number {
    return this.allocUnbound(DOMID.SELF, DOM0)
  }

  /**
   * EVTCHNOP_bind_interdomain from dom0 to a port of the guest's; undefined if that is not there for dom0. `onNotify`
   * is called whenever the guest notifies; look once yourself, as notifications before this one are lost.
   */
  connect(port: number, onNotify: () => void): BackendPort | undefined {
    const channel = this.#at(port)
    if (channel?.status !== Status.UNBOUND || channel.remoteDomain !== DOM0) return undefined
    const own = this.#nextBackend++
    const end = new End(port, own, onNotify, this)
    this.#backends.set(own, end)
    channel.status = Status.INTERDOMAIN
    channel.remotePort = own
    channel.backend = end
    return end
  }

  /** From a backend. */
  notifyFrom(end: BackendPort): void {
    const channel = this.#at(end.port)
    if (channel?.backend === end) this.#abi.raise(channel)
  }

  closeFrom(end: BackendPort): void {
    this.#backends.delete(end.own)
    const channel = this.#at(end.port)
    if (channel?.backend !== end) return
    channel.status = Status.UNBOUND
    channel.remoteDomain = DOM0
    channel.backend = undefined
  }

  // For Xen itself

  /** A virtual interrupt; dropped if the guest has not bound it. */
  virq(vcpu: number, virq: number): void {
    const port = this.#virqs[isGlobalVirq(virq) ? 0 : vcpu]?.[virq] ?? 0
    if (port !== 0) this.#abi.raise(this.#channels[port] as Channel)
  }

  isPending(port: number): boolean {
    const channel = this.#at(port)
    return channel !== undefined && isUsable(channel) && this.#abi.isPending(channel)
  }

  /** A port that could exist. */
  exists(port: number): boolean {
    return this.#at(port) !== undefined
  }

  channel(port: number): Channel | undefined {
    return this.#at(port)
  }

  get fifo(): FifoEvents | undefined {
    return this.#fifo
  }

  // Commands of event_channel_op: a port, 0, or a negative error.

  allocUnbound(dom: number, remote: number): number {
    if (dom !== DOMID.SELF && dom !== DOMU) return dom === DOM0 ? Errno.EPERM : Errno.ESRCH
    const port = this.#allocate()
    if (port < 0) return port
    const channel = this.#bind(port, Status.UNBOUND)
    channel.remoteDomain = remote === DOMID.SELF ? DOMU : remote
    return port
  }

  bindInterdomain(remote: number, remotePort: number): number {
    const self = remote === DOMID.SELF || remote === DOMU
    if (!self && remote !== DOM0) return Errno.ESRCH
    const port = this.#allocate()
    if (port < 0) return port
    // Dom0's ports are all bound already.
    const other = self ? this.#at(remotePort) : undefined
    if (other?.status !== Status.UNBOUND || other.remoteDomain !== DOMU || other.port === port) {
      this.#active--
      return Errno.EINVAL
    }
    const channel = this.#bind(port, Status.INTERDOMAIN)
    channel.remoteDomain = DOMU
    channel.remotePort = remotePort
    other.status = Status.INTERDOMAIN
    other.remotePort = port
    // Notifications of the unbound port may have been lost.
    this.#abi.raise(channel)
    return port
  }

  bindVirq(virq: number, vcpu: number): number {
    if (virq >= VIRQS || (isGlobalVirq(virq) && vcpu !== 0)) return Errno.EINVAL
    const ports = this.#virqs[vcpu]
    if (!ports) return Errno.ENOENT
    if (ports[virq] !== 0) return Errno.EEXIST
    const port = this.#allocate()
    if (port < 0) return port
    ports[virq] = port
    this.#bind(port, Status.VIRQ, vcpu).virq = virq
    return port
  }

  bindIpi(vcpu: number): number {
    if (!this.#domain.vcpus[vcpu]) return Errno.ENOENT
    const port = this.#allocate()
    if (port >= 0) this.#bind(port, Status.IPI, vcpu)
    return port
  }

  close(port: number): number {
    const channel = this.#at(port)
    if (!channel || channel.reserved) return Errno.EINVAL
    switch (channel.status) {
      case Status.CLOSED:
        return Errno.EINVAL
      case Status.VIRQ: {
        const ports = this.#virqs[isGlobalVirq(channel.virq) ? 0 : channel.vcpu] as number[]
        ports[channel.virq] = 0
        break
      }
      case Status.INTERDOMAIN: {
        const other = channel.backend ? undefined : this.#at(channel.remotePort)
        if (channel.backend) (channel.backend as End).closed = true
        // The other end waits again for whoever this was.
        if (other) {
          other.status = Status.UNBOUND
          other.remoteDomain = DOMU
        }
      }
    }
    this.#abi.clear(channel)
    this.#active--
    channel.status = Status.CLOSED
    channel.vcpu = 0
    channel.backend = undefined
    return 0
  }

  send(port: number): number {
    const channel = this.#at(port)
    switch (channel?.status) {
      case Status.INTERDOMAIN:
        if (channel.backend) (channel.backend as End).onNotify()
        else this.#abi.raise(this.#channels[channel.remotePort] as Channel)
        return 0
      case Status.IPI:
        this.#abi.raise(channel)
        return 0
      case Status.UNBOUND:
        return 0
      default:
        return Errno.EINVAL
    }
  }

  /** EVTCHNOP_bind_vcpu */
  bindVcpu(port: number, vcpu: number): number {
    if (!this.#domain.vcpus[vcpu]) return Errno.ENOENT
    const channel = this.#at(port)
    switch (channel?.status) {
      case Status.VIRQ:
        if (!isGlobalVirq(channel.virq)) return Errno.EINVAL
        break
      case Status.UNBOUND:
      case Status.INTERDOMAIN:
        break
      default:
        return Errno.EINVAL
    }
    channel.vcpu = vcpu
    return 0
  }

  unmask(port: number): number {
    const channel = this.#at(port)
    if (!channel) return Errno.EINVAL
    if (isUsable(channel)) this.#abi.unmask(channel)
    return 0
  }

  setPriority(port: number, priority: number): number {
    const channel = this.#at(port)
    if (!channel) return Errno.EINVAL
    if (!this.#fifo) return Errno.ENOSYS
    if (!isUsable(channel)) return Errno.EACCES
    if (priority > FifoEvents.LOWEST) return Errno.EINVAL
    channel.priority = priority
    return 0
  }

  /** EVTCHNOP_reset, or (`resuming`) its continuation. 'continue': there is more to close. */
  reset(resuming: boolean): number | 'continue' {
    if (!resuming && this.#resetting !== 0) return Errno.EBUSY
    if (!resuming) this.#resetting = 1
    if (this.#resetting === 0) return Errno.EBUSY
    const end = Math.min(this.#channels.length, this.#resetting + RESET_SLICE)
    for (let port = this.#resetting; port < end; port++) this.close(port)
    if (end < this.#channels.length && this.#active > 0) {
      this.#resetting = end
      return 'continue'
    }
    this.#resetting = 0
    if (this.#fifo) {
      this.#fifo.destroy()
      this.#fifo = undefined
      this.#abi = new TwoLevelEvents(this.#domain)
    }
    return 0
  }

  initControl(vcpu: number, gfn: number, offset: number): number {
    if (!this.#domain.vcpus[vcpu]) return Errno.ENOENT
    if (offset > FifoEvents.LAST_OFFSET || offset % 8 !== 0) return Errno.EINVAL
    if (this.#fifo) return this.#fifo.mapControl(vcpu, gfn, offset)
    const fifo = new FifoEvents(this.#domain, this)
    const answer = fifo.mapControl(vcpu, gfn, offset)
    if (answer < 0) return answer
    const ports = Math.min(this.#abi.maxPorts, this.#channels.length)
    for (const channel of this.#channels.slice(1, ports)) {
      if (this.#abi.isPending(channel)) channel.pending = true
      channel.priority = FifoEvents.DEFAULT
    }
    this.#fifo = fifo
    this.#abi = fifo
    return 0
  }

  expandArray(gfn: number): number {
    return this.#fifo ? this.#fifo.expand(gfn) : Errno.EOPNOTSUPP
  }

  #at(port: number): Channel | undefined {
    return this.#channels[port]
  }

  /** The lowest port that is free, counted as in use. */
  #allocate(): number {
    const limit = Math.min(MAX_PORT + 1, this.#abi.maxPorts)
    for (let port = 0; port < limit; port++) {
      if (port === this.#channels.length) this.#grow(port)
      const channel = this.#channels[port] as Channel
      if (channel.status === Status.CLOSED && !channel.reserved && !this.#abi.isBusy(channel)) {
        this.#active++
        return port
      }
    }
    return Errno.ENOSPC
  }

  #bind(port: number, status: number, vcpu = 0): Channel {
    const channel = this.#channels[port] as Channel
    channel.status = status
    channel.vcpu = vcpu
    this.#abi.bound(channel)
    return channel
  }

  #grow(first: number): void {
    for (let port = first; port < first + BUCKET; port++)
      this.#channels.push({
        port,
        status: Status.CLOSED,
        reserved: false,
        vcpu: 0,
        virq: 0,
        remoteDomain: 0,
        remotePort: 0,
        backend: undefined,
        priority: 0,
        pending: false,
        lastVcpu: 0,
        lastPriority: 0,
      })
  }
}

/** It is bound: ports that are not are never pending, and nothing happens to them. */
const isUsable = ({ status }: Channel): boolean => status !== Status.CLOSED

class End implements BackendPort {
  readonly port: number
  readonly own: number
  onNotify: () => void
  closed = false
  readonly #events: EventChannels

  constructor(port: number, own: number, onNotify: () => void, events: EventChannels) {
    this.port = port
    this.own = own
    this.onNotify = onNotify
    this.#events = events
  }

  raise(): void {
    if (!this.closed) this.#events.notifyFrom(this)
  }

  close(): void {
    this.closed = true
    this.#events.closeFrom(this)
  }
}

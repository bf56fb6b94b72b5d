/** A port of the guest's, and how event ABIs and backends see it. */

/** EVTCHNSTAT_* */
export const Status = { CLOSED: 0, UNBOUND: 1, INTERDOMAIN: 2, PIRQ: 3, VIRQ: 4, IPI: 5 } as const

/** A port of the guest's. */
export type Channel = {
  readonly port: number
  status: number
  /** Port 0: neither free nor of any use. */
  reserved: boolean
  /** Whom it notifies. */
  vcpu: number
  virq: number
  remoteDomain: number
  remotePort: number
  /** Dom0's end, if a backend holds it. */
  backend: BackendPort | undefined
  /** FIFO: priority; pending while there was no event word; the queue that it was linked to last. */
  priority: number
  pending: boolean
  lastVcpu: number
  lastPriority: number
}

/** How pending ports are shown to the guest. */
export interface EventAbi {
  readonly maxPorts: number
  /** The channel's event has come. */
  raise(channel: Channel): void
  clear(channel: Channel): void
  unmask(channel: Channel): void
  isPending(channel: Channel): boolean
  isMasked(channel: Channel): boolean
  /** A port that is still in a queue must not be given out again. */
  isBusy(channel: Channel): boolean
  /** A channel has been bound. */
  bound(channel: Channel): void
}

/** A backend's end of a channel. */
export interface BackendPort {
  /** The guest's port. */
  readonly port: number
  /** Dom0's. */
  readonly own: number
  /** The guest has closed its port: nobody hears `raise`. */
  readonly closed: boolean
  raise(): void
  close(): void
}

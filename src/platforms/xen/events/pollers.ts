/** vCPUs that wait for one of some ports, masked or not: SCHEDOP_poll. */
import type { Deadline } from '../../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Context } from '../context.ts'

/** What a vCPU polls for: a port, or any. */
const ANY = -1
const NONE = 0

export class Pollers implements Stateful {
  readonly #domain: Context
  readonly #ports: number[]
  readonly #timeouts: readonly Deadline[]
  #polling = 0

  constructor(domain: Context) {
    this.#domain = domain
    this.#ports = domain.vcpus.map(() => NONE)
    this.#timeouts = domain.vcpus.map(({ id }) => domain.effects.time.deadline(() => this.end(id)))
  }

  transfer(state: Transfer): void {
    state.list('ports', this.#ports)
    this.#polling = state.field('polling', this.#polling)
  }

  /** Halt a vCPU until `port` (any, without) is pending, it can take an event, or the time has come (0: never). */
  poll(vcpu: number, port: number | undefined, timeout: number): void {
    this.#ports[vcpu] = port ?? ANY
    this.#polling++
    if (timeout > 0) this.#timeouts[vcpu]?.set(timeout)
    this.#domain.effects.lock.block(vcpu)
  }

  polls(vcpu: number): boolean {
    return this.#ports[vcpu] !== NONE
  }

  /** An event became pending. */
  check(port: number): void {
    if (this.#polling === 0) return
    for (let vcpu = 0; vcpu < this.#ports.length; vcpu++)
      if (this.#ports[vcpu] === ANY || this.#ports[vcpu] === port) this.end(vcpu)
  }

  /** A vCPU that polls goes on. */
  end(vcpu: number): void {
    if (this.#forget(vcpu)) this.#domain.effects.lock.wake(vcpu)
  }

  /** A vCPU goes on by itself: whatever it polled for. */
  entered(vcpu: number): void {
    if (this.#polling > 0) this.#forget(vcpu)
  }

  #forget(vcpu: number): boolean {
    if (this.#ports[vcpu] === NONE) return false
    this.#ports[vcpu] = NONE
    this.#polling--
    this.#timeouts[vcpu]?.set(Infinity)
    return true
  }
}

/** What a machine tells its program. */
import type { ExitReason } from '../machine/types.ts'
import type { Event, Observer } from '../paravirt/observe.ts'

export interface MachineEvents {
  /** The kernel has panicked, by what its console says. */
  readonly panic: { readonly message: string }
  /** The guest's last words, where it tells them to its hypervisor. */
  readonly report: { readonly lines: readonly string[] }
  /** A declared request was made and answered. */
  readonly request: Event
  /** The machine has stopped. */
  readonly exit: { readonly reason: ExitReason }
}

type Listener<Name extends keyof MachineEvents> = (event: MachineEvents[Name]) => void

export class Events {
  readonly #listeners: { readonly [Name in keyof MachineEvents]: Set<Listener<Name>> } = {
    panic: new Set(),
    report: new Set(),
    request: new Set(),
    exit: new Set(),
  }
  #observer: Observer | undefined
  #stop: (() => void) | undefined

  /** The observer is listened to only while somebody wants to hear of requests. */
  watchRequests(observer: Observer): void {
    this.#observer = observer
    this.#watch()
  }

  on<Name extends keyof MachineEvents>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners[name] as Set<Listener<Name>>
    // A function of its own, so that one can listen twice.
    const own: Listener<Name> = (event) => listener(event)
    listeners.add(own)
    this.#watch()
    return () => {
      listeners.delete(own)
      this.#watch()
    }
  }

  once<Name extends keyof MachineEvents>(name: Name): Promise<MachineEvents[Name]> {
    return new Promise((resolve) => {
      const stop = this.on(name, (event) => {
        stop()
        resolve(event)
      })
    })
  }

  emit<Name extends keyof MachineEvents>(name: Name, event: MachineEvents[Name]): void {
    for (const listener of this.#listeners[name] as ReadonlySet<Listener<Name>>) listener(event)
  }

  #watch(): void {
    if (this.#listeners.request.size === 0) {
      this.#stop?.()
      this.#stop = undefined
    } else this.#stop ??= this.#observer?.listen((event) => this.emit('request', event))
  }
}

/**
 * Why vCPUs leave the core for the host, how often, and what that costs: counted by wrapping the host, so that a machine
 * without counts pays nothing.
 */
import type { CoreHost } from '../cpu/core.ts'
import type { TurnWatcher } from './vcpus.ts'

/** In the words of KVM's exits, as far as it has them. */
const names = {
  mmioRead: 'MMIO read',
  mmioWrite: 'MMIO write',
  portIn: 'port in',
  portOut: 'port out',
  rdmsr: 'RDMSR',
  wrmsr: 'WRMSR',
  rdpmc: 'RDPMC',
  cpuid: 'CPUID',
  hypercall: 'hypercall',
  readCr8: 'CR8 read',
  writeCr8: 'CR8 write',
  random: 'RDRAND',
  pvRoot: 'page-table switch',
  pvStore: 'page-table store',
  acknowledge: 'interrupt',
} as const satisfies Partial<Record<keyof CoreHost, string>>

export interface ExitCount {
  count: number
  /** Of the host's time. */
  milliseconds: number
}

export class ExitCounts {
  readonly counts = new Map<string, ExitCount>()

  over(host: CoreHost): CoreHost {
    const wrapped = Object.entries(names).flatMap(([method, reason]) => {
      const inner = host[method as keyof CoreHost] as ((...args: readonly never[]) => unknown) | undefined
      if (!inner) return []
      const outer = (...args: readonly never[]) => {
        const began = performance.now()
        const result = inner(...args)
        this.#add(reason, performance.now() - began)
        return result
      }
      return [[method, outer] as const]
    })
    return { ...host, ...(Object.fromEntries(wrapped) as Partial<CoreHost>) }
  }

  /** Turns that end in HLT cost nothing but the wait. */
  watch(watcher: TurnWatcher): TurnWatcher {
    return {
      enter: (vcpu) => watcher.enter?.(vcpu),
      leave: (vcpu, halted) => {
        if (halted) this.#add('HLT', 0)
        watcher.leave?.(vcpu, halted)
      },
      init: (vcpu) => watcher.init?.(vcpu),
      ...(watcher.start ? { start: (vcpu: number) => watcher.start!(vcpu) } : {}),
    }
  }

  #add(reason: string, milliseconds: number): void {
    const exit = this.counts.get(reason)
    if (exit) {
      exit.count++
      exit.milliseconds += milliseconds
    } else this.counts.set(reason, { count: 1, milliseconds })
  }
}

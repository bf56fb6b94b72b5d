/**
 * Xen 4.17, as a guest without privileges (domU) sees it. PVH and PV share all that is in this folder but `pvh`, and
 * `pv` and `mm`.
 */
import type { CpuidResult } from '../../cpu/models.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type {
  BuildOptions,
  HypercallInstruction,
  Platform,
  PlatformDefinition,
  PlatformOptions,
} from '../../paravirt/platform.ts'
import { SnapshotError } from '../../snapshot/error.ts'
import { NativePlatform } from '../native/index.ts'
import { Domain } from './domain.ts'
import { features } from './features.ts'
import { Hypercalls } from './hypercalls/dispatch.ts'
import { hypercalls, requestsOf } from './hypercalls/index.ts'
import { leaves } from './leaves.ts'
import { pvFrames } from './mm/create.ts'
import { XenPvPlatform } from './pv/index.ts'
import { PvhKind } from './pvh/kind.ts'

class XenPvhPlatform implements Platform {
  readonly domain: Domain
  readonly #dispatch: Dispatch<Domain>
  readonly #hypercalls: Hypercalls
  readonly #instruction: HypercallInstruction

  constructor(options: PlatformOptions) {
    this.domain = new Domain(options, (domain) => new PvhKind(domain))
    this.#dispatch = new Dispatch({
      ...options,
      abi: this.domain,
      msrs: [],
      leaves,
      beneath: new NativePlatform(options),
    })
    this.#hypercalls = new Hypercalls(this.domain, hypercalls, options.observer)
    this.#instruction = options.model.vendor === 'GenuineIntel' ? 'vmcall' : 'vmmcall'
  }

  transfer(): void {
    throw new SnapshotError('a Xen domain cannot be saved: its parts do not hand over their state')
  }

  build(options: BuildOptions): void {
    this.domain.kind.build(options)
  }

  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    return this.#dispatch.cpuid(vcpu, leaf, subleaf, own)
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#dispatch.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#dispatch.wrmsr(vcpu, index, value)
  }

  hypercall(vcpu: number, instruction: HypercallInstruction): boolean | 'again' {
    if (instruction !== this.#instruction) return false
    return this.#hypercalls.enter(vcpu) === 'done' || 'again'
  }

  enter(vcpu: number): void {
    this.domain.pollers.entered(vcpu)
  }
}

export const xenPv: PlatformDefinition = {
  name: 'xen-pv',
  title: 'Xen, PV',
  features,
  requests: [...leaves, ...requestsOf('pv')],
  board: 'bare',
  console: 'hvc0',
  frames: pvFrames,
  create: (options) => new XenPvPlatform(options),
}

export const xenPvh: PlatformDefinition = {
  name: 'xen-pvh',
  title: 'Xen, PVH',
  features,
  requests: [...leaves, ...requestsOf('pvh')],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  refuses: ({ entries }) => (entries.pvh === undefined ? 'it has no PVH entry (CONFIG_PVH)' : undefined),
  frames: (memory) => memory / 4096,
  create: (options) => new XenPvhPlatform(options),
}

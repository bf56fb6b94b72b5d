/**
 * What every hypervisor's ABI shares: its MSRs and CPUID leaves, found by number, over the processor's own. Each
 * request notes itself; one whose feature is off does not exist.
 *
 * Results, as observers see them: the value read; 0 for a write that was done; `#GP`; the four words of a leaf.
 */
import type { CpuidResult } from '../cpu/models.ts'
import type { Observer } from './observe.ts'
import type { Platform } from './platform.ts'
import { byNumber, type Declaration, type Leaf, type Msr } from './requests.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

/** CPUID 1 ECX: software runs under a hypervisor. */
const HYPERVISOR = 0x80000000
/** The leaves that processors leave to hypervisors (SDM Vol. 2A, CPUID; AMD64 APM Vol. 3, E.3.6). */
const FIRST_LEAF = 0x40000000

export interface DispatchOptions<Abi> {
  /** What the requests are carried out on. */
  readonly abi: Abi
  readonly msrs: readonly Msr<Abi>[]
  /** The first, 0x40000000, gives the highest in EAX. */
  readonly leaves: readonly Leaf<Abi>[]
  /** Names of the features that are on. */
  readonly features: ReadonlySet<string>
  readonly observer: Observer
  /** Who answers all else. */
  readonly beneath: Pick<Platform, 'cpuid' | 'rdmsr' | 'wrmsr' | 'transfer'>
}

export class Dispatch<Abi> implements Stateful {
  readonly #options: DispatchOptions<Abi>
  readonly #msrs: ReadonlyMap<number, Msr<Abi>>
  readonly #leaves: ReadonlyMap<number, Leaf<Abi>>

  constructor(options: DispatchOptions<Abi>) {
    this.#options = options
    this.#msrs = byNumber(options.msrs)
    this.#leaves = byNumber(options.leaves)
  }

  /** The state of who is beneath; the ABI's own is its platform's to hand over. */
  transfer(state: Transfer): void {
    state.part('beneath', this.#options.beneath)
  }

  /** Leaves between the declared ones are zero, those above the highest what the processor says. */
  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    const { abi, beneath, observer } = this.#options
    if (leaf === 1) {
      const [eax, ebx, ecx, edx] = beneath.cpuid(vcpu, leaf, subleaf, own)
      return [eax, ebx, ecx | HYPERVISOR, edx]
    }
    const request = this.#leaves.get(leaf)
    if (request && this.has(request)) {
      const words = request.value(abi, vcpu, subleaf)
      const text = words.map((word) => `0x${(word >>> 0).toString(16)}`).join(' ')
      observer.note(vcpu, request, 'call', () => [], text)
      return words
    }
    if (leaf > FIRST_LEAF && leaf <= this.#highest(vcpu)) return [0, 0, 0, 0]
    return beneath.cpuid(vcpu, leaf, subleaf, own)
  }

  /** Undefined: #GP(0). */
  rdmsr(vcpu: number, index: number): bigint | undefined {
    const { abi, beneath, observer } = this.#options
    const request = this.#msrs.get(index)
    if (!request) return beneath.rdmsr(vcpu, index)
    const value = this.has(request) ? request.read?.(abi, vcpu) : undefined
    observer.note(vcpu, request, 'read', () => [], value ?? '#GP')
    return value
  }

  /** False: #GP(0). */
  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    const { abi, beneath, observer } = this.#options
    const request = this.#msrs.get(index)
    if (!request) return beneath.wrmsr(vcpu, index, value)
    const done = this.has(request) && (request.write?.(abi, vcpu, value) ?? false)
    observer.note(vcpu, request, 'write', () => [value], done ? 0n : '#GP')
    return done
  }

  /** Nothing switched the request off. */
  has(request: Declaration): boolean {
    return request.feature === undefined || this.#options.features.has(request.feature)
  }

  #highest(vcpu: number): number {
    const [eax] = this.#leaves.get(FIRST_LEAF)?.value(this.#options.abi, vcpu, 0) ?? [0]
    return eax >>> 0
  }
}

/** A hypervisor's name, 12 characters, as leaf 0x40000000 has it in EBX, ECX, EDX. */
export function signatureWords(name: string): [number, number, number] {
  const bytes = new Uint8Array(12)
  new TextEncoder().encodeInto(name, bytes)
  const view = new DataView(bytes.buffer)
  return [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)]
}

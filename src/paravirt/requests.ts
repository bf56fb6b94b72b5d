/**
 * Requests as data: what a guest can ask of its hypervisor, declared once. From a declaration come dispatch, counters,
 * the trace, `paravirt explain`, the coverage table and the generators of property tests.
 *
 * A platform adds to `Declaration` how its requests are carried out: see the tables of `platforms/<abi>`.
 */
import type { Op } from './ops.ts'

/**
 * `counter`: RDPMC of a number that no processor has. `memory`: the guest asks by what it writes to memory that it
 * shares with its hypervisor. `port`: an access of a certain size. `ring`: an entry or a message on a ring or queue that
 * it shares with the backend of a device.
 */
export type RequestKind = 'cpuid' | 'msr' | 'hypercall' | 'command' | 'counter' | 'memory' | 'port' | 'ring'

/** How an argument looks and what values make sense for it; property tests draw from here. */
export type ArgumentType =
  | { readonly kind: 'u8' | 'u16' | 'u32' | 'u64' | 's64' }
  /** A guest-physical address of `length` bytes with this alignment. */
  | { readonly kind: 'gpa'; readonly length: number; readonly align: number }
  /** A linear address. */
  | { readonly kind: 'linear' }
  /** A string: a character for each byte. */
  | { readonly kind: 'text' }
  | { readonly kind: 'vcpu' }
  | { readonly kind: 'vector' }
  /** Named bits; all others are reserved. Bit numbers by name. */
  | { readonly kind: 'flags'; readonly bits: Readonly<Record<string, number>> }
  | { readonly kind: 'choice'; readonly values: Readonly<Record<string, number>> }
  /** Several arguments in one word: name, lowest bit, width. */
  | { readonly kind: 'fields'; readonly fields: readonly (readonly [name: string, bit: number, width: number])[] }

/** Of an argument of kind `text`, or of any other. */
export type ArgumentValue = bigint | string

export interface Argument {
  readonly name: string
  readonly type: ArgumentType
}

/** Where it is done; see `effects.ts`. */
export type Tier = 'inline' | 'helper' | 'call'

export interface Declaration {
  readonly kind: RequestKind
  readonly number: number
  /** Its number among several that share `number`. */
  readonly command?: number
  /** The ABI's own name. */
  readonly name: string
  /** One line for people. */
  readonly summary: string
  readonly args: readonly Argument[]
  /** Errors by the ABI's name, and when each is answered. */
  readonly errors: Readonly<Record<string, string>>
  /** The feature of the platform without which it does not exist. */
  readonly feature?: string
  /** Linux's operations that it serves. */
  readonly ops: readonly Op[]
  readonly tier: Tier
  /** Document and section. */
  readonly source: string
}

/** A request on a ring, by what makes it different from others. */
export function ringRequest(
  row: Pick<Declaration, 'number' | 'name' | 'summary' | 'source'> & Partial<Declaration>,
): Declaration {
  return { kind: 'ring', args: [], errors: {}, ops: [], tier: 'call', ...row }
}

/** A model-specific register: `read` gives undefined and `write` false for #GP(0). */
export interface Msr<Platform> extends Declaration {
  readonly kind: 'msr'
  /** When a write is #GP. */
  readonly refused?: string
  readonly read?: (platform: Platform, vcpu: number) => bigint | undefined
  readonly write?: (platform: Platform, vcpu: number, value: bigint) => boolean
}

/** A leaf of CPUID: EAX, EBX, ECX, EDX. */
export interface Leaf<Platform> extends Declaration {
  readonly kind: 'cpuid'
  readonly value: (platform: Platform, vcpu: number, subleaf: number) => readonly [number, number, number, number]
}

/** Requests by number. Two with one number are a mistake of the platform. */
export function byNumber<Request extends Declaration>(requests: readonly Request[]): ReadonlyMap<number, Request> {
  const map = new Map<number, Request>()
  for (const request of requests) {
    const other = map.get(request.number)
    if (other) throw new Error(`${request.name} and ${other.name} have the same number`)
    map.set(request.number, request)
  }
  return map
}

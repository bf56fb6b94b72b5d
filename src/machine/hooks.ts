/**
 * Hooks: whoever tests a guest can hear every request before the machine does and answer it, as a hostile or broken
 * hypervisor would. A machine that is made without hooks has none of this in its way.
 */
import type { CoreHost } from '../cpu/core.ts'
import type { CpuidResult } from '../cpu/models.ts'
import { InputError } from '../errors.ts'
import type { HypercallInstruction } from '../paravirt/platform.ts'
import { type Register, registers } from '../paravirt/effects.ts'
import type { ArgumentValue, Declaration } from '../paravirt/requests.ts'
import { S } from '../cpu/layout.ts'

export interface Call {
  readonly vcpu: number
  /** A general register of the vCPU's, 64 bits. */
  register(name: Register): bigint
  setRegister(name: Register, value: bigint): void
}

export interface CpuidCall extends Call {
  readonly leaf: number
  readonly subleaf: number
  /** What the machine answers: EAX, EBX, ECX, EDX. */
  proceed(): CpuidResult
}

export interface MsrRead extends Call {
  readonly access: 'read'
  readonly index: number
  /** The value, or undefined for #GP(0). */
  proceed(): bigint | undefined
}

export interface MsrWrite extends Call {
  readonly access: 'write'
  readonly index: number
  readonly value: bigint
  /** Let the machine have it; false: #GP(0). */
  proceed(value?: bigint): boolean
}

export interface PortRead extends Call {
  readonly access: 'read'
  readonly port: number
  /** Bytes. */
  readonly size: number
  proceed(): number
}

export interface PortWrite extends Call {
  readonly access: 'write'
  readonly port: number
  readonly size: number
  readonly value: number
  proceed(value?: number): void
}

export interface Hypercall extends Call {
  readonly instruction: HypercallInstruction | 'syscall'
  /** RAX before the call. */
  readonly rax: bigint
  /** Let the machine do it; the result is in the registers. */
  proceed(): void
}

/** A request that a backend has found on a ring. */
export interface RingRequest {
  readonly request: Declaration
  /** By name; what only an answer has is not there. */
  readonly args: Readonly<Record<string, ArgumentValue>>
}

/** A hook returns its answer, or undefined to let the machine answer (if it has not called `proceed` itself). */
export interface HookFunctions {
  /** The words of the leaf. */
  cpuid: (call: CpuidCall) => CpuidResult | undefined
  /** The value read, `done` for a write, or `#GP`. */
  msr: (call: MsrRead | MsrWrite) => bigint | 'done' | '#GP' | undefined
  /** The value read, or `done` for a write. */
  port: (call: PortRead | PortWrite) => number | 'done' | undefined
  /** RAX, `done` if the registers are as they shall be, or `#UD`. */
  hypercall: (call: Hypercall) => bigint | 'done' | '#UD' | undefined
  /** The name of one of the request's `errors`, which is its answer; undefined: the backend carries it out. */
  ring: (call: RingRequest) => string | undefined
}

export type HookKind = keyof HookFunctions
/** Those that a vCPU makes, which are known by numbers. */
type NumberedKind = Exclude<HookKind, 'ring'>

/** A hook, and for which numbers it is asked. */
interface Entry<Kind extends NumberedKind> {
  readonly wants: (number: number) => boolean
  readonly run: HookFunctions[Kind]
}

/** Of the core: where registers are. */
interface Registers {
  readonly u64: BigUint64Array
  readonly vcpus: readonly number[]
}

const SYSCALL = 2

export class Hooks {
  readonly #entries: { readonly [Kind in NumberedKind]: Set<Entry<Kind>> } = {
    cpuid: new Set(),
    msr: new Set(),
    port: new Set(),
    hypercall: new Set(),
  }
  readonly #rings = new Set<{ readonly wanted: Declaration; readonly run: HookFunctions['ring'] }>()
  #state: Registers | undefined

  /** Ask `run` of requests whose number `wants` accepts; the last one added is asked first. Returns how to stop. */
  add<Kind extends NumberedKind>(kind: Kind, wants: (number: number) => boolean, run: HookFunctions[Kind]): () => void {
    const entry = { wants, run }
    const entries = this.#entries[kind] as Set<Entry<Kind>>
    entries.add(entry)
    return () => entries.delete(entry)
  }

  /** The same for a request on a ring. */
  addRing(wanted: Declaration, run: HookFunctions['ring']): () => void {
    const entry = { wanted, run }
    this.#rings.add(entry)
    return () => this.#rings.delete(entry)
  }

  /** The error with which a hook has a request on a ring answered. Throws InputError for one that it cannot have. */
  refusal(request: Declaration, args: () => readonly ArgumentValue[]): string | undefined {
    if (this.#rings.size === 0) return undefined
    let refused: string | undefined
    for (const { wanted, run } of this.#rings) {
      if (wanted !== request) continue
      const named = args().map((value, i) => [request.args[i]?.name ?? `arg${i}`, value] as const)
      refused = run({ request, args: Object.fromEntries(named) }) ?? refused
    }
    if (refused !== undefined && !Object.hasOwn(request.errors, refused))
      throw new InputError(
        `hook: ${request.name} has no error '${refused}'; it has ${Object.keys(request.errors).join(', ')}`,
      )
    return refused
  }

  /** The core, once it exists: for registers. */
  attach(state: Registers): void {
    this.#state = state
  }

  /** A host that asks the hooks first. */
  over(host: CoreHost): CoreHost {
    return {
      ...host,
      cpuid: (vcpu, leaf, subleaf) =>
        this.#ask(
          'cpuid',
          leaf >>> 0,
          () => host.cpuid(vcpu, leaf, subleaf) as CpuidResult,
          (proceed) => ({
            ...this.#call(vcpu),
            leaf: leaf >>> 0,
            subleaf: subleaf >>> 0,
            proceed,
          }),
        ),
      rdmsr: (vcpu, index) => {
        const answer = this.#ask<'msr', ReturnType<HookFunctions['msr']>>(
          'msr',
          index,
          () => host.rdmsr(vcpu, index) ?? '#GP',
          (proceed) => ({
            ...this.#call(vcpu),
            access: 'read',
            index,
            proceed: () => {
              const value = proceed()
              return typeof value === 'bigint' ? value : undefined
            },
          }),
        )
        return typeof answer === 'bigint' ? BigInt.asUintN(64, answer) : undefined
      },
      wrmsr: (vcpu, index, value) => {
        let written = value
        const answer = this.#ask<'msr', ReturnType<HookFunctions['msr']>>(
          'msr',
          index,
          () => (host.wrmsr(vcpu, index, written) ? 'done' : '#GP'),
          (proceed) => ({
            ...this.#call(vcpu),
            access: 'write',
            index,
            value,
            proceed: (other = value) => {
              written = BigInt.asUintN(64, other)
              return proceed() === 'done'
            },
          }),
        )
        return answer !== '#GP'
      },
      portIn: (vcpu, port, size) => {
        const answer = this.#ask<'port', ReturnType<HookFunctions['port']>>(
          'port',
          port,
          () => host.portIn(vcpu, port, size),
          (proceed) => ({ ...this.#call(vcpu), access: 'read', port, size, proceed: () => Number(proceed()) }),
        )
        return typeof answer === 'number' ? answer : 0
      },
      portOut: (vcpu, port, size, value) => {
        let written = value
        const through = (): 'done' => {
          host.portOut(vcpu, port, size, written)
          return 'done'
        }
        this.#ask<'port', ReturnType<HookFunctions['port']>>('port', port, through, (proceed) => ({
          ...this.#call(vcpu),
          access: 'write',
          port,
          size,
          value,
          proceed: (other = value) => {
            written = other
            proceed()
          },
        }))
      },
      hypercall: (vcpu, kind) => {
        const call = this.#call(vcpu)
        const rax = call.register('rax')
        let own: boolean | 'again' = true
        const through = (): 'done' | '#UD' => {
          own = host.hypercall(vcpu, kind)
          return own === false ? '#UD' : 'done'
        }
        const instruction = kind === SYSCALL ? 'syscall' : kind === 0 ? 'vmcall' : 'vmmcall'
        const number = Number(BigInt.asUintN(32, rax))
        const answer = this.#ask<'hypercall', ReturnType<HookFunctions['hypercall']>>(
          'hypercall',
          number,
          through,
          (proceed) => ({ ...call, instruction, rax, proceed: () => void proceed() }),
        )
        if (answer === '#UD') return false
        if (typeof answer === 'bigint') call.setRegister('rax', answer)
        return typeof answer === 'bigint' ? true : own
      },
    }
  }

  #ask<Kind extends NumberedKind, Answer>(
    kind: Kind,
    number: number,
    machine: () => Answer,
    call: (proceed: () => Answer) => Parameters<HookFunctions[Kind]>[0],
  ): Answer {
    const entries = this.#entries[kind] as ReadonlySet<Entry<Kind>>
    if (entries.size === 0) return machine()
    let next = machine
    for (const { wants, run } of entries) {
      if (!wants(number)) continue
      const below = next
      next = () => {
        let done: { answer: Answer } | undefined
        const proceed = () => (done = { answer: below() }).answer
        const given = (run as (call: unknown) => Answer | undefined)(call(proceed))
        return given ?? done?.answer ?? below()
      }
    }
    return next()
  }

  #call(vcpu: number): Call {
    const { u64, vcpus } = this.#state as Registers
    const slot = (name: Register) => ((vcpus[vcpu] as number) + S.RAX + 8 * registers.indexOf(name)) >> 3
    return {
      vcpu,
      register: (name) => u64[slot(name)] as bigint,
      setRegister: (name, value) => void (u64[slot(name)] = BigInt.asUintN(64, value)),
    }
  }
}

/**
 * A hypercall from the guest's registers to its answer: which one it is, its command's structure in, carried out,
 * structure out, noted. Multicalls come through `dispatch` again.
 */
import type { Observer } from '../../../paravirt/observe.ts'
import type { Register } from '../../../paravirt/effects.ts'
import { registers } from '../../../paravirt/effects.ts'
import type { Domain } from '../domain.ts'
import { Errno, errorName } from '../errno.ts'
import { Call } from './call.ts'
import { type Answer, type Command, type Hypercall, hypercall } from './declare.ts'

/** A number that is not declared. */
const unknownHypercall: Hypercall = hypercall({
  number: -1,
  name: 'unknown',
  summary: 'a hypercall or command that does not exist',
  args: [
    { name: 'number', type: { kind: 'u32' } },
    { name: 'cmd', type: { kind: 'u32' } },
  ],
  errors: { ENOSYS: 'always' },
  run: () => Errno.ENOSYS,
})

/** Argument registers of 64-bit and 32-bit code (xen/arch-x86/xen-x86_64.h, xen-x86_32.h). */
const wideRegisters: readonly Register[] = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9']
const narrowRegisters: readonly Register[] = ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp']
const places = (names: readonly Register[]) => names.map((name) => 2 * registers.indexOf(name))
const wideArguments = places(wideRegisters)
const narrowArguments = places(narrowRegisters)

const MAX = 64

interface Entry {
  readonly call: Hypercall
  readonly commands: ReadonlyMap<number, Command> | undefined
}

export class Hypercalls {
  readonly #domain: Domain
  readonly #observer: Observer
  readonly #call: Call
  readonly #table: (Entry | undefined)[] = Array.from({ length: MAX }, () => undefined)

  constructor(domain: Domain, table: readonly Hypercall[], observer: Observer) {
    this.#domain = domain
    this.#observer = observer
    this.#call = new Call(domain, (call, number) => this.#dispatch(call, number))
    const fits = ({ guest }: { guest?: string | undefined }) => guest === undefined || guest === domain.kind.name
    for (const call of table) {
      if (!fits(call)) continue
      const own = call.commands?.filter(fits)
      this.#table[call.number] = { call, commands: own && new Map(own.map((each) => [each.command, each])) }
    }
  }

  /**
   * The hypercall in a vCPU's registers, its answer to RAX. `again`: the guest has to execute the instruction once
   * more, with the argument registers that it has now.
   */
  enter(vcpu: number): 'done' | 'again' {
    const { cpu } = this.#domain.effects
    const words = cpu.general(vcpu)
    const wide = cpu.wide(vcpu)
    const from = wide ? wideArguments : narrowArguments
    const call = this.#call
    call.begin(vcpu, wide)
    for (let i = 0; i < from.length; i++) {
      const at = from[i] as number
      call.setArg(i, words[at] as number, wide ? words[at + 1] : 0)
    }
    const number = wide && words[1] !== 0 ? -1 : (words[0] as number)
    const answer = call.dispatch(number)
    if (answer === 'continue') {
      const names = wide ? wideRegisters : narrowRegisters
      for (let i = 0; i < names.length; i++) cpu.setRegister(vcpu, names[i] as Register, call.big(i))
      return 'again'
    }
    if (answer !== 'done') cpu.setNumber(vcpu, 'rax', answer, wide)
    return 'done'
  }

  #dispatch(call: Call, number: number): Answer {
    const entry = this.#table[number]
    if (!entry) return this.#unknown(call, number)
    if (entry.commands) return this.#command(call, entry.call, entry.commands)
    const { call: request } = entry
    const answer = request.run ? request.run(call) : Errno.ENOSYS
    if (answer !== 'continue')
      this.#observer.note(call.vcpu, request, 'call', () => request.args.map((_, i) => call.big(i)), told(answer))
    return answer
  }

  #command(call: Call, of: Hypercall, commands: ReadonlyMap<number, Command>): Answer {
    const number = call.arg(0) & (of.commandMask ?? -1)
    const request = of.longCommand && call.high(0) !== 0 ? undefined : commands.get(number >>> 0)
    let answer: Answer = of.check?.(call) ?? 0
    if (!request) return this.#unknown(call, of.number, answer === 0 ? of.unknown?.(call) : answer)
    if (answer === 0) answer = request.check?.(call) ?? 0
    const { struct } = request
    const { block } = call
    if (answer !== 0) {
      // Refused before its command is looked at.
    } else if (struct === undefined) answer = request.run(call, block)
    else {
      const size = block.size(struct)
      if (!call.copyIn(1, block.bytes, size)) answer = Errno.EFAULT
      else {
        answer = request.run(call, block)
        // Commands that answer in their structure answer 0.
        if (answer === 0 && request.writes && !call.copyOut(1, block.bytes, size)) answer = Errno.EFAULT
      }
    }
    if (answer !== 'continue')
      this.#observer.note(call.vcpu, request, 'call', () => argumentsOf(call, request), told(answer))
    return answer
  }

  #unknown(call: Call, number: number, answer: number = Errno.ENOSYS): number {
    const values = () => [BigInt.asUintN(32, BigInt(number)), call.big(0)]
    this.#observer.note(call.vcpu, unknownHypercall, 'call', values, told(answer))
    return answer
  }
}

function argumentsOf(call: Call, { struct, args }: Command): bigint[] {
  if (struct) return struct.list.filter(({ out }) => !out).map((field) => call.block.big(field))
  return args.map((_, i) => call.big(i + 1))
}

const told = (answer: number | 'done'): bigint | string =>
  answer === 'done' ? 0n : (errorName(answer) ?? BigInt(answer))

/**
 * A hypercall from the guest's registers to its answer (TLFS, "Hypercall Interface"): may it call, is the form right,
 * where is the input, what came of it.
 */
import type { Register } from '../../../paravirt/effects.ts'
import type { Observer } from '../../../paravirt/observe.ts'
import type { HypercallInstruction } from '../../../paravirt/platform.ts'
import { byNumber } from '../../../paravirt/requests.ts'
import type { Partition } from '../partition.ts'
import { type Status, statusCodes } from '../status.ts'
import { type Control, decodeControl, withStart } from './control.ts'
import { type Call, type Hypercall, hypercall, readField } from './declare.ts'
import { denied } from './denied.ts'
import { flushes } from './flush.ts'
import { ipis } from './ipi.ts'
import { messages } from './messages.ts'
import { registerCalls } from './registers.ts'

/** A code that is not declared; its one argument is the code. */
export const unknownHypercall: Hypercall = hypercall({
  number: 0,
  name: 'unknown',
  summary: 'a call code that does not exist',
  fields: [['code', 2]],
  errors: { HV_STATUS_INVALID_HYPERCALL_CODE: 'always' },
  ops: [],
  section: 'Common Hypercall Status Codes',
  always: 'HV_STATUS_INVALID_HYPERCALL_CODE',
})

export const hypercalls: readonly Hypercall[] = [
  ...flushes,
  ...ipis,
  ...messages,
  ...registerCalls,
  ...denied,
  unknownHypercall,
]

const calls = byNumber(hypercalls)

const PAGE = 4096n
const ALIGN = 8n
/** Input in general registers, and with XMM0 to XMM5. */
const FAST = 16
const XMM_FAST = 112
const XMM_REGISTERS = 6

/** Where a call's parts are; 32-bit code passes each as high and low half. */
const registers = {
  control: { wide: 'rcx', high: 'rdx', low: 'rax' },
  input: { wide: 'rdx', high: 'rbx', low: 'rcx' },
  output: { wide: 'r8', high: 'rdi', low: 'rsi' },
  result: { wide: 'rax', high: 'rdx', low: 'rax' },
} as const satisfies Record<string, Record<'wide' | 'high' | 'low', Register>>

/** #UD, or a status and how many repetitions are done. */
type Answer = '#UD' | { readonly status: Status; readonly done: number; readonly input?: DataView }

export class Hypercalls {
  readonly #partition: Partition
  readonly #observer: Observer

  constructor(partition: Partition, observer: Observer) {
    this.#partition = partition
    this.#observer = observer
  }

  /** False: #UD. */
  call(vcpu: number, instruction: HypercallInstruction): boolean {
    const value = this.#get(vcpu, 'control')
    const control = decodeControl(value)
    const request = (control.code !== 0 && calls.get(control.code)) || unknownHypercall
    const answer = this.#allowed(vcpu, instruction) ? this.#answer(vcpu, request, control) : '#UD'
    const status = answer === '#UD' ? answer : answer.status
    this.#observer.note(vcpu, request, 'call', () => this.#arguments(request, control, answer), status)
    if (answer === '#UD') return false
    const wide = this.#partition.effects.cpu.wide(vcpu)
    if (wide && answer.done > control.start) this.#set(vcpu, 'control', withStart(value, answer.done))
    this.#set(vcpu, 'result', BigInt(statusCodes[answer.status]) | (BigInt(answer.done) << 32n))
    return true
  }

  /** From ring 0 of protected mode, once the page is there, by the page's instruction. */
  #allowed(vcpu: number, instruction: HypercallInstruction): boolean {
    const { effects, page } = this.#partition
    const { cpu } = effects
    return page.enabled && instruction === page.instruction && cpu.protectedMode(vcpu) && cpu.privilege(vcpu) === 0
  }

  #answer(vcpu: number, request: Hypercall, control: Control): Answer {
    const { effects, features } = this.#partition
    const { header, count, start, fast } = control
    const fail = (status: Status): Answer => ({ status, done: 0 })
    if (request.always) return fail(request.always)
    if (request.feature && !features.has(request.feature)) return fail(request.without)
    const counted = request.rep ? count > start : count === 0 && start === 0
    if (control.reserved || !counted || (header > 0 && !request.variable))
      return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')

    const inputBytes = request.input + 8 * header + (request.rep?.input ?? 0) * count
    const outputBytes = request.output + (request.rep?.output ?? 0) * count
    let input: Uint8Array | undefined
    if (fast) {
      if (inputBytes > XMM_FAST) return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')
      // Output in XMM registers is not offered, and input only with the feature.
      if (outputBytes > 0 || (inputBytes > FAST && !features.has('xmm-input'))) return '#UD'
      input = this.#registerInput(vcpu)
    } else {
      input = this.#block(this.#get(vcpu, 'input'), inputBytes)
      if (!input || !this.#block(this.#get(vcpu, 'output'), outputBytes)) return fail('HV_STATUS_INVALID_ALIGNMENT')
    }

    const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
    const output = new Uint8Array(outputBytes)
    const call: Call = {
      partition: this.#partition,
      vcpu,
      input: view,
      header,
      count,
      start,
      output: new DataView(output.buffer),
      done: start,
    }
    const status = request.run(call)
    const first = request.output + (request.rep?.output ?? 0) * start
    const end = request.output + (request.rep?.output ?? 0) * call.done
    const at = this.#get(vcpu, 'output')
    if (status === 'HV_STATUS_SUCCESS' && request.output > 0)
      effects.memory.write(at, output.subarray(0, request.output))
    if (end > first) effects.memory.write(at + BigInt(first), output.subarray(first, end))
    return { status, done: request.rep ? call.done : 0, input: view }
  }

  /** A copy of a block of memory; undefined: it is unaligned, crosses pages or is not memory. */
  #block(address: bigint, length: number): Uint8Array | undefined {
    if (length === 0) return new Uint8Array(0)
    if (address % ALIGN !== 0n || (address % PAGE) + BigInt(length) > PAGE) return undefined
    return this.#partition.effects.memory.read(address, length)?.slice()
  }

  #registerInput(vcpu: number): Uint8Array {
    const bytes = new Uint8Array(XMM_FAST)
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, this.#get(vcpu, 'input'), true)
    view.setBigUint64(8, this.#get(vcpu, 'output'), true)
    for (let i = 0; i < XMM_REGISTERS; i++) bytes.set(this.#partition.effects.cpu.xmm(vcpu, i), FAST + 16 * i)
    return bytes
  }

  #arguments(request: Hypercall, control: Control, answer: Answer): bigint[] {
    if (request === unknownHypercall) return [BigInt(control.code)]
    const input = answer === '#UD' ? undefined : answer.input
    return input ? request.args.map((field) => readField(input, field)) : []
  }

  #get(vcpu: number, part: keyof typeof registers): bigint {
    const { cpu } = this.#partition.effects
    const { wide, high, low } = registers[part]
    if (cpu.wide(vcpu)) return cpu.register(vcpu, wide)
    return (BigInt(cpu.low(vcpu, high)) << 32n) | BigInt(cpu.low(vcpu, low))
  }

  #set(vcpu: number, part: keyof typeof registers, value: bigint): void {
    const { cpu } = this.#partition.effects
    const { wide, high, low } = registers[part]
    if (cpu.wide(vcpu)) return cpu.setRegister(vcpu, wide, value)
    cpu.setRegister(vcpu, low, value & 0xffff_ffffn)
    cpu.setRegister(vcpu, high, value >> 32n)
  }
}

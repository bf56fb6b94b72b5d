/** A Hyper-V without a machine, for tests: MSRs and hypercalls are made directly. */
import { cpuModel, type CpuModelName } from '../../cpu/models.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { HypervPlatform, hyperv } from './index.ts'
import { type Status, statusCodes } from './status.ts'

export const OS_ID = 0x8100000601c00000n
const GUEST_OS_ID = 0x40000000
const HYPERCALL = 0x40000001

/** Where tests put the hypercall page, and input and output blocks. */
export const CALL_PAGE = 5
export const INPUT = 0x8000n
export const OUTPUT = 0x9000n

const statusNames = new Map(Object.entries(statusCodes).map(([name, code]) => [code as number, name as Status]))

export interface Options {
  readonly vcpus?: number
  readonly features?: readonly string[]
  readonly cpu?: CpuModelName
}

export interface CallOptions {
  readonly vcpu?: number
  readonly header?: number
  readonly count?: number
  readonly start?: number
  /** More bits of the control word. */
  readonly extra?: bigint
  readonly instruction?: 'vmcall' | 'vmmcall'
}

export interface Answer {
  readonly status: Status
  readonly done: number
}

export function setUp({ vcpus = 4, features = [], cpu = 'inorder' }: Options = {}) {
  const mock = new Mock({ vcpus })
  const observer = new Observer(() => mock.effects.time.now())
  const events: Event[] = []
  const platform = new HypervPlatform({
    effects: mock.effects,
    model: cpuModel(cpu),
    features: chosenFeatures(hyperv, features),
    observer,
  })
  const view = new DataView(mock.ram.buffer)
  const { effects, log, ram } = mock
  const vcpu = (index: number) => mock.vcpus[index] as MockVcpu

  const read = (msr: number, of = 0) => platform.rdmsr(of, msr)
  const write = (msr: number, value: bigint | number, of = 0) => platform.wrmsr(of, msr, BigInt(value))
  /** What the platform did since the last time. */
  const done = () => log.splice(0)

  /** As a guest that wants to make hypercalls. */
  const enable = () => write(GUEST_OS_ID, OS_ID) && write(HYPERCALL, (CALL_PAGE << 12) | 1)

  const control = (code: number, fast: boolean, { header = 0, count = 0, start = 0, extra = 0n }: CallOptions) =>
    BigInt(code) |
    (fast ? 1n << 16n : 0n) |
    (BigInt(header) << 17n) |
    (BigInt(count) << 32n) |
    (BigInt(start) << 48n) |
    extra

  const issue = (options: CallOptions, values: { rcx: bigint; rdx: bigint; r8: bigint }): Answer | '#UD' => {
    const caller = options.vcpu ?? 0
    const { registers, wide } = vcpu(caller)
    const set = (value: bigint, high: 'rdx' | 'rbx' | 'rdi', low: 'rax' | 'rcx' | 'rsi') => {
      registers.set(high, value >> 32n)
      registers.set(low, value & 0xffff_ffffn)
    }
    if (wide) for (const name of ['rcx', 'rdx', 'r8'] as const) registers.set(name, values[name])
    else {
      set(values.rcx, 'rdx', 'rax')
      set(values.rdx, 'rbx', 'rcx')
      set(values.r8, 'rdi', 'rsi')
    }
    if (!platform.hypercall(caller, options.instruction ?? 'vmcall')) return '#UD'
    const get = (name: 'rax' | 'rdx') => registers.get(name) as bigint
    const result = wide ? get('rax') : (get('rdx') << 32n) | get('rax')
    return { status: statusNames.get(Number(result & 0xffffn)) as Status, done: Number((result >> 32n) & 0xfffn) }
  }

  /** With the input block in memory. */
  const slow = (code: number, input: Uint8Array, options: CallOptions & { input?: bigint; output?: bigint } = {}) => {
    const at = options.input ?? INPUT
    effects.memory.write(at, input)
    return issue(options, { rcx: control(code, false, options), rdx: at, r8: options.output ?? OUTPUT })
  }

  /** With the input block in registers. */
  const fast = (code: number, input: Uint8Array, options: CallOptions = {}) => {
    const block = new Uint8Array(112)
    block.set(input)
    const parts = new DataView(block.buffer)
    for (let i = 0; i < 6; i++) vcpu(options.vcpu ?? 0).xmm[i]?.set(block.subarray(16 + 16 * i, 32 + 16 * i))
    return issue(options, {
      rcx: control(code, true, options),
      rdx: parts.getBigUint64(0, true),
      r8: parts.getBigUint64(8, true),
    })
  }

  observer.listen((event) => events.push(event))
  const advance = (nanoseconds: number) => mock.advance(nanoseconds)
  return { mock, platform, observer, events, effects, view, ram, vcpu, read, write, done, enable, slow, fast, advance }
}

/** An input block of words of 8 bytes. */
export function words(...values: readonly (bigint | number)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length))
  for (const [i, value] of values.entries()) view.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(value)), true)
  return new Uint8Array(view.buffer)
}

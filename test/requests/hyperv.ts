/** Hyper-V's interface for `runner.ts`: steps drawn from the declarations, and the platform beside its model. */
import { inspect, isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import type { Msr } from '../../src/paravirt/requests.ts'
import { features } from '../../src/platforms/hyperv/features.ts'
import type { Hypercall } from '../../src/platforms/hyperv/hypercalls/declare.ts'
import { hypercalls, unknownHypercall } from '../../src/platforms/hyperv/hypercalls/dispatch.ts'
import { HypervPlatform, hyperv } from '../../src/platforms/hyperv/index.ts'
import { leaves } from '../../src/platforms/hyperv/leaves.ts'
import { msrs } from '../../src/platforms/hyperv/msrs/index.ts'
import type { Partition } from '../../src/platforms/hyperv/partition.ts'
import { statusCodes } from '../../src/platforms/hyperv/status.ts'
import { type CallStep, expectCall, leafOfRegister, msrOfRegister } from './hyperv-calls.ts'
import { MEMORY, Model, VCPUS } from './hyperv-model.ts'
import { Pair } from './pair.ts'
import type { Scenario } from './runner.ts'
import { addresses, often, someOf, valueOf, type World } from './values.ts'

type Step =
  | CallStep
  | { readonly kind: 'read'; readonly msr: number; readonly vcpu: number }
  | { readonly kind: 'write'; readonly msr: number; readonly vcpu: number; readonly value: bigint }
  | { readonly kind: 'cpuid'; readonly leaf: number }
  /** Time passes. */
  | { readonly kind: 'advance'; readonly units: number }
  /** The guest reads a message. */
  | { readonly kind: 'clear'; readonly vcpu: number; readonly sint: number }
  | { readonly kind: 'init'; readonly vcpu: number }

const world: World = { vcpus: VCPUS, memory: MEMORY }
const GUEST_OS_ID = 0x40000000
const HYPERCALL = 0x40000001
const REFERENCE_TSC = 0x40000021

/** Pages for blocks of input and output. Every overlay has two pages of its own, for the model knows no piles. */
const INPUT = 8n << 12n
const OUTPUT = 9n << 12n
const overlayPages: Readonly<Record<number, (vcpu: number) => number>> = {
  [HYPERCALL]: () => 10,
  [REFERENCE_TSC]: () => 12,
  0x40000073: (vcpu) => 20 + 2 * vcpu,
  0x40000082: (vcpu) => 30 + 2 * vcpu,
  0x40000083: (vcpu) => 40 + 2 * vcpu,
}

const ALL = (1n << 64n) - 1n

const vcpus = fc.nat(VCPUS - 1)

function msrValue(msr: Msr<Partition>, vcpu: number): fc.Arbitrary<bigint> {
  const { number, args } = msr
  const pages = overlayPages[number]
  if (pages) {
    const locked = number === HYPERCALL ? often(30, fc.constant(0n), fc.constant(2n)) : fc.constant(0n)
    const inside = fc
      .tuple(fc.nat(1), often(6, fc.constant(1n), fc.constant(0n)), locked)
      .map(([other, enable, lock]) => (BigInt(pages(vcpu) + other) << 12n) | enable | lock)
    return often(10, inside, fc.bigInt(BigInt(MEMORY), ALL))
  }
  if (number === GUEST_OS_ID) return often(40, fc.bigInt(1n, ALL), fc.constant(0n))
  if (number >= 0x400000b0 && number < 0x400000b8 && number & 1)
    return fc.oneof(fc.bigInt(0n, 60_000n), fc.bigInt(0n, 60_000n), fc.constantFrom(0n, ALL, 1n << 63n))
  return valueOf((args[0] as (typeof args)[0]).type, world)
}

const msrSteps = fc.tuple(fc.constantFrom(...msrs), vcpus).chain(([msr, vcpu]): fc.Arbitrary<Step> => {
  const read = fc.constant<Step>({ kind: 'read', msr: msr.number, vcpu })
  const write = msrValue(msr, vcpu).map((value): Step => ({ kind: 'write', msr: msr.number, vcpu, value }))
  if (!msr.write) return often(4, read, write)
  return msr.read ? fc.oneof(read, write, write) : often(4, write, read)
})

// Hypercalls

const registerNames = [
  0x90000, 0x90002, 0x90003, 0x90004, 0x90013, 0x90017, 0x100, 0x200, 0x201, 0x202, 0x212, 0xa0002, 0xa0010, 0xa0011,
  0xa0013, 0xb0000, 0xb0001, 0xb0005,
] as const
const names = often<number>(30, fc.constantFrom(...registerNames), fc.nat(0xfffff))
const msrByNumber = new Map(msrs.map((msr) => [msr.number, msr]))

/** Fields by name, where the type alone says too little. */
const fieldValues: Readonly<Record<string, fc.Arbitrary<bigint>>> = {
  AddressSpace: often(12, fc.constantFrom(0n, 0x1000n, 0x3fn), fc.bigInt(0n, ALL)),
  ProcessorMask: often(3, fc.bigInt(0n, 7n), fc.bigInt(0n, ALL)),
  TargetVtl: often(12, fc.constantFrom(0n, 0x10n, 3n), fc.bigInt(0n, 255n)),
  PartitionId: often(12, fc.constant(ALL), fc.bigInt(0n, ALL)),
  VpIndex: often(12, fc.constantFrom(0n, 1n, 2n, 0xfffffffen), fc.bigInt(0n, 0xffffffffn)),
  PayloadSize: often(4, fc.bigInt(0n, 240n), fc.bigInt(0n, 0xffffffffn)),
}

interface Block {
  readonly bytes: Uint8Array
  readonly header: number
}

const repeat = (count: number, value: fc.Arbitrary<bigint>) => fc.array(value, { minLength: count, maxLength: count })

/** A set: format, valid banks and banks, whose number is mostly right. */
const sets = fc
  .tuple(
    often(12, fc.constantFrom(0n, 1n), fc.bigInt(2n, ALL)),
    fc.bigInt(0n, 7n),
    often(12, fc.constant(0), fc.constantFrom(-1, 1, 30)),
  )
  .chain(([format, valid, wrong]) => {
    const banks = Math.max(0, [...valid.toString(2)].filter((digit) => digit === '1').length + wrong)
    return repeat(banks, fc.bigInt(0n, ALL)).map((values) => ({ format, valid, values }))
  })

function elements(request: Hypercall, count: number): fc.Arbitrary<bigint[]> {
  if (request.number === 0x50)
    return fc
      .array(names, { minLength: count, maxLength: count })
      .map((list) =>
        Array.from(
          { length: Math.ceil(count / 2) },
          (_, i) => BigInt(list[2 * i] as number) | (BigInt(list[2 * i + 1] ?? 0) << 32n),
        ),
      )
  if (request.number === 0x51)
    return fc
      .array(
        names.chain((name) => {
          const msr = msrByNumber.get(msrOfRegister(name) ?? 0)
          // The overlays of vCPU 0: whom it is for is only known later.
          const value = !msr || overlayPages[msr.number] ? fc.constant(0n) : msrValue(msr, 0)
          return fc
            .tuple(value, often(20, fc.constant(0n), fc.constant(1n)))
            .map(([low, high]) => [BigInt(name), 0n, low, high])
        }),
        { minLength: count, maxLength: count },
      )
      .map((list) => list.flat())
  const pages = often(8, fc.bigInt(0n, 5n), fc.bigInt(0n, 4095n))
  return repeat(
    count,
    fc.tuple(fc.bigInt(0n, ALL >> 12n), pages).map(([page, more]) => (page << 12n) | more),
  )
}

function blocks(request: Hypercall, count: number): fc.Arbitrary<Block> {
  const fields = request.args.map(({ name, type }) => fieldValues[name] ?? valueOf(type, world))
  const set = request.variable ? sets : fc.constant(undefined)
  const list = request.rep ? elements(request, count) : fc.constant([])
  return fc.tuple(fc.tuple(...fields), set, list).map(([values, members, rest]) => {
    const banks = members?.values ?? []
    const bytes = new Uint8Array(Math.max(request.input, 16) + 8 * (banks.length + rest.length))
    const view = new DataView(bytes.buffer)
    for (const [i, { name, offset, size }] of request.args.entries()) {
      const given = values[i] as bigint
      const value =
        members && name === 'Format' ? members.format : members && name === 'ValidBanksMask' ? members.valid : given
      for (let byte = 0; byte < size; byte++) view.setUint8(offset + byte, Number((value >> BigInt(8 * byte)) & 0xffn))
    }
    for (const [i, word] of [...banks, ...rest].entries()) view.setBigUint64(request.input + 8 * i, word, true)
    return { bytes, header: banks.length }
  })
}

/** Mostly in the page that is for it. Other places for output are all wrong, so that nothing else is written. */
function placeOf(page: bigint, length: number): fc.Arbitrary<bigint> {
  const last = Math.floor((4096 - Math.min(length, 4096)) / 8)
  const inside = fc.nat(last).map((i) => page + BigInt(8 * i))
  const wrong = fc.constantFrom(page + 4n, page + 1n, BigInt(MEMORY), BigInt(MEMORY) - 4n, ALL, ALL - 7n)
  return often(20, inside, page === OUTPUT ? wrong : fc.oneof(wrong, addresses(Math.max(length, 8), 4, world)))
}

function callsOf(request: Hypercall): fc.Arbitrary<Step> {
  const counts = request.rep
    ? often(20, fc.integer({ min: 1, max: 5 }), fc.constantFrom(0, 600))
    : often(30, fc.constant(0), fc.constant(1))
  return counts.chain((count) =>
    fc
      .record({
        block: blocks(request, Math.min(count, 5)),
        start: often(10, fc.constant(0), fc.integer({ min: 0, max: 6 })),
        fast: fc.boolean(),
        odd: often(
          20,
          fc.constant(0n),
          fc.constantFrom(27, 31, 44, 60).map((bit) => 1n << BigInt(bit)),
        ),
        wrongHeader: often(30, fc.constant(0), fc.constant(1)),
        vcpu: vcpus,
        wide: fc.boolean(),
        illegal: often(40, fc.constant(undefined), fc.constantFrom('privilege', 'real', 'vmmcall')),
        length: fc.constant(count),
      })
      .chain(({ block, start, fast, odd, wrongHeader, vcpu, wide, illegal }) => {
        const inputs = request.input + 8 * block.header + (request.rep?.input ?? 0) * count
        const outputs = request.output + (request.rep?.output ?? 0) * count
        const small = inputs <= 112 && outputs === 0
        return fc
          .tuple(placeOf(INPUT, inputs), placeOf(OUTPUT, outputs), often(20, fc.constant(small), fc.constant(true)))
          .map(
            ([input, output, canBeFast]): CallStep => ({
              kind: 'call',
              request,
              code: request.number,
              vcpu,
              fast: fast && canBeFast,
              header: block.header + (request.variable ? 0 : wrongHeader),
              count,
              start: request.rep && start < count ? start : start > 4 ? start : 0,
              extra: odd,
              body: block.bytes,
              input,
              output,
              privilege: illegal === 'privilege' ? 3 : 0,
              protectedMode: illegal !== 'real',
              wide,
              instruction: illegal === 'vmmcall' ? 'vmmcall' : 'vmcall',
            }),
          )
      }),
  )
}

const known = hypercalls.filter((request) => request !== unknownHypercall)
const useful = known.filter(({ always, number }) => !always && number !== 0x5c && number !== 0x5d)
const hopeless = known.filter((request) => !useful.includes(request))
const codes = new Set(known.map(({ number }) => number))
const unknownCodes = fc.nat(0xffff).filter((code) => !codes.has(code))

const callSteps = fc.oneof(
  { weight: 12, arbitrary: fc.oneof(...useful.map(callsOf)) },
  { weight: 2, arbitrary: fc.oneof(...hopeless.map(callsOf)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(unknownCodes, callsOf(useful[0] as Hypercall))
      .map(([code, step]): Step => ({ ...(step as CallStep), request: undefined, code })),
  },
)

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 50, arbitrary: msrSteps },
  { weight: 40, arbitrary: callSteps },
  { weight: 5, arbitrary: fc.constantFrom(...leaves).map(({ number }): Step => ({ kind: 'cpuid', leaf: number })) },
  { weight: 10, arbitrary: fc.nat(3000).map((units): Step => ({ kind: 'advance', units })) },
  { weight: 5, arbitrary: fc.tuple(vcpus, fc.nat(15)).map(([vcpu, sint]): Step => ({ kind: 'clear', vcpu, sint })) },
  { weight: 1, arbitrary: vcpus.map((vcpu): Step => ({ kind: 'init', vcpu })) },
)

interface Setting {
  readonly features: ReadonlySet<string>
  /** The guest can make hypercalls from the start. */
  readonly enabled: boolean
}

const settings: fc.Arbitrary<Setting> = fc.record({
  features: someOf(Object.keys(features)),
  enabled: often(9, fc.constant(true), fc.constant(false)),
})

function same(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) throw new Error(`${inspect(actual)} instead of ${inspect(expected)}`)
}

class HypervSession extends Pair<Step, HypervPlatform, Model> {
  readonly #view: DataView

  constructor({ features: on, enabled }: Setting, listen: (event: Event) => void) {
    super({ world, make: (options) => new HypervPlatform(options), features: on, listen }, new Model(on))
    const { ram } = this.mock
    for (const i of ram.keys()) ram[i] = (i >> 12) + i
    this.#view = new DataView(ram.buffer)
    if (!enabled) return
    this.#write(0, GUEST_OS_ID, 1n)
    this.#write(0, HYPERCALL, (10n << 12n) | 1n)
  }

  override play(step: Step): void {
    super.play(step)
    this.#compareMessages()
  }

  protected override told(line: string): string {
    return line.startsWith('report') ? 'report' : line
  }

  protected step(step: Step): void {
    const model = this.model
    switch (step.kind) {
      case 'read': {
        const expected = model.read(step.vcpu, step.msr)
        same(this.platform.rdmsr(step.vcpu, step.msr) ?? '#GP', expected)
        break
      }
      case 'write':
        this.#write(step.vcpu, step.msr, step.value)
        break
      case 'cpuid':
        same(this.platform.cpuid(0, step.leaf, 0, [1, 2, 3, 4]).length, 4)
        break
      case 'advance':
        model.advance(100 * step.units)
        this.mock.advance(100 * step.units)
        break
      case 'clear': {
        const page = model.messagePage(step.vcpu)
        model.clearSlot(step.vcpu, step.sint)
        if (page !== undefined) this.#view.setUint32(Number(page) + 256 * step.sint, 0, true)
        break
      }
      case 'init':
        model.init(step.vcpu)
        this.platform.init(step.vcpu)
        break
      case 'call':
        this.#call(step)
    }
  }

  #write(vcpu: number, msr: number, value: bigint): void {
    const expected = this.model.write(vcpu, msr, value)
    same(this.platform.wrmsr(vcpu, msr, value) ? 'ok' : '#GP', expected)
  }

  #call(step: CallStep): void {
    const mock = this.mock
    const vcpu = this.vcpu(step.vcpu)
    vcpu.privilege = step.privilege
    vcpu.protectedMode = step.protectedMode
    vcpu.wide = step.wide
    const control =
      BigInt(step.code) |
      (step.fast ? 0x10000n : 0n) |
      (BigInt(step.header) << 17n) |
      (BigInt(step.count) << 32n) |
      (BigInt(step.start) << 48n) |
      step.extra
    let { input, output } = step
    if (step.fast) {
      const block = new Uint8Array(112)
      block.set(step.body.subarray(0, 112))
      const view = new DataView(block.buffer)
      input = view.getBigUint64(0, true)
      output = view.getBigUint64(8, true)
      for (let i = 0; i < 6; i++) vcpu.xmm[i]?.set(block.subarray(16 + 16 * i, 32 + 16 * i))
    } else if (input % 4096n <= 4096 - step.body.length) {
      // Only where blocks belong: a stray one must not be found elsewhere.
      if (input >= INPUT && input < OUTPUT) mock.effects.memory.write(input, step.body)
    }
    const low = (value: bigint) => value & 0xffff_ffffn
    const { registers } = vcpu
    const pairs = step.wide
      ? ([
          ['rcx', control],
          ['rdx', input],
          ['r8', output],
        ] as const)
      : ([
          ['rdx', control >> 32n],
          ['rax', low(control)],
          ['rbx', input >> 32n],
          ['rcx', low(input)],
          ['rdi', output >> 32n],
          ['rsi', low(output)],
        ] as const)
    for (const [name, value] of pairs) registers.set(name, value)

    const body = this.#body(step)
    const expected = expectCall(this.model, { ...step, body })
    const made = this.platform.hypercall(step.vcpu, step.instruction)
    if (!made || expected === '#UD') return same(made ? 'made' : '#UD', expected)
    const rax = registers.get('rax') as bigint
    const result = step.wide ? rax : ((registers.get('rdx') as bigint) << 32n) | rax
    same(result, BigInt(statusCodes[expected.status]) | (BigInt(expected.done) << 32n))
    if (step.code === 0x50 && expected.status !== 'HV_STATUS_ACCESS_DENIED')
      this.#compareOutput(step, body, expected.done)
  }

  /** What the platform sees as the input block: a stray address shows whatever is there. */
  #body(step: CallStep): Uint8Array {
    const block = new Uint8Array(8192)
    if (step.fast) block.set(step.body.subarray(0, 112))
    else if (step.input < BigInt(MEMORY)) {
      const at = Number(step.input)
      block.set(this.mock.ram.subarray(at, at + 4096))
    }
    return block
  }

  #compareOutput({ output, start }: CallStep, body: Uint8Array, done: number): void {
    const input = new DataView(body.buffer)
    for (let i = start; i < done; i++) {
      const name = input.getUint32(16 + 4 * i, true)
      const at = Number(output) + 16 * i
      const msr = msrOfRegister(name)
      if (msr === undefined) {
        const leaf = this.platform.cpuid(0, leafOfRegister(name) as number, 0, [0, 0, 0, 0])
        same(
          [0, 4, 8, 12].map((byte) => this.#view.getUint32(at + byte, true)),
          leaf.map((word) => word >>> 0),
        )
      } else same(this.#view.getBigUint64(at + 8, true), 0n)
    }
  }

  #compareMessages(): void {
    for (const [vcpu, { slots, pending }] of this.model.vps.entries()) {
      const page = this.model.messagePage(vcpu)
      if (page === undefined) continue
      for (const [sint, timer] of slots.entries()) {
        const at = Number(page) + 256 * sint
        const type = this.#view.getUint32(at, true)
        if (timer === undefined) same(type, 0)
        else {
          const seen = [type, this.#view.getUint32(at + 16, true), this.#view.getUint8(at + 5)]
          same(seen, [0x80000010, timer, pending[sint] ? 1 : 0])
        }
      }
    }
  }

  /** With every overlay gone, memory is what it was. */
  finish(): void {
    this.platform.wrmsr(0, GUEST_OS_ID, 0n)
    this.platform.wrmsr(0, REFERENCE_TSC, 0n)
    for (let vcpu = 0; vcpu < VCPUS; vcpu++) this.platform.init(vcpu)
    for (const [i, byte] of this.mock.ram.entries()) {
      const page = BigInt(i >> 12) << 12n
      if (page !== INPUT && page !== OUTPUT && byte !== (((i >> 12) + i) & 0xff))
        throw new Error(`memory at ${i.toString(16)} is not what it was`)
    }
  }
}

export const scenario: Scenario<Setting, Step> = {
  requests: hyperv.requests,
  setting: settings,
  step: steps,
  start: (setting, listen) => new HypervSession(setting, listen),
  describe: (step) =>
    inspect(step.kind === 'call' ? { ...step, request: step.request?.name } : step, {
      breakLength: Infinity,
      compact: true,
      maxArrayLength: 200,
    }),
}

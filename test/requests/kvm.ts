/** KVM's interface for `runner.ts`: steps drawn from the declarations, and the platform beside its model. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import { features } from '../../src/platforms/kvm/features.ts'
import { argumentRegisters, hypercalls } from '../../src/platforms/kvm/hypercalls.ts'
import { kvm, KvmPlatform } from '../../src/platforms/kvm/index.ts'
import { leaves } from '../../src/platforms/kvm/leaves.ts'
import { msrs } from '../../src/platforms/kvm/msrs.ts'
import { MEMORY, Model, Msrs, VCPUS } from './kvm-model.ts'
import { PairWithMemory } from './pair.ts'
import type { Scenario } from './runner.ts'
import { addresses, often, someOf, valueOf, type World } from './values.ts'

type Step =
  | { readonly kind: 'read'; readonly vcpu: number; readonly msr: number }
  | { readonly kind: 'write'; readonly vcpu: number; readonly msr: number; readonly value: bigint }
  | {
      readonly kind: 'call'
      readonly vcpu: number
      readonly number: bigint
      readonly values: readonly bigint[]
      readonly wide: boolean
      readonly privilege: number
    }
  | { readonly kind: 'cpuid'; readonly leaf: number }
  | { readonly kind: 'turn'; readonly vcpu: number; readonly stolen: number; readonly flush: boolean }
  /** An interrupt whose EOI can be left out, and whether the guest does so. */
  | { readonly kind: 'eoi'; readonly vcpu: number; readonly used: boolean }
  /** The guest has read the token of its page that is ready, or switched its APIC. */
  | { readonly kind: 'token'; readonly vcpu: number }
  | { readonly kind: 'apic'; readonly vcpu: number }
  | { readonly kind: 'tsc'; readonly vcpu: number; readonly offset: bigint }
  | { readonly kind: 'advance'; readonly nanoseconds: number }
  | { readonly kind: 'init'; readonly vcpu: number }

const world: World = { vcpus: VCPUS, memory: MEMORY }
const vcpu = fc.nat(VCPUS - 1)

/** Length and alignment of what an MSR's address names; bits that go with it. */
const areas: Readonly<Record<number, readonly [length: number, align: number, bits: readonly bigint[]]>> = {
  [Msrs.OLD_SYSTEM_TIME]: [32, 4, [1n, 1n, 0n]],
  [Msrs.SYSTEM_TIME]: [32, 4, [1n, 1n, 0n]],
  [Msrs.STEAL_TIME]: [64, 64, [1n, 1n, 0n]],
  [Msrs.PV_EOI_EN]: [4, 4, [1n, 1n, 0n]],
  [Msrs.ASYNC_PF_EN]: [64, 64, [9n, 9n, 9n, 11n, 1n, 0n, 8n]],
}

function msrValue(number: number): fc.Arbitrary<bigint> {
  const area = areas[number]
  const type = msrs.find((msr) => msr.number === number)?.args[0]?.type
  if (!area) return type ? valueOf(type, world) : fc.bigInt(0n, 255n)
  const [length, align, bits] = area
  const good = fc.tuple(addresses(length, align, world), fc.constantFrom(...bits)).map(([at, low]) => at | low)
  return often(12, good, fc.bigInt(0n, (1n << 64n) - 1n))
}

const writable = fc.constantFrom(...msrs.map(({ number }) => number))
const anyMsr = often(12, writable, fc.integer({ min: 0x4b564d09, max: 0x4b564dff }))
const reads = fc.record({ kind: fc.constant('read' as const), vcpu, msr: anyMsr })
const writes = anyMsr.chain((msr) =>
  fc.record({ kind: fc.constant('write' as const), vcpu, msr: fc.constant(msr), value: msrValue(msr) }),
)

/** Mostly fixed interrupts and NMIs. */
const icr = often(
  8,
  fc.oneof(fc.integer({ min: 16, max: 255 }), fc.constantFrom(0x400, 0xc0fb)).map(BigInt),
  fc.bigInt(0n, 0xf_ffffn),
)

const calls = fc
  .tuple(vcpu, fc.constantFrom(...hypercalls), fc.nat(40), fc.nat(20))
  .chain(([on, request, odd, user]) => {
    const values = request.args.map(({ name, type }) => (name === 'icr' ? icr : valueOf(type, world)))
    const unknown = fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, (1n << 64n) - 1n))
    return fc.record({
      kind: fc.constant('call' as const),
      vcpu: fc.constant(on),
      number: odd === 0 ? unknown : fc.constant(BigInt(request.number)),
      values: fc.tuple(...values),
      wide: often(3, fc.constant(true), fc.constant(false)),
      privilege: fc.constant(user === 0 ? 3 : 0),
    })
  })

const cpuids = fc.record({ kind: fc.constant('cpuid' as const), leaf: fc.constantFrom(...leaves.map((l) => l.number)) })

const others: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('turn' as const), vcpu, stolen: fc.nat(1000), flush: fc.boolean() }),
  fc.record({ kind: fc.constant('turn' as const), vcpu, stolen: fc.nat(1000), flush: fc.boolean() }),
  fc.record({ kind: fc.constant('eoi' as const), vcpu, used: fc.boolean() }),
  fc.record({ kind: fc.constant('token' as const), vcpu }),
  fc.record({ kind: fc.constant('apic' as const), vcpu }),
  fc.record({ kind: fc.constant('tsc' as const), vcpu, offset: fc.constantFrom(0n, 0n, 0n, -5n, 1n << 40n) }),
  fc.record({ kind: fc.constant('advance' as const), nanoseconds: fc.nat(1_000_000) }),
  fc.record({ kind: fc.constant('init' as const), vcpu }),
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: reads },
  { weight: 12, arbitrary: writes },
  { weight: 12, arbitrary: calls },
  { weight: 2, arbitrary: cpuids },
  { weight: 5, arbitrary: others },
)

class KvmSession extends PairWithMemory<Step, KvmPlatform, Model> {
  constructor(on: ReadonlySet<string>, listen: (event: Event) => void) {
    super({ world, make: (options) => new KvmPlatform(options), features: on, listen }, new Model(on))
  }

  protected step(next: Step): void {
    const model = this.model
    const platform = this.platform
    switch (next.kind) {
      case 'read':
        return strictEqual(platform.rdmsr(next.vcpu, next.msr) ?? '#GP', model.read(next.vcpu, next.msr))
      case 'write': {
        const done = platform.wrmsr(next.vcpu, next.msr, next.value) ? 0n : '#GP'
        return strictEqual(done, model.write(next.vcpu, next.msr, next.value))
      }
      case 'call':
        return this.#call(next)
      case 'cpuid':
        return void platform.cpuid(0, next.leaf, 0, [0, 0, 0, 0])
      case 'turn': {
        platform.leave(next.vcpu)
        model.turn(next.vcpu)
        const { steal } = model.vcpu(next.vcpu)
        if (next.flush && steal & 1n && steal < BigInt(MEMORY)) this.poke(Number(steal & ~63n) + 16, 3)
        this.vcpu(next.vcpu).stolen += next.stolen
        model.vcpu(next.vcpu).stolen += next.stolen
        platform.enter(next.vcpu)
        return model.enter(next.vcpu)
      }
      case 'eoi': {
        const { assist } = this.vcpu(next.vcpu)
        strictEqual(assist !== undefined, (model.vcpu(next.vcpu).eoi & 1n) === 1n)
        if (!assist) return
        assist.offer()
        model.offer(next.vcpu)
        if (next.used) this.poke(Number(model.vcpu(next.vcpu).eoi & ~1n), 0)
        return strictEqual(assist.withdraw(), model.withdraw(next.vcpu))
      }
      case 'token': {
        const { faults } = model.vcpu(next.vcpu)
        if ((faults & ~63n) < BigInt(MEMORY)) for (let i = 4; i < 8; i++) this.poke(Number(faults & ~63n) + i, 0)
        return
      }
      case 'apic':
        this.vcpu(next.vcpu).apicEnabled = !this.vcpu(next.vcpu).apicEnabled
        model.vcpu(next.vcpu).apic = this.vcpu(next.vcpu).apicEnabled
        return
      case 'tsc':
        this.vcpu(next.vcpu).tscOffset = next.offset
        model.vcpu(next.vcpu).offset = next.offset
        return
      case 'advance':
        this.mock.advance(next.nanoseconds)
        model.now += next.nanoseconds
        return
      case 'init':
        platform.init(next.vcpu)
        return model.init(next.vcpu)
    }
  }

  #call({ vcpu: index, number, values, wide, privilege }: Step & { kind: 'call' }): void {
    const target = this.vcpu(index)
    target.wide = wide
    target.privilege = privilege
    target.registers.set('rax', number)
    for (const [i, value] of values.entries()) target.registers.set(argumentRegisters[i] as 'rbx', value)
    const before = new Map(target.registers)
    // What the declaration leaves out is what it was.
    const all = argumentRegisters.map((name) => before.get(name) as bigint)
    strictEqual(this.platform.hypercall(index, 'vmcall'), true)
    strictEqual(target.registers.get('rax'), this.model.call(index, number, all, wide, privilege))
    target.registers.set('rax', number)
    deepStrictEqual(target.registers, before)
  }

  finish(): void {
    for (let index = 0; index < VCPUS; index++)
      for (const { number } of msrs)
        strictEqual(this.platform.rdmsr(index, number) ?? '#GP', this.model.read(index, number))
  }
}

export const scenario: Scenario<ReadonlySet<string>, Step> = {
  requests: kvm.requests,
  setting: someOf(Object.keys(features)),
  step,
  start: (on, listen) => new KvmSession(on, listen),
  describe: (next) => inspect(next, { breakLength: Infinity }),
}

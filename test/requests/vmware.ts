/** VMware's interface for `runner.ts`: steps drawn from the declarations, and the platform beside its model. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import { commands } from '../../src/platforms/vmware/commands.ts'
import { counters } from '../../src/platforms/vmware/counters.ts'
import { features } from '../../src/platforms/vmware/features.ts'
import { vmware, VmwarePlatform } from '../../src/platforms/vmware/index.ts'
import { leaves } from '../../src/platforms/vmware/leaves.ts'
import { PairWithMemory } from './pair.ts'
import type { Scenario } from './runner.ts'
import { addresses, often, someOf, valueOf, type World } from './values.ts'
import { MEMORY, Model, type Registers, VCPUS } from './vmware-model.ts'

type Way = 'in' | 'out' | 'hypercall'
type Step =
  | {
      readonly kind: 'command'
      readonly vcpu: number
      readonly ecx: number
      readonly registers: Partial<Registers>
      /** Use an open channel, and its cookie. */
      readonly channel: boolean
      readonly pick: number
      readonly way: Way
      readonly user: boolean
    }
  /** A whole request in text, and its answer, each by one of the ways. */
  | { readonly kind: 'request'; readonly pick: number; readonly text: string; readonly ways: readonly Bulk[] }
  | { readonly kind: 'bulk'; readonly pick: number; readonly bulk: Bulk; readonly out: boolean; readonly count: number }
  | { readonly kind: 'counter'; readonly vcpu: number; readonly index: number }
  | { readonly kind: 'cpuid'; readonly leaf: number }
  | { readonly kind: 'turn'; readonly vcpu: number; readonly stolen: number }
  | { readonly kind: 'advance'; readonly nanoseconds: number }
  | { readonly kind: 'init'; readonly vcpu: number }

type Bulk = 'port' | 'hypercall'

const MAGIC = 0x564d5868
const PORT = 0x5658
const HIGH_PORT = 0x5659
const BUFFER = 0x2000
const MESSAGE = 30
const names = { eax: 'rax', ebx: 'rbx', ecx: 'rcx', edx: 'rdx', esi: 'rsi', edi: 'rdi', ebp: 'rbp' } as const

const world: World = { vcpus: VCPUS, memory: MEMORY }
const vcpu = fc.nat(VCPUS - 1)
const u32 = (value: fc.Arbitrary<bigint>) => value.map((big) => Number(BigInt.asUintN(32, big)))

const way = fc.constantFrom<Way>('in', 'in', 'out', 'hypercall')
const bulk = fc.constantFrom<Bulk>('port', 'hypercall')
/** Payload sizes that a channel can hope to get. */
const sizes = often(10, fc.nat(40), fc.integer({ min: 0x10001, max: 0xffff_ffff }))

const someCommands = fc.constantFrom(...commands).chain((command) => {
  const registers: Partial<Record<keyof Registers, fc.Arbitrary<number>>> = {}
  for (const [i, name] of command.inputs.entries()) {
    const type = command.args[i]?.type
    if (type) registers[name] = u32(valueOf(type, world))
  }
  if (command.number === 91) {
    registers.ebx = often(15, fc.constant(0), fc.constant(1))
    registers.esi = often(15, fc.constant(0), fc.constant(1))
    registers.edi = often(4, u32(addresses(64, 64, world)), fc.constant(1))
  }
  if (command.name === 'MESSAGE_TYPE_SENDSIZE') registers.ebx = sizes
  return fc.record({
    kind: fc.constant('command' as const),
    vcpu,
    ecx: often(20, fc.constant(command.number), fc.integer({ min: 0, max: 0xfffff })),
    registers: fc.record(registers) as fc.Arbitrary<Partial<Registers>>,
    channel: often(6, fc.constant(true), fc.constant(false)),
    pick: fc.nat(7),
    way,
    user: often(8, fc.constant(false), fc.constant(true)),
  })
})

const texts = often(
  4,
  fc
    .tuple(fc.constantFrom('info-get', 'info-set'), fc.nat(5), fc.constantFrom('', ' ', ' x', ' two words'))
    .map(([verb, key, value]) => `${verb} guestinfo.${key}${verb === 'info-set' ? value : ''}`),
  fc.constantFrom('log something', 'log ', 'log', '', 'nonsense', 'info-get other', 'info-set other 1'),
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: someCommands },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('request' as const),
      pick: fc.nat(7),
      text: texts,
      ways: fc.tuple(bulk, bulk),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('bulk' as const),
      pick: fc.nat(7),
      bulk,
      out: fc.boolean(),
      count: fc.nat(20),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('counter' as const),
      vcpu,
      index: often(9, fc.constantFrom(...counters.map(({ number }) => number)), fc.integer({ min: 0, max: 0x10005 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('cpuid' as const),
      leaf: fc.constantFrom(...leaves.map((l) => l.number)),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const), vcpu, stolen: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('advance' as const), nanoseconds: fc.nat(2_000_000_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('init' as const), vcpu }) },
)

class VmwareSession extends PairWithMemory<Step, VmwarePlatform, Model> {
  constructor(on: ReadonlySet<string>, listen: (event: Event) => void) {
    super({ world, make: (options) => new VmwarePlatform(options), features: on, listen }, new Model(on))
  }

  finish(): void {}

  protected step(next: Step): void {
    const platform = this.platform
    const model = this.model
    switch (next.kind) {
      case 'command':
        return this.#someCommand(next)
      case 'request':
        return this.#request(next.pick, next.text, next.ways)
      case 'bulk':
        return this.#bulk(this.#channel(next.pick), next.bulk, next.out, next.count)
      case 'counter':
        return strictEqual(platform.rdpmc(next.vcpu, next.index), model.counter(next.index))
      case 'cpuid':
        return void platform.cpuid(0, next.leaf, 0, [0, 0, 0, 0])
      case 'turn':
        this.vcpu(next.vcpu).stolen += next.stolen
        model.stolen[next.vcpu] = this.vcpu(next.vcpu).stolen
        platform.enter(next.vcpu)
        return model.enter(next.vcpu)
      case 'advance':
        this.mock.advance(next.nanoseconds)
        model.now += next.nanoseconds
        return
      case 'init':
        platform.init(next.vcpu)
        return model.init(next.vcpu)
    }
  }

  /** An open channel, or 0. */
  #channel(pick: number): number {
    const { open } = this.model
    return open[pick % Math.max(1, open.length)] ?? 0
  }

  #someCommand({ vcpu: index, ecx, registers, channel, pick, way: by, user }: Step & { kind: 'command' }): void {
    const given: Registers = { eax: MAGIC, ebx: 0, ecx, edx: 0, esi: 0, edi: 0, ebp: 0, ...registers }
    if (channel && (ecx & 0xffff) === MESSAGE && ecx !== MESSAGE) {
      const id = this.#channel(pick)
      const [high, low] = this.model.cookie(id)
      Object.assign(given, { edx: id << 16, esi: high, edi: low })
    }
    this.#command(index, given, by, user ? 3 : 0)
  }

  /** One command on both sides; returns the registers afterwards. */
  #command(index: number, given: Registers, by: Way, privilege: number): Registers {
    const target = this.vcpu(index)
    target.privilege = privilege
    // A hypercall's low half of EDX is not the port.
    const registers = { ...given, edx: ((given.edx & 0xffff0000) | (by === 'hypercall' ? 0 : PORT)) >>> 0 }
    const upper = 0x5_0000_0000n
    for (const [name, register] of Object.entries(names))
      target.registers.set(register, (name === 'eax' ? 0n : upper) | BigInt(registers[name as keyof Registers]))
    if (by === 'hypercall' && !this.model.features.has('hypercall')) {
      strictEqual(this.platform.hypercall(index, 'vmcall'), false)
      return registers
    }
    const expected = { ...registers }
    expected.eax = this.model.command(index, privilege, expected)
    if (by === 'in') target.registers.set('rax', BigInt(this.platform.portIn(index, PORT, 4) as number))
    else if (by === 'out') strictEqual(this.platform.portOut(index, PORT, 4, MAGIC), true)
    else strictEqual(this.platform.hypercall(index, 'vmcall'), true)
    const after = { ...registers }
    for (const [name, register] of Object.entries(names)) {
      const value = target.registers.get(register) as bigint
      strictEqual(value >> 32n, name === 'eax' ? 0n : 5n)
      after[name as keyof Registers] = Number(value & 0xffff_ffffn)
    }
    if (registers.ecx === MESSAGE && after.ecx >>> 16 === 1) {
      this.model.learn(after.edx >>> 16, after.esi, after.edi)
      const cookie = this.model.cookie(after.edx >>> 16)
      Object.assign(expected, { esi: cookie[0], edi: cookie[1] })
    }
    deepStrictEqual(after, expected)
    return after
  }

  #message(type: number, id: number, ebx: number): Registers {
    const [esi, edi] = this.model.cookie(id)
    return this.#command(0, { eax: MAGIC, ebx, ecx: MESSAGE | (type << 16), edx: id << 16, esi, edi, ebp: 0 }, 'in', 0)
  }

  #request(pick: number, text: string, [first, second]: readonly Bulk[]): void {
    const id = this.#channel(pick)
    this.#message(1, id, text.length)
    this.poke(BUFFER, ...new TextEncoder().encode(text))
    if (text) this.#bulk(id, first as Bulk, true, text.length)
    const { ecx, ebx } = this.#message(3, id, 0)
    if (((ecx >>> 16) & 2) === 0) return
    // Four bytes of it, and then all from the start.
    this.#message(4, id, 1)
    this.#message(3, id, 0)
    this.#bulk(id, second as Bulk, false, ebx)
    this.#message(5, id, 1)
  }

  /** Bytes from the buffer or to it. */
  #bulk(id: number, by: Bulk, out: boolean, count: number): void {
    const [high, low] = this.model.cookie(id)
    const [esi, edi, ebp] = out ? [BUFFER, low, high] : [high, BUFFER, low]
    const start: Registers = { eax: MAGIC, ebx: 0x10000, ecx: count, edx: id << 16, esi, edi, ebp }
    const model = { ...start }
    const target = this.vcpu(0)
    const set = (name: keyof Registers, value: number) => target.registers.set(names[name], BigInt(value >>> 0))
    for (const name of Object.keys(names) as (keyof Registers)[]) set(name, start[name])
    const bytes = Array.from(this.mock.ram.subarray(BUFFER, BUFFER + count))
    if (by === 'hypercall') {
      set('edx', (id << 16) | (out ? 3 : 1))
      const has = this.model.features.has('hypercall')
      strictEqual(this.platform.hypercall(0, 'vmcall'), has)
      if (!has || count === 0) return
      const moved = this.model.high(out, model, bytes, count)
      strictEqual(Number(target.registers.get('rbx')), model.ebx)
      strictEqual(Number(target.registers.get('rcx')), moved ? 0 : count)
      this.model.ram.set(moved ?? [], BUFFER)
      return
    }
    set('edx', (id << 16) | HIGH_PORT)
    for (let i = 0; i < count; i++) {
      set('ecx', count - i)
      if (out) {
        this.model.high(true, model, [bytes[i] as number], 1)
        strictEqual(this.platform.portOut(0, HIGH_PORT, 1, bytes[i] as number), true)
      } else {
        const [byte = 0xff] = this.model.high(false, model, [], 1) ?? []
        strictEqual(this.platform.portIn(0, HIGH_PORT, 1), byte)
      }
      strictEqual(Number(target.registers.get('rbx')), model.ebx)
    }
  }
}

export const scenario: Scenario<ReadonlySet<string>, Step> = {
  requests: vmware.requests,
  setting: someOf(Object.keys(features)),
  step,
  start: (on, listen) => new VmwareSession(on, listen),
  describe: (next) => inspect(next, { breakLength: Infinity }),
}

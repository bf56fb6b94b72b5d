/** VMI's interface for `runner.ts`: calls of the counting ROM, drawn from the declarations, beside the model. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import { calls } from '../../src/platforms/vmi/calls.ts'
import { IRET } from '../../src/platforms/vmi/iret.ts'
import { VmiPlatform } from '../../src/platforms/vmi/index.ts'
import { Pair } from './pair.ts'
import type { Scenario } from './runner.ts'
import { often, valueOf, type World } from './values.ts'
import { MEMORY, Model, VCPUS } from './vmi-model.ts'

type Words = readonly [number, number, number, number, number]

type Step =
  | { readonly kind: 'call'; readonly vcpu: number; readonly number: number; readonly words: Words }
  | { readonly kind: 'turn'; readonly vcpu: number; readonly stolen: number }
  | { readonly kind: 'advance'; readonly nanoseconds: number }

const world: World = { vcpus: VCPUS, memory: MEMORY }
const STACK = 0x8000
const SITE = 0x1005
const vcpu = fc.nat(VCPUS - 1)
const u32 = fc.nat(0xffff_ffff)
const page = often(9, fc.nat(MEMORY / 4096 - 1), u32)
const level = often(6, fc.constantFrom(0x51, 0x52, 0x41, 0x72, 0x04), fc.nat(0xfff))
const soon = fc.nat(20_000_000)

/** Where the declared types say too little for most calls to succeed. */
const special: Readonly<Record<number, readonly fc.Arbitrary<number>[]>> = {
  44: [page, level, page, fc.nat(512), often(6, fc.nat(512), u32)],
  45: [page, level],
  67: [often(8, fc.nat(2), u32)],
  68: [
    often(8, fc.constantFrom(0, 1, 0x100, 0x101, 0x10000, 0x10100, 0x10101), u32),
    soon,
    often(9, fc.constant(0), fc.nat(0xfffff)),
    soon,
    often(9, fc.constant(0), fc.nat(0xfffff)),
  ],
  69: [often(8, fc.constantFrom(0, 1, 0x100, 0x10000), u32)],
}

const someCall = fc.constantFrom(...calls).chain(({ number, args }) => {
  const given =
    special[number] ?? args.map(({ type }) => valueOf(type, world).map((v) => Number(BigInt.asUintN(32, v))))
  const words = [0, 1, 2, 3, 4].map((i) => given[i] ?? u32)
  return fc.record({
    kind: fc.constant('call' as const),
    vcpu,
    number: fc.constant(number),
    words: fc.tuple(...words) as unknown as fc.Arbitrary<Words>,
  })
})

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: someCall },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const), vcpu, stolen: fc.nat(3_000_000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('advance' as const), nanoseconds: fc.nat(20_000_000) }) },
)

class VmiSession extends Pair<Step, VmiPlatform, Model> {
  constructor(listen: (event: Event) => void) {
    const features = new Set(['counting'])
    super({ world, make: (options) => new VmiPlatform(options), features, listen }, new Model())
    for (const each of this.mock.vcpus) each.wide = false
    this.mock.log.length = 0
  }

  finish(): void {}

  protected step(next: Step): void {
    switch (next.kind) {
      case 'call':
        return this.#call(next)
      case 'turn':
        this.vcpu(next.vcpu).stolen += next.stolen
        this.model.stolen[next.vcpu] = this.vcpu(next.vcpu).stolen
        return
      case 'advance':
        this.mock.advance(next.nanoseconds)
        return this.model.advance(next.nanoseconds)
    }
  }

  #call({ vcpu: index, number, words }: Step & { kind: 'call' }): void {
    const target = this.vcpu(index)
    const view = new DataView(this.mock.ram.buffer)
    for (const [i, word] of [number, SITE, ...words.slice(3)].entries()) view.setUint32(STACK + 4 * i, word, true)
    const registers = ['rax', 'rdx', 'rcx'] as const
    for (const [i, name] of registers.entries()) target.registers.set(name, BigInt(words[i] as number))
    target.registers.set('rsp', BigInt(STACK))
    const done = this.platform.hypercall(index, 'vmcall')
    if (number === IRET) {
      strictEqual(done, 'again')
      this.model.log.push(`iret ${index} 0x${(SITE - 5).toString(16)} 0x${(STACK + 8).toString(16)}`)
      return
    }
    strictEqual(done, true)
    const result = this.model.call(index, number, words)
    const expected = words.slice(0, 3).map(BigInt)
    if (typeof result === 'number') expected[0] = BigInt(result)
    if (typeof result === 'bigint') expected.splice(0, 2, result & 0xffff_ffffn, result >> 32n)
    deepStrictEqual(
      registers.map((name) => target.registers.get(name)),
      expected,
    )
  }
}

export const scenario: Scenario<null, Step> = {
  requests: calls,
  setting: fc.constant(null),
  step,
  start: (_, listen) => new VmiSession(listen),
  describe: (each) => JSON.stringify(each),
}

/** Values for declared arguments: mostly such as make sense, now and then boundaries, reserved bits and nonsense. */
import * as fc from 'fast-check'
import type { ArgumentType } from '../../src/paravirt/requests.ts'

export interface World {
  readonly vcpus: number
  /** Bytes of RAM. */
  readonly memory: number
}

const maximum = { u8: 0xffn, u16: 0xffffn, u32: 0xffff_ffffn, u64: (1n << 64n) - 1n, s64: (1n << 64n) - 1n } as const
const ALL = maximum.u64

const number = (max: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.bigInt(0n, max < 16n ? max : 16n) },
    { weight: 2, arbitrary: fc.bigInt(0n, max) },
    { weight: 1, arbitrary: fc.constantFrom(0n, 1n, max, max - 1n, (max >> 1n) + 1n) },
  )

/** `good` ones, and one in `weight + 1` a `rare` one. */
export const often = <T>(weight: number, good: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: good }, { weight: 1, arbitrary: rare })

const mostly = <T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<T>): fc.Arbitrary<T> => often(8, good, bad)

/** All of these names, or some: which features are on. */
export const someOf = (names: readonly string[]): fc.Arbitrary<ReadonlySet<string>> =>
  often(3, fc.constant([...names]), fc.subarray([...names])).map((on) => new Set(on))

export function addresses(length: number, align: number, { memory }: World): fc.Arbitrary<bigint> {
  const places = Math.floor((memory - length) / align)
  return mostly(
    fc.nat(places).map((i) => BigInt(i * align)),
    fc.oneof(
      fc.nat(memory - 1).map(BigInt),
      fc.constantFrom(0, 1, 8, 4095, 4096).map((back) => BigInt(memory - back)),
      fc.bigInt(0n, ALL),
      fc.constantFrom(ALL, ALL - 7n, 1n << 63n, 0xffff_f000n),
    ),
  )
}

export function valueOf(type: ArgumentType, world: World): fc.Arbitrary<bigint> {
  switch (type.kind) {
    case 'gpa':
      return addresses(type.length, type.align, world)
    case 'linear':
      return fc.bigInt(0n, ALL)
    case 'vcpu':
      return mostly(fc.nat(world.vcpus - 1).map(BigInt), number(maximum.u32))
    case 'vector':
      return mostly(fc.integer({ min: 16, max: 255 }).map(BigInt), number(maximum.u32))
    case 'flags': {
      const masks = Object.values(type.bits).map((bit) => 1n << BigInt(bit))
      const good = fc.subarray(masks).map((some) => some.reduce((all, mask) => all | mask, 0n))
      return mostly(good, fc.bigInt(0n, ALL))
    }
    case 'choice':
      return mostly(fc.constantFrom(...Object.values(type.values).map(BigInt)), number(maximum.u32))
    case 'fields': {
      const parts = type.fields.map(([, bit, width]) =>
        number((1n << BigInt(width)) - 1n).map((value) => value << BigInt(bit)),
      )
      const good = fc.tuple(...parts).map((values) => values.reduce((all, value) => all | value, 0n))
      return mostly(good, fc.bigInt(0n, ALL))
    }
    case 'text':
      throw new Error('texts are drawn by those who know what they mean')
    default:
      return number(maximum[type.kind])
  }
}

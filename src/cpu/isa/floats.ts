/**
 * The test behind every fast way of SSE arithmetic, as integer comparisons of bits. WebAssembly rounds to nearest and
 * has no exception flags, so its result serves where no flag can be raised that MXCSR does not have yet.
 *
 * An operand is tame if it is neither denormal (DE) nor a NaN (IE). A result is ordinary if it is normal and finite: its
 * operation raised at most PE, and no operand was a NaN or, but for a divisor, infinite. The least normal number is not:
 * it may come from a tiny result, which raises UE, rounded up.
 */
import type { Code } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'
import type { Effect, Value } from './ir.ts'

export type FloatsEffect = Extract<Effect, { kind: 'floats' }>
export type FloatsShape = Pick<FloatsEffect, 'bits' | 'packed'>

const PE = 0x20
const PM = 0x1000
const RC = 0x6000

/** Bits doubled, so without sign: of the least normal number, and of infinity. */
const LEAST = { 32: 1n << 24n, 64: 1n << 53n }
const INFINITY = { 32: 0xff000000n, 64: 0xffe0000000000000n }
/** Doubled bits above this are ordinary. */
const lowest = (bits: 32 | 64) => LEAST[bits] + 2n
/** How many values of doubled bits from there are ordinary. */
const span = (bits: 32 | 64) => INFINITY[bits] - lowest(bits)

/** A lane's integer type; vectors compare signed, so their numbers are moved by half the range. */
const integer = (bits: 32 | 64) => (bits === 32 ? 'i32' : 'i64')
const shapeOf = (bits: 32 | 64) => (bits === 32 ? 'i32x4' : 'i64x2')

/** The type of the limit below which a result's number lies, and how a consumer of recordings makes it. */
export function limitType({ bits, packed }: FloatsShape): Ty {
  return packed ? 'v128' : integer(bits)
}
export function makeLimit(c: Code, { bits, packed }: FloatsShape, mxcsr: () => void): void {
  const half = packed ? 1n << BigInt(bits - 1) : 0n
  const constant = (n: bigint) => (bits === 32 ? c.i32(Number(BigInt.asIntN(32, n))) : c.i64(BigInt.asIntN(64, n)))
  constant(span(bits) - half)
  constant(-half)
  mxcsr()
  // Nothing is ordinary if PE would show or rounding is another.
  c.i32(PE | PM | RC)
    .op('i32.and')
    .i32(PE | PM)
    .op('i32.eq')
    .select()
  if (packed) c.op(`${shapeOf(bits)}.splat`)
}

/** What a consumer of recordings has for the test. */
export interface FloatsHost {
  use(v: Value): void
  limit(shape: FloatsShape): void
  vector(value: Uint8Array): void
}

/** A vector with the same number in all lanes. */
function lanes(bits: 32 | 64, n: bigint): Uint8Array {
  const words = bits === 32 ? new BigUint64Array(2).fill(BigInt.asUintN(32, n) * 0x100000001n) : undefined
  return new Uint8Array((words ?? new BigUint64Array(2).fill(BigInt.asUintN(64, n))).buffer)
}

/** Leaves on the stack whether operands `unknown` are tame and the result is ordinary (i32). */
export function emitFloats(c: Code, host: FloatsHost, e: FloatsEffect, unknown: readonly Value[]): void {
  const { bits, packed, outcome } = e
  let parts = 0
  const part = (emit: () => void) => {
    emit()
    if (parts++ > 0) c.op(packed ? 'v128.and' : 'i32.and')
  }
  const tests = packed ? packedTests(c, host, bits) : scalarTests(c, host, bits)
  if (outcome) part(() => tests.ordinary(outcome))
  for (const v of unknown) {
    part(() => tests.notDenormal(v))
    // A NaN shows in the result.
    if (!outcome)
      part(() => {
        host.use(v)
        host.use(v)
        c.op(`${packed ? `f${shapeOf(bits).slice(1)}` : `f${bits}`}.eq`)
      })
  }
  if (parts === 0) c.i32(1)
  else if (packed)
    c.op(`${shapeOf(bits)}.bitmask`)
      .i32(bits === 32 ? 15 : 3)
      .op('i32.eq')
}

function scalarTests(c: Code, host: FloatsHost, bits: 32 | 64) {
  const ty = integer(bits)
  const constant = (n: bigint) => (bits === 32 ? c.i32(Number(BigInt.asIntN(32, n))) : c.i64(BigInt.asIntN(64, n)))
  const doubled = (v: Value) => {
    host.use(v)
    c.op(`${ty}.reinterpret_f${bits}`)
    constant(1n)
    c.op(`${ty}.shl`)
  }
  return {
    ordinary(v: Value) {
      doubled(v)
      constant(lowest(bits))
      c.op(`${ty}.sub`)
      host.limit({ bits, packed: false })
      c.op(`${ty}.lt_u`)
    },
    // A zero wraps around to the largest.
    notDenormal(v: Value) {
      doubled(v)
      constant(1n)
      c.op(`${ty}.sub`)
      constant(LEAST[bits] - 1n)
      c.op(`${ty}.ge_u`)
    },
  }
}

function packedTests(c: Code, host: FloatsHost, bits: 32 | 64) {
  const shape = shapeOf(bits)
  const half = 1n << BigInt(bits - 1)
  const constant = (n: bigint) => host.vector(lanes(bits, n))
  const doubled = (v: Value) => {
    host.use(v)
    c.i32(1).op(`${shape}.shl`)
  }
  return {
    ordinary(v: Value) {
      doubled(v)
      constant(-lowest(bits) - half)
      c.op(`${shape}.add`)
      host.limit({ bits, packed: true })
      c.op(`${shape}.lt_s`)
    },
    notDenormal(v: Value) {
      doubled(v)
      constant(half - 1n)
      c.op(`${shape}.add`)
      constant(LEAST[bits] - 2n - half)
      c.op(`${shape}.gt_s`)
    },
  }
}

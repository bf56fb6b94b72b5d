/** What the MMX and SSE families share: availability, aligned operands, byte patterns, MMX values in vectors. */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row, type RowOptions } from './row.ts'
import type { Semantics } from './semantics.ts'

/** #UD or #NM where SSE is off (CR0.EM, CR4.OSFXSR, CR0.TS; SDM Vol. 3A table 2-2). */
export function simd(s: Semantics): void {
  s.steady(S.SIMD_TRAP, () => {
    const trap = s.state(S.SIMD_TRAP)
    s.if(trap, () => {
      s.fault(s.and(trap, 1), 6)
      s.fault(undefined, 7)
    })
  })
}

/** A 128-bit operand; in memory it must be aligned (#GP(0)). */
export function aligned(s: Semantics, i: number): Value {
  if (!s.isMem(i)) return s.read(i, 'v128')
  return s.load(alignedAddress(s), 'v128')
}

/** The memory operand's address, checked for alignment. */
export function alignedAddress(s: Semantics, write = false) {
  const address = s.ea()
  const linear = s.linear(address, 16, write, true)
  s.fault(s.toI32(s.and(linear, 15n)), 13, 0)
  return address.kind === 'flat' ? address : s.at(linear)
}

/** A 128-bit constant from bytes, repeated to 16. */
export function bytes(s: Semantics, ...pattern: number[]): Value {
  return s.kv(Uint8Array.from({ length: 16 }, (_, i) => pattern[i % pattern.length] as number))
}

export const iota = (s: Semantics) => s.kv(Uint8Array.from({ length: 16 }, (_, i) => i))
export const zero = (s: Semantics) => bytes(s, 0)

/** i8x16.shuffle with constant lanes. */
export function shuffle(s: Semantics, a: Value, b: Value, lanes: readonly number[]): Value {
  return s.op('i8x16.shuffle', [a, b], lanes)
}

/** Lanes of a shuffle that moves units of `size` bytes. */
export function units(size: number, ...order: number[]): number[] {
  return order.flatMap((unit) => Array.from({ length: size }, (_, i) => unit * size + i))
}

/** The low halves (`high` 0) or the high halves of a and b interleaved in units of `size` bytes. */
export function interleaved(s: Semantics, a: Value, b: Value, size: number, high: number): Value {
  const n = 16 / size
  return shuffle(
    s,
    a,
    b,
    units(size, ...Array.from({ length: n }, (_, i) => (high * n) / 2 + (i >> 1) + (i & 1 ? n : 0))),
  )
}

export function lane(s: Semantics, name: string, v: Value, index: number): Value {
  return s.op(name, [v], [index])
}

/** A 64-bit value in both halves of a vector. */
export function wide(s: Semantics, v: Value): Value {
  return s.op('i64x2.splat', [v])
}
/** An i64 with a zero above it. */
export function clear64(s: Semantics, value: Value): Value {
  return s.op('i64x2.replace_lane', [zero(s), value], [0])
}
export function low64(s: Semantics, v: Value): Value {
  return lane(s, 'i64x2.extract_lane', v, 0)
}

/** Store an MMX result: the register's exponent becomes all ones, the x87 stack is marked full. */
export function writeMmx(s: Semantics, i: number, value: Value): void {
  s.call('mmxEnter', [])
  s.setMmx(i, value)
}

export type VectorOp = (s: Semantics, a: Value, b: Value) => Value
/** How an MMX operation comes from the 128-bit one: its low half, its high half, or of both sources side by side. */
export type MmxForm = 'low' | 'high' | 'pair' | 'none'

const hex = (opcode: number) => opcode.toString(16).toUpperCase().padStart(2, '0')

/**
 * A two-operand integer operation on XMM registers, and on MMX registers if `mmx` says how. `map` is '0F' or '0F 38'.
 */
export function vectorRow(
  name: string,
  map: string,
  opcode: number,
  f: VectorOp,
  mmx: MmxForm = 'low',
  options: RowOptions = {},
): void {
  row(
    name,
    `66 ${map} ${hex(opcode)} /r`,
    'Vx,Wx',
    (s) => {
      simd(s)
      const b = aligned(s, 1)
      s.write(0, f(s, s.read(0), b))
    },
    options,
  )
  if (mmx === 'none') return
  row(
    `${name}_mmx`,
    `NP ${map} ${hex(opcode)} /r`,
    'Pq,Qq',
    (s) => {
      s.attempt('mmxFault')
      const b = s.read(1)
      const a = s.read(0)
      if (mmx === 'pair') {
        const both = s.op('i64x2.replace_lane', [wide(s, a), b], [1])
        writeMmx(s, 0, low64(s, f(s, both, both)))
      } else {
        const result = f(s, wide(s, a), wide(s, b))
        writeMmx(s, 0, mmx === 'high' ? lane(s, 'i64x2.extract_lane', result, 1) : low64(s, result))
      }
    },
    options,
  )
}

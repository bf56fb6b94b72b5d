/**
 * Floating-point lanes, one of a scalar or those of a vector, written alike: and the conditions under which
 * WebAssembly's arithmetic gives an SSE instruction's whole result. WebAssembly rounds to nearest and has no exception
 * flags, so its result serves where no flag can be raised that MXCSR does not have yet.
 */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import type { Semantics } from './semantics.ts'
import type { Ty } from '../wasm/opcodes.ts'
import { alignedAddress } from './vector.ts'

export type Bits = 32 | 64

const PE = 0x20
const PM = 0x1000
const RC = 0x6000

/** PE is set and masked: another inexact result changes nothing. */
export function inexactUnseen(s: Semantics): Value {
  return s.eq(s.and(s.state(S.MXCSR), PE | PM), PE | PM)
}
/** The same, and rounding is to nearest. */
export function inexactNearest(s: Semantics): Value {
  return s.eq(s.and(s.state(S.MXCSR), PE | PM | RC), PE | PM)
}

/** Lanes of `bits` bits: operations that are the same for scalars and vectors. A scalar's masks are i32, 0 or 1. */
export class Lanes {
  readonly s: Semantics
  readonly bits: Bits
  readonly packed: boolean

  constructor(s: Semantics, bits: Bits, packed: boolean) {
    this.s = s
    this.bits = bits
    this.packed = packed
  }

  op(name: string, ...args: Value[]): Value {
    return this.s.op(`${this.packed ? (this.bits === 32 ? 'f32x4' : 'f64x2') : `f${this.bits}`}.${name}`, args)
  }
  and(a: Value, b: Value): Value {
    return this.s.op(this.packed ? 'v128.and' : 'i32.and', [a, b])
  }
  or(a: Value, b: Value): Value {
    return this.s.op(this.packed ? 'v128.or' : 'i32.or', [a, b])
  }

  /** Whether a mask holds in all lanes (i32). */
  all(mask: Value): Value {
    if (!this.packed) return mask
    const [shape, full] = this.bits === 32 ? ['i32x4', 15] : ['i64x2', 3]
    return this.s.eq(this.s.op(`${shape}.bitmask`, [mask]), full as number)
  }

  k(value: number): Value {
    if (!this.packed) return this.s.k(value, this.bits === 32 ? 'f32' : 'f64')
    const lanes = this.bits === 32 ? new Float32Array(4) : new Float64Array(2)
    return this.s.kv(new Uint8Array(lanes.fill(value).buffer))
  }

  /** A scalar in all lanes of a vector. */
  spread(x: Value): Value {
    return this.packed ? x : this.s.op(this.bits === 32 ? 'f32x4.splat' : 'f64x2.splat', [x])
  }
  /** A NaN or denormal operand may raise IE or DE: neither of them. */
  plain(x: Value): Value {
    return this.or(this.op('ge', this.op('abs', x), this.k(this.bits === 32 ? 2 ** -126 : 2 ** -1022)), this.isZero(x))
  }
  isZero(x: Value): Value {
    return this.op('eq', x, this.k(0))
  }
  /** Operand `i` as a value: a vector in memory must be aligned. */
  read(i: number): Value {
    if (!this.packed) return this.s.read(i, this.bits === 32 ? 'f32' : 'f64')
    return this.s.isMem(i) ? this.s.load(alignedAddress(this.s), 'v128') : this.s.read(i, 'v128')
  }
}

/** A scalar's bits, and back. */
export function bitsOf(s: Semantics, v: Value): Value {
  return v.ty === 'f32' ? s.op('i32.reinterpret_f32', [v]) : s.op('i64.reinterpret_f64', [v])
}
function fromBits(s: Semantics, v: Value): Value {
  return v.ty === 'i32' ? s.op('f32.reinterpret_i32', [v]) : s.op('f64.reinterpret_i64', [v])
}

/** Address of operand `i` for a procedure; what was read from memory goes to SCRATCH. */
export function addressOf(s: Semantics, i: number, value: Value): Value {
  if (!s.isMem(i)) return s.slotAddress(i)
  s.setState(S.SCRATCH, value.ty === 'i64' ? 64 : 'v128', value)
  return s.add(s.p(), S.SCRATCH)
}

/** A scalar result: `fast` where `ok`, else what the procedure makes of the operands' bits, after exceptions. */
export function scalarResult(s: Semantics, ok: Value, fast: Value, slow: () => Value): Value {
  return s.choose(
    ok,
    () => fast,
    () => checked(s, fast.ty, slow),
    true,
  )
}

/** What a procedure makes of a scalar's bits, as type `ty`, after exceptions. */
export function checked(s: Semantics, ty: Ty, procedure: () => Value): Value {
  const bits = procedure()
  s.attempt('sseCheck')
  return ty === bits.ty ? bits : fromBits(s, bits)
}

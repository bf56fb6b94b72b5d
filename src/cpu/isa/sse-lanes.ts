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

/** 0 if PE is set and masked and rounding is to nearest, else at least 16. */
export function inexactSeen(s: Semantics): Value {
  return s.xor(s.and(s.state(S.MXCSR), PE | PM | RC), PE | PM)
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
    return this.packed ? allTrue(this.s, this.bits, mask) : mask
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
  /** Scalars a and b in the lanes of a vector. */
  #beside(a: Value, b: Value): Value {
    if (this.bits === 64) return this.s.op('f64x2.replace_lane', [this.spread(a), b], [1])
    return this.s.op('f32x4.replace_lane', [this.spread(a), b], [1])
  }

  /** Magnitudes, lane by lane: a constant costs less than what `abs` becomes. */
  #magnitude(x: Value): Value {
    const byte = (i: number) => ((i + 1) % (this.bits / 8) === 0 ? 0x7f : 0xff)
    return this.s.op('v128.and', [x, this.s.kv(Uint8Array.from({ length: 16 }, (_, i) => byte(i)))])
  }
  #least(): Value {
    return this.k(this.bits === 32 ? 2 ** -126 : 2 ** -1022)
  }
  /** Whether a mask holds in all lanes and `seen` is 0. It is 0 or at least 16. */
  #allUnseen(mask: Value, seen: Value): Value {
    const [shape, all] = this.bits === 32 ? ['i32x4', 15] : ['i64x2', 3]
    return this.s.eq(this.s.add(this.s.op(`${shape}.bitmask`, [mask]), seen), all as number)
  }

  /**
   * Whether the operands and the result are normal numbers, so that the result is at most inexact (see `normal`), and
   * `seen` is 0.
   */
  ordinary(a: Value, b: Value, r: Value, seen: Value): Value {
    const v = new Lanes(this.s, this.bits, true)
    const result = v.#magnitude(this.spread(r))
    const operands = this.packed ? v.op('pmin', v.#magnitude(a), v.#magnitude(b)) : v.#magnitude(this.#beside(a, b))
    // What is too large an operand shows in the result, or makes it zero; so does a NaN that `pmin` may lose.
    const small = v.op('lt', v.#least(), v.op('pmin', operands, result))
    return v.#allUnseen(v.and(small, v.op('lt', result, v.k(Infinity))), seen)
  }
  /** The same for the square root of a, which is normal if a is. */
  ordinaryRoot(a: Value, seen: Value): Value {
    const v = new Lanes(this.s, this.bits, true)
    const x = this.spread(a)
    return v.#allUnseen(v.and(v.op('ge', x, v.#least()), v.op('lt', x, v.k(Infinity))), seen)
  }
  /** Whether neither operand can raise IE or DE. */
  plainBoth(a: Value, b: Value): Value {
    if (this.packed) return this.all(this.and(this.plain(a), this.plain(b)))
    const v = new Lanes(this.s, this.bits, true)
    return v.all(v.plain(this.#beside(a, b)))
  }

  /** A NaN or denormal operand may raise IE or DE: neither of them. */
  plain(x: Value): Value {
    return this.or(this.op('ge', this.op('abs', x), this.k(this.bits === 32 ? 2 ** -126 : 2 ** -1022)), this.isZero(x))
  }
  isZero(x: Value): Value {
    return this.op('eq', x, this.k(0))
  }
  /**
   * Neither zero nor tiny nor infinite nor NaN: at most inexact. The least normal number may come from a tiny result,
   * which raises UE, rounded up.
   */
  normal(x: Value): Value {
    const m = this.op('abs', x)
    return this.and(
      this.op('gt', m, this.k(this.bits === 32 ? 2 ** -126 : 2 ** -1022)),
      this.op('lt', m, this.k(Infinity)),
    )
  }

  /** Operand `i` as a value: a vector in memory must be aligned. */
  read(i: number): Value {
    if (!this.packed) return this.s.read(i, this.bits === 32 ? 'f32' : 'f64')
    return this.s.isMem(i) ? this.s.load(alignedAddress(this.s), 'v128') : this.s.read(i, 'v128')
  }
}

function allTrue(s: Semantics, bits: Bits, mask: Value): Value {
  return bits === 32 ? s.eq(s.op('i32x4.bitmask', [mask]), 15) : s.eq(s.op('i64x2.bitmask', [mask]), 3)
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

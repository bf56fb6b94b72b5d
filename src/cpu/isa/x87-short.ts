/**
 * The short ways of x87 instructions: moves in the register stack and arithmetic on normal numbers, without the
 * procedures that know everything. Each row tries its short way and otherwise calls its procedure.
 */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import type { Semantics } from './semantics.ts'

const TOP = 0x3800
const ONE = 0x800
const C1 = 0x200
/** Exceptions that keep a store from memory: IE, OE, UE. */
const KEEPS = 0x19

/** A number as a register has it: the significand, then sign and exponent. */
export interface Parts {
  m: Value
  s: Value
}

/** The register stack as an instruction finds it. */
class Stack {
  readonly s: Semantics
  readonly fsw: Value
  readonly #ftw: Value
  readonly #top: Value

  constructor(s: Semantics) {
    this.s = s
    this.fsw = s.state(S.FSW)
    this.#ftw = s.state(S.FTW)
    this.#top = s.shr(this.fsw, 11)
  }

  /** The physical register of ST(i). */
  place(i: Value | number): Value {
    return this.s.and(i === 0 ? this.#top : this.s.add(this.#top, i), 7)
  }
  full(place: Value): Value {
    return this.s.and(this.s.shr(this.#ftw, place), 1)
  }
  both(a: Value, b: Value): Value {
    return this.s.and(this.s.and(this.s.shr(this.#ftw, a), this.s.shr(this.#ftw, b)), 1)
  }
  /** A register's offset from the first one. */
  at(place: Value): Value {
    return this.s.shl(place, 4)
  }
  parts(at: Value): Parts {
    return { m: this.s.peek(at, S.FPR, 64), s: this.s.peek(at, S.FPR + 8, 16) }
  }

  /** A whole register. In words, as it was written: a vector would have to wait until they have reached memory. */
  words(place: Value): readonly [Value, Value] {
    const at = this.at(place)
    return [this.s.peek(at, S.FPR, 64), this.s.peek(at, S.FPR + 8, 64)]
  }
  write(place: Value, [low, high]: readonly [Value, Value]): void {
    const at = this.at(place)
    this.s.poke(at, S.FPR, 64, low)
    this.s.poke(at, S.FPR + 8, 64, high)
  }

  /** Ends an instruction with C1 cleared that pushes or pops nothing. */
  done(): void {
    noteRip(this.s)
    this.s.setState(S.FSW, 32, this.s.and(this.fsw, ~C1))
  }
  /** Ends one that pushes. */
  push(place: Value, write: () => void): void {
    const { s } = this
    noteRip(s)
    write()
    s.setState(S.FSW, 32, s.or(s.and(this.fsw, ~(TOP | C1)), s.shl(place, 11)))
    s.setState(S.FTW, 32, s.or(this.#ftw, s.shl(s.k32(1), place)))
  }
  bit(place: Value): Value {
    return this.s.shl(this.s.k32(1), place)
  }
}

const noteRip = (s: Semantics) => s.setState(S.FIP, 64, s.thisRip())

/** Pops, whatever an instruction has done to FSW before. */
function pop(s: Semantics, place: Value): void {
  const fsw = s.state(S.FSW)
  s.setState(S.FSW, 32, s.or(s.and(fsw, ~TOP), s.and(s.add(fsw, ONE), TOP)))
  s.setState(S.FTW, 32, s.and(s.state(S.FTW), s.not(s.shl(s.k32(1), place))))
}

// ---- moves ------------------------------------------------------------------------------------------------------

/** FXCH ST(i). */
export function exchange(s: Semantics, i: Value, slow: () => void): void {
  const stack = new Stack(s)
  const [a, b] = [stack.place(0), stack.place(i)]
  s.if(
    stack.both(a, b),
    () => {
      const [x, y] = [stack.words(a), stack.words(b)]
      stack.write(a, y)
      stack.write(b, x)
      stack.done()
    },
    slow,
    true,
  )
}

/** FCHS and FABS: what becomes of the sign and exponent. */
export function changeSign(s: Semantics, change: (signExponent: Value) => Value, slow: () => void): void {
  const stack = new Stack(s)
  const place = stack.place(0)
  s.if(
    stack.full(place),
    () => {
      const signExponent = s.peek(stack.at(place), S.FPR + 8, 16)
      s.poke(stack.at(place), S.FPR + 8, 64, s.toI64(change(signExponent)))
      stack.done()
    },
    slow,
    true,
  )
}

/** FLD ST(i). */
export function duplicate(s: Semantics, i: Value, slow: () => void): void {
  const stack = new Stack(s)
  const [from, to] = [stack.place(i), stack.place(7)]
  s.if(
    s.and(stack.full(from), s.isZero(stack.full(to))),
    () => {
      const x = stack.words(from)
      stack.push(to, () => stack.write(to, x))
    },
    slow,
    true,
  )
}

/** FST ST(i), FSTP ST(i). */
export function copy(s: Semantics, i: Value, pops: boolean, slow: () => void): void {
  const stack = new Stack(s)
  const [from, to] = [stack.place(0), stack.place(i)]
  s.if(
    stack.full(from),
    () => {
      stack.write(to, stack.words(from))
      stack.done()
      s.setState(S.FTW, 32, s.or(s.state(S.FTW), stack.bit(to)))
      if (pops) pop(s, from)
    },
    slow,
    true,
  )
}

/** A load of `parts`, if it is `simple`: no exception but a full register. */
export function load(s: Semantics, { m, s: signExponent }: Parts, simple: Value, slow: () => void): void {
  const stack = new Stack(s)
  const to = stack.place(7)
  s.if(
    s.and(simple, s.isZero(stack.full(to))),
    () => stack.push(to, () => stack.write(to, [m, s.toI64(signExponent)])),
    slow,
    true,
  )
}

// ---- operands ---------------------------------------------------------------------------------------------------

/** An f32's or f64's parts; `normal` tells whether they are right: a normal number. */
export function partsOfFloat(s: Semantics, bits: Value): Parts & { normal: Value } {
  const [fraction, bias, width] = bits.ty === 'i64' ? [52, 1023, 11] : [23, 127, 8]
  const field = s.toI32(s.and(s.shr(bits, fraction), (1 << width) - 1))
  const sign = s.and(s.toI32(s.shr(bits, bits.ty === 'i64' ? 48 : 16)), 0x8000)
  return {
    m: s.or(s.shl(s.toI64(bits), 63 - fraction), 1n << 63n),
    s: s.or(sign, s.add(field, 16383 - bias)),
    normal: s.ltU(s.sub(field, 1), 2 * bias),
  }
}

/** An integer's parts, sign-extended; not of 0. */
export function partsOfInteger(s: Semantics, value: Value): Parts & { normal: Value } {
  const negative = s.sar(value, 63)
  const magnitude = s.sub(s.xor(value, negative), negative)
  const zeros = s.op('i64.clz', [magnitude])
  const exponent = s.sub(s.k32(16383 + 63), s.toI32(zeros))
  return {
    m: s.shl(magnitude, zeros),
    s: s.or(s.and(s.toI32(negative), 0x8000), exponent),
    normal: s.toI32(s.ne(value, 0n)),
  }
}

// ---- arithmetic -------------------------------------------------------------------------------------------------

/** By `op` as in ../system/x87-arith.ts: the procedure, and whether its operands are exchanged. */
const procedures: Record<number, [name: string, reversed: boolean]> = {
  0: ['x87Plus', false],
  1: ['x87Times', false],
  4: ['x87Minus', false],
  5: ['x87Minus', true],
  6: ['x87Over', false],
  7: ['x87Over', true],
}

/** ST(to) = ST(to) op an operand, or ST(from): if the registers are full, `ready`, and all numbers ordinary. */
export function arithmetic(
  s: Semantics,
  op: number,
  to: Value | number,
  from: { register: Value | number } | { parts: Parts; ready: Value },
  pops: boolean,
  slow: () => void,
): void {
  const stack = new Stack(s)
  const target = stack.place(to)
  const dst = stack.at(target)
  const a = stack.parts(dst)
  let b: Parts
  let ready: Value
  if ('register' in from) {
    const source = stack.place(from.register)
    b = stack.parts(stack.at(source))
    ready = stack.both(target, source)
  } else {
    b = from.parts
    ready = s.and(stack.full(target), from.ready)
  }
  const [name, reversed] = procedures[op] as [string, boolean]
  const [left, right] = reversed ? [b, a] : [a, b]
  const into = s.add(s.add(s.p(), S.FPR), dst)
  const done = s.choose(
    ready,
    () => s.compute(name, into, left.m, left.s, right.m, right.s),
    () => s.k32(0),
    true,
  )
  s.if(
    done,
    () => {
      noteRip(s)
      if (pops) pop(s, stack.place(0))
    },
    slow,
    true,
  )
}

// ---- stores -----------------------------------------------------------------------------------------------------

/** Whether memory is written, by the exceptions that `x87To...` has noted. */
export function storeGoes(s: Semantics): Value {
  return s.isZero(s.and(s.and(s.state(S.X87_STORE), s.not(s.state(S.FCW))), KEEPS))
}

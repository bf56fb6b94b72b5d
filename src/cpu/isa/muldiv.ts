/** MUL IMUL DIV IDIV (SDM Vol. 2). 128-bit dividends are procedures. */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

/** PF AF ZF SF: undefined after a multiplication. */
const AFTER_MUL = 0xd4
const AFTER_DIV = 0x8d5
const DE = 0

/** CF = OF = `wide` (i32 0 or 1): the product needs its upper half. The rest is as of the low half. */
function productFlags(s: Semantics, low: Value, wide: Value): void {
  s.flags('RES', low, s.or(wide, s.shl(wide, 11)))
}

/**
 * Upper half of a 64-bit product, from the products of the factors' halves: only pure operations, so that nothing is
 * left of it in a region where nobody looks at the flags.
 */
function upperHalf(s: Semantics, a: Value, b: Value, signed: boolean): Value {
  const low = (v: Value) => s.and(v, 0xffffffffn)
  const high = (v: Value) => (signed ? s.sar(v, 32) : s.shr(v, 32))
  const [a0, a1, b0, b1] = [low(a), high(a), low(b), high(b)]
  const middle = s.add(s.mul(a1, b0), s.shr(s.mul(a0, b0), 32))
  const middle2 = s.add(s.mul(a0, b1), low(middle))
  return s.add(s.mul(a1, b1), s.add(high(middle), high(middle2)))
}

/** One-operand MUL and IMUL: the accumulator times operand 0 into AX or rDX:rAX. */
const multiply = (signed: boolean) => (s: Semantics) => {
  const b = s.read(0)
  const a = s.reg(S.RAX)
  if (s.size === 64) {
    const low = s.mul(a, b)
    const high = upperHalf(s, a, b, signed)
    productFlags(s, low, s.ne(high, signed ? s.sar(low, 63) : 0))
    s.setReg(S.RAX, low)
    s.setReg(S.RDX, high)
    return
  }
  const extend = (v: Value) => (signed ? s.signed64(v, s.size) : s.toI64(v))
  const product = s.mul(extend(a), extend(b))
  const low = s.toI32(product)
  productFlags(s, low, signed ? s.ne(product, s.signed64(low, s.size)) : s.ne(s.shr(product, s.size), 0))
  if (s.size === 8) s.setReg(S.RAX, low, 16)
  else {
    s.setReg(S.RAX, low)
    s.setReg(S.RDX, s.toI32(s.shr(product, s.size)))
  }
}
for (const [name, digit] of [
  ['mul', 4],
  ['imul', 5],
] as const) {
  row(name, `F6 /${digit}`, 'Eb', multiply(name === 'imul'), { undefinedFlags: AFTER_MUL })
  row(name, `F7 /${digit}`, 'Ev', multiply(name === 'imul'), { undefinedFlags: AFTER_MUL })
}

/** IMUL with two or three operands: the low half of the product of the last two. */
const multiplyLow = (left: number, right: number) => (s: Semantics) => {
  const a = s.read(left)
  const b = s.read(right)
  if (s.size === 64) {
    const low = s.mul(a, b)
    productFlags(s, low, s.ne(upperHalf(s, a, b, true), s.sar(low, 63)))
    s.write(0, low)
    return
  }
  const product = s.mul(s.signed64(a, s.size), s.signed64(b, s.size))
  // By itself: a region mostly needs nothing else.
  const low = s.mul(a, b)
  productFlags(s, low, s.ne(product, s.signed64(low, s.size)))
  s.write(0, low)
}
row('imul2', '0F AF /r', 'Gv,Ev', multiplyLow(0, 1), { undefinedFlags: AFTER_MUL })
row('imul3', '69 /r', 'Gv,Ev,Iz', multiplyLow(1, 2), { undefinedFlags: AFTER_MUL })
row('imul3', '6B /r', 'Gv,Ev,Is', multiplyLow(1, 2), { undefinedFlags: AFTER_MUL })

/** The dividend's upper half is mostly no more than a sign. */
function divide64(s: Semantics, signed: boolean, b: Value): void {
  const low = s.reg(S.RAX)
  const high = s.reg(S.RDX)
  const extended = signed ? s.eq(high, s.sar(low, 63)) : s.isZero(high)
  // 0, 1 and -1 are left to the procedure when signed: the one quotient that WebAssembly traps on is among them.
  const short = signed ? s.gtU(s.add(b, 1n), 2n) : s.ne(b, 0n)
  s.if(
    s.and(extended, short),
    () => {
      const quotient = s.bin(signed ? 'div_s' : 'div_u', low, b)
      s.setReg(S.RAX, quotient)
      s.setReg(S.RDX, s.sub(low, s.mul(quotient, b)))
    },
    () => s.attempt(signed ? 'idiv' : 'div', s.k32(8), b),
    true,
  )
}

const divide = (signed: boolean) => (s: Semantics) => {
  const b = s.read(0)
  const size = s.size
  if (size === 64) return divide64(s, signed, b)
  s.fault(s.isZero(b), DE)
  const dividend = size === 8 ? s.reg(S.RAX, 16) : s.or(s.shl(s.toI64(s.reg(S.RDX)), size), s.toI64(s.reg(S.RAX)))
  let quotient: Value
  let remainder: Value
  if (signed) {
    const n = s.signed64(dividend, size === 32 ? 64 : ((size * 2) as 16 | 32))
    const d = s.signed64(b, size)
    if (size === 32) {
      // The one quotient that WebAssembly's division traps on.
      s.fault(s.and(s.eq(n, -(1n << 63n)), s.eq(d, -1n)), DE)
    }
    quotient = s.bin('div_s', n, d)
    remainder = s.sub(n, s.mul(quotient, d))
    s.fault(s.ne(quotient, s.signed64(s.toI32(quotient), size)), DE)
  } else {
    const d = s.toI64(b)
    quotient = s.bin('div_u', s.toI64(dividend), d)
    remainder = s.sub(s.toI64(dividend), s.mul(quotient, d))
    s.fault(s.ne(s.shr(quotient, size), 0n), DE)
  }
  if (size === 8) {
    const both = s.or(s.and(s.toI32(quotient), 0xff), s.shl(s.and(s.toI32(remainder), 0xff), 8))
    s.setReg(S.RAX, both, 16)
  } else {
    s.setReg(S.RAX, s.toI32(quotient))
    s.setReg(S.RDX, s.toI32(remainder))
  }
}
for (const [name, digit] of [
  ['div', 6],
  ['idiv', 7],
] as const) {
  row(name, `F6 /${digit}`, 'Eb', divide(name === 'idiv'), { undefinedFlags: AFTER_DIV })
  row(name, `F7 /${digit}`, 'Ev', divide(name === 'idiv'), { undefinedFlags: AFTER_DIV })
}

/**
 * ROL ROR RCL RCR SHL SHR SAR, by 1, CL or an immediate, and SHLD SHRD (SDM Vol. 2). Counts are masked to five bits,
 * six for 64-bit operands; a masked count of 0 leaves the flags. What the SDM leaves undefined is as Intel's
 * processors do it where that is simple.
 */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const AF = 0x10
const OF = 0x800

/** The count: a number where it is known when this is recorded, else masked, in i32. */
function countOf(s: Semantics, which: number): Value | number {
  if (which >= s.operands.length) return 1
  const mask = s.size === 64 ? 63 : 31
  const known = s.operand(which).kind === 'imm' ? s.knownImmediate() : undefined
  return known === undefined ? s.and(s.toI32(s.read(which, 8)), mask) : known & mask
}

/** `count` as the operand's type, plus a constant. */
function as(s: Semantics, ty: 'i32' | 'i64', count: Value | number, plus = 0): Value {
  if (typeof count === 'number') return s.k(count + plus, ty)
  const moved = plus === 0 ? count : s.add(count, plus)
  return ty === 'i64' ? s.toI64(moved) : moved
}

/** Bit `n` of `v` (i32). */
const bit = (s: Semantics, v: Value, n: number): Value => s.toI32(s.and(s.shr(v, n), 1))

/** Do `body` unless the count is 0. */
function ifCounted(s: Semantics, count: Value | number, body: () => void): void {
  if (typeof count !== 'number') s.if(count, body)
  else if (count > 0) body()
}

const shift = (name: 'shl' | 'shr' | 'sar') => (s: Semantics) => {
  const count = countOf(s, 1)
  const original = s.update(0)
  const a = name === 'sar' ? s.signed(original, s.size) : original
  const res = s.bin(name === 'shl' ? 'shl' : name === 'shr' ? 'shr_u' : 'shr_s', a, as(s, a.ty as 'i32', count))
  ifCounted(s, count, () => {
    let carry: Value
    let overflow: Value
    if (name === 'shl') {
      // The last bit shifted out: bit `size` of an 8- or 16-bit result, else bit size - count of the operand.
      carry =
        s.size < 32 ? bit(s, res, s.size) : s.toI32(s.and(s.shr(a, s.sub(s.k(s.size), as(s, a.ty as 'i32', count))), 1))
      overflow = s.xor(carry, bit(s, res, s.size - 1))
    } else {
      carry = s.toI32(s.and(s.bin(name === 'shr' ? 'shr_u' : 'shr_s', a, as(s, a.ty as 'i32', count, -1)), 1))
      overflow = name === 'shr' ? bit(s, a, s.size - 1) : s.k32(0)
    }
    s.flags('RES', res, s.or(carry, s.shl(overflow, 11)))
  })
  s.write(0, res)
}

/** Only CF and OF change. */
function setCarryOverflow(s: Semantics, carry: Value, overflow: Value): void {
  s.mergeFlags(0x801, s.or(carry, s.shl(overflow, 11)))
}

const rotate = (name: 'rol' | 'ror') => (s: Semantics) => {
  const count = countOf(s, 1)
  const a = s.update(0)
  let res: Value
  if (s.size >= 32) res = s.bin(name === 'rol' ? 'rotl' : 'rotr', a, as(s, a.ty as 'i32', count))
  else {
    // The operand repeated through 32 bits; rotating those rotates each copy.
    const twice = s.size === 8 ? s.mul(a, 0x01010101) : s.mul(a, 0x10001)
    res = s.and(s.bin(name === 'rol' ? 'rotl' : 'rotr', twice, as(s, 'i32', count)), s.size === 8 ? 0xff : 0xffff)
  }
  ifCounted(s, count, () => {
    const top = bit(s, res, s.size - 1)
    if (name === 'rol') {
      const carry = bit(s, res, 0)
      setCarryOverflow(s, carry, s.xor(top, carry))
    } else setCarryOverflow(s, top, s.xor(top, bit(s, res, s.size - 2)))
  })
  s.write(0, res)
}

/** RCL and RCR of 64 bits: the carry goes in beside what two shifts leave. */
function throughCarry64(
  s: Semantics,
  left: boolean,
  a: Value,
  carryIn: Value,
  count: Value,
): { res: Value; carry: Value } {
  const n = s.toI64(count)
  const rest = s.sub(s.k64(64), n)
  const inner = left ? s.shl(a, n) : s.shr(a, n)
  const outer = left ? s.shr(s.shr(a, 1), rest) : s.shl(s.shl(a, 1), rest)
  const c = s.toI64(carryIn)
  const entering = left ? s.shl(c, s.sub(n, 1)) : s.shl(c, rest)
  const res = s.or(s.or(inner, outer), entering)
  const carry = s.toI32(s.and(s.shr(a, left ? rest : s.sub(n, 1)), 1))
  return { res: s.select(count, res, a), carry: s.select(count, carry, carryIn) }
}

const rotateThrough = (name: 'rcl' | 'rcr') => (s: Semantics) => {
  const given = countOf(s, 1)
  const carryIn = s.carry()
  const a = s.update(0)
  const left = name === 'rcl'
  const size = s.size
  // The rotation is of size + 1 bits.
  const number = typeof given === 'number' ? s.k32(given) : given
  const count = size < 32 ? s.bin('rem_u', number, size + 1) : number
  let res: Value
  let carry: Value
  if (size === 64) ({ res, carry } = throughCarry64(s, left, a, carryIn, count))
  else {
    const whole = s.or(s.toI64(a), s.shl(s.toI64(carryIn), size))
    const n = s.toI64(count)
    const rest = s.sub(s.k64(size + 1), n)
    const turned = left ? s.or(s.shl(whole, n), s.shr(whole, rest)) : s.or(s.shr(whole, n), s.shl(whole, rest))
    res = s.toI32(s.and(turned, (1n << BigInt(size)) - 1n))
    carry = s.toI32(s.and(s.shr(turned, size), 1))
  }
  ifCounted(s, given, () => {
    const top = bit(s, res, size - 1)
    setCarryOverflow(s, carry, left ? s.xor(top, carry) : s.xor(top, bit(s, res, size - 2)))
  })
  s.write(0, res)
}

const families: [string, number, (s: Semantics) => void, number][] = [
  ['rol', 0, rotate('rol'), 0],
  ['ror', 1, rotate('ror'), 0],
  ['rcl', 2, rotateThrough('rcl'), 0],
  ['rcr', 3, rotateThrough('rcr'), 0],
  ['shl', 4, shift('shl'), AF],
  ['shr', 5, shift('shr'), AF],
  ['shl', 6, shift('shl'), AF],
  ['sar', 7, shift('sar'), AF],
]
for (const [name, digit, semantics, undefinedFlags] of families) {
  row(name, `C0 /${digit}`, 'Eb,Ib', semantics, { undefinedFlags: undefinedFlags | OF })
  row(name, `C1 /${digit}`, 'Ev,Ib', semantics, { undefinedFlags: undefinedFlags | OF })
  row(`${name}_1`, `D0 /${digit}`, 'Eb', semantics, { undefinedFlags })
  row(`${name}_1`, `D1 /${digit}`, 'Ev', semantics, { undefinedFlags })
  row(name, `D2 /${digit}`, 'Eb,CL', semantics, { undefinedFlags: undefinedFlags | OF })
  row(name, `D3 /${digit}`, 'Ev,CL', semantics, { undefinedFlags: undefinedFlags | OF })
}

/** SHLD and SHRD. 16-bit counts above 16 are undefined; Intel's processors shift destination:source:destination. */
const double = (left: boolean) => (s: Semantics) => {
  const given = countOf(s, 2)
  const count = typeof given === 'number' ? s.k32(given) : given
  const source = s.read(1)
  const a = s.update(0)
  let res: Value
  let carry: Value
  if (s.size === 16) {
    const n = s.toI64(count)
    const wide = s.or(s.or(s.shl(s.toI64(a), 32), s.shl(s.toI64(source), 16)), s.toI64(a))
    res = s.and(s.toI32(s.shr(wide, left ? s.sub(s.k64(32), n) : n)), 0xffff)
    carry = s.toI32(s.and(s.shr(wide, left ? s.sub(s.k64(48), n) : s.sub(n, 1)), 1))
  } else {
    const ty = a.ty as 'i32' | 'i64'
    const n = as(s, ty, count)
    const rest = s.sub(s.k(s.size), n)
    const moved = left ? s.or(s.shl(a, n), s.shr(source, rest)) : s.or(s.shr(a, n), s.shl(source, rest))
    res = s.select(count, moved, a)
    carry = s.toI32(s.and(s.shr(a, left ? rest : s.sub(n, 1)), 1))
  }
  ifCounted(s, given, () => {
    const overflow = bit(s, s.xor(a, res), s.size - 1)
    s.flags('RES', res, s.or(carry, s.shl(overflow, 11)))
  })
  s.write(0, res)
}
for (const [name, opcode, left] of [
  ['shld', 0xa4, true],
  ['shrd', 0xac, false],
] as const) {
  const hex = (n: number) => n.toString(16).toUpperCase()
  row(name, `0F ${hex(opcode)} /r`, 'Ev,Gv,Ib', double(left), { undefinedFlags: AF | OF })
  row(name, `0F ${hex(opcode + 1)} /r`, 'Ev,Gv,CL', double(left), { undefinedFlags: AF | OF })
}

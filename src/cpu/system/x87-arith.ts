/**
 * x87 arithmetic as the rows call it. `op` is the reg field of the opcodes: 0 ADD, 1 MUL, 4 SUB, 5 SUBR, 6 DIV, 7 DIVR,
 * always meaning "destination op source". `ea` is the effective address of a memory operand, for FDP.
 */
import { FP_FLAGS } from './layout'
import { isDenormal } from './softfloat'
import {
  addExtended, divideExtended, extend, extendInteger, isNanExtended, multiplyExtended, roundToIntegralExtended,
  signExponentOf, significandOf, squareRootExtended, subtractExtended,
} from './softfloat-extended'
import { DE, flag, IE, x87Env, ZE } from './softfloat-round'
import { ordinary, ordinaryRoot } from './x87-ordinary'
import { begin, clearC1, finish, isEmpty, NO_OPERAND, pop, registerAt, stackFault, writeIndefinite } from './x87-stack'

@inline
function calculate(p: u32, op: u32, am: u64, as: u32, bm: u64, bs: u32): v128 {
  const env = x87Env(p)
  switch (op) {
    case 0: return addExtended(p, env, am, as, bm, bs)
    case 1: return multiplyExtended(p, env, am, as, bm, bs)
    case 4: return subtractExtended(p, env, am, as, bm, bs)
    case 5: return subtractExtended(p, env, bm, bs, am, as)
    case 6: return divideExtended(p, env, am, as, bm, bs)
    default: return divideExtended(p, env, bm, bs, am, as)
  }
}

/** Ends an instruction that found a source register empty. */
function underflow(p: u32, i: u32, pops: u32, ea: u64): void {
  if (!stackFault(p, 0, ea)) return
  writeIndefinite(p, i)
  if (pops != 0) pop(p)
}

/** ST(to) = ST(to) op ST(from), then `pops` (0 or 1) pops. */
export function x87Arith(p: u32, op: u32, to: u32, from: u32, pops: u32): void {
  begin(p)
  if (isEmpty(p, to) || isEmpty(p, from)) return underflow(p, to, pops, NO_OPERAND)
  const a = registerAt(p, to), b = registerAt(p, from)
  const am = load<u64>(a), as = <u32>load<u16>(a + 8), bm = load<u64>(b), bs = <u32>load<u16>(b + 8)
  if (!ordinary(p, op, a, am, as, bm, bs)) finish(p, a, calculate(p, op, am, as, bm, bs), pops, NO_OPERAND)
  else if (pops != 0) pop(p)
}

/** `tiny`: the operand was denormal before it was extended. */
@inline
function withMemory(p: u32, op: u32, b: v128, tiny: bool, ea: u64): void {
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  if (!tiny && ordinary(p, op, a, m, s, significandOf(b), signExponentOf(b))) return
  const result = calculate(p, op, m, s, significandOf(b), signExponentOf(b))
  if (tiny && (load<u32>(p + FP_FLAGS) & (IE | ZE)) == 0 && !isNanExtended(m, s)) flag(p, DE)
  finish(p, a, result, 0, ea)
}

/** ST(0) = ST(0) op m32fp. */
export function x87ArithF32(p: u32, op: u32, value: u32, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, ea)
  withMemory(p, op, extend<u32>(value), isDenormal<u32>(value), ea)
}

/** ST(0) = ST(0) op m64fp. */
export function x87ArithF64(p: u32, op: u32, value: u64, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, ea)
  withMemory(p, op, extend<u64>(value), isDenormal<u64>(value), ea)
}

/** ST(0) = ST(0) op m16int or m32int, sign-extended. */
export function x87ArithInt(p: u32, op: u32, value: i64, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, ea)
  withMemory(p, op, extendInteger(value), false, ea)
}

export function x87Sqrt(p: u32): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, NO_OPERAND)
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  if (!ordinaryRoot(p, a, m, s)) finish(p, a, squareRootExtended(p, x87Env(p), m, s), 0, NO_OPERAND)
}

/** FRNDINT. */
export function x87RoundInt(p: u32): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, NO_OPERAND)
  const a = registerAt(p, 0)
  finish(p, a, roundToIntegralExtended(p, x87Env(p), load<u64>(a), load<u16>(a + 8)), 0, NO_OPERAND)
}

/** FCHS (`op` 0) and FABS (1): the sign bit alone, whatever the register holds. */
export function x87Sign(p: u32, op: u32): void {
  begin(p)
  if (isEmpty(p, 0)) return underflow(p, 0, 0, NO_OPERAND)
  const a = registerAt(p, 0)
  store<u16>(a + 8, op ? load<u16>(a + 8) & 0x7fff : load<u16>(a + 8) ^ 0x8000)
  clearC1(p)
}

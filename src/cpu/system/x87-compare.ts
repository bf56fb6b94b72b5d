/** x87 comparisons and examination as the rows call them (SDM Vol. 1 8.3.6). */
import { FP_FLAGS, FSW } from './layout'
import {
  compareExtended, extend, extendInteger, isDenormalExtended, isInfinite, isNanExtended, isUnsupported,
  signExponentOf, significandOf,
} from './softfloat-extended'
import { isDenormal } from './softfloat'
import { EQUAL, GREATER, LESS, UNORDERED } from './softfloat-compare'
import { DE, flag, pair } from './softfloat-round'
import { accept, begin, C0, C1, C2, C3, isEmpty, NO_OPERAND, pop, registerAt, stackFault } from './x87-stack'

const UNORDERED_CODE: u32 = C0 | C2 | C3

@inline
function code(relation: i32): u32 {
  return relation == GREATER ? 0 : relation == LESS ? C0 : relation == EQUAL ? C3 : UNORDERED_CODE
}

@inline
function setCode(p: u32, bits: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~(C0 | C2 | C3) | bits)
}

@inline
function popTimes(p: u32, pops: u32): void {
  for (; pops != 0; pops--) pop(p)
}

function compareEmpty(p: u32, pops: u32, ea: u64): void {
  const masked = stackFault(p, 0, ea)
  setCode(p, UNORDERED_CODE)
  if (masked) popTimes(p, pops)
}

/** `tiny`: the other operand was denormal before it was extended. */
function compareWith(p: u32, b: v128, tiny: bool, quiet: bool, pops: u32, ea: u64): void {
  const a = registerAt(p, 0)
  const relation = compareExtended(p, load<u64>(a), load<u16>(a + 8), significandOf(b), signExponentOf(b), quiet)
  if (tiny && relation != UNORDERED) flag(p, DE)
  const done = accept(p, 0, ea)
  setCode(p, code(relation))
  if (done) popTimes(p, pops)
}

/** FCOM, FUCOM (`quiet` 1) with ST(i), `pops` 0 to 2. */
export function x87Compare(p: u32, i: u32, quiet: i32, pops: u32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, i)) compareEmpty(p, pops, NO_OPERAND)
  else compareWith(p, v128.load(registerAt(p, i)), false, quiet != 0, pops, NO_OPERAND)
}

/** FCOM m32fp. */
export function x87CompareF32(p: u32, value: u32, pops: u32, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) compareEmpty(p, pops, ea)
  else compareWith(p, extend<u32>(value), isDenormal<u32>(value), false, pops, ea)
}

/** FCOM m64fp. */
export function x87CompareF64(p: u32, value: u64, pops: u32, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) compareEmpty(p, pops, ea)
  else compareWith(p, extend<u64>(value), isDenormal<u64>(value), false, pops, ea)
}

/** FICOM, sign-extended. */
export function x87CompareInt(p: u32, value: i64, pops: u32, ea: u64): void {
  begin(p)
  if (isEmpty(p, 0)) compareEmpty(p, pops, ea)
  else compareWith(p, extendInteger(value), false, false, pops, ea)
}

/** FTST. */
export function x87Test(p: u32): void {
  begin(p)
  if (isEmpty(p, 0)) compareEmpty(p, 0, NO_OPERAND)
  else compareWith(p, pair(0, 0), false, false, 0, NO_OPERAND)
}

@inline
function flagsOf(relation: i32): u32 {
  return relation == GREATER ? 0 : relation == LESS ? 1 : relation == EQUAL ? 0x40 : 0x45
}

/** FCOMI, FUCOMI (`quiet` 1) with ST(i): ZF, PF and CF, the other arithmetic flags cleared; returned. */
export function x87CompareFlags(p: u32, i: u32, quiet: i32, pops: u32): u32 {
  begin(p)
  let flags: u32 = 0x45, done: bool
  if (isEmpty(p, 0) || isEmpty(p, i)) done = stackFault(p, 0, NO_OPERAND)
  else {
    const a = registerAt(p, 0), b = registerAt(p, i)
    const relation = compareExtended(
      p, load<u64>(a), load<u16>(a + 8), load<u64>(b), load<u16>(b + 8), quiet != 0)
    if (load<u32>(p + FP_FLAGS) == 0) {
      if (pops != 0) pop(p)
      return flagsOf(relation)
    }
    const c1 = load<u32>(p + FSW) & C1
    done = accept(p, 0, NO_OPERAND)
    store<u32>(p + FSW, load<u32>(p + FSW) | c1) // untouched
    flags = flagsOf(relation)
  }
  if (done && pops != 0) pop(p)
  return flags
}

/** FXAM. */
export function x87Examine(p: u32): void {
  begin(p)
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  let bits: u32
  if (isEmpty(p, 0)) bits = C3 | C0
  else if (isUnsupported(m, s)) bits = 0
  else if (isNanExtended(m, s)) bits = C0
  else if (isInfinite(m, s)) bits = C2 | C0
  else if (m == 0) bits = C3
  else if (isDenormalExtended(m, s)) bits = C3 | C2
  else bits = C2
  store<u32>(p + FSW, load<u32>(p + FSW) & ~(C0 | C1 | C2 | C3) | bits | s >> 15 << 9)
}

/**
 * x87 loads and stores as the rows call them. A load gets the operand's bits. A store has three steps, so that the
 * memory access may fault with nothing changed: `x87To...` gives the bits; `x87StoreGoes` tells whether memory is to
 * be written (an unmasked IE, OE or UE keeps it as it was); `x87Stored`, after the access, sets status and pops.
 */
import { FCW, FP_FLAGS, X87_STORE } from './layout'
import { isDenormal, isSignalling, quieted } from './softfloat'
import {
  extend, extendInteger, indefiniteExtended, integerOf, narrow, signExponentOf, significandOf,
} from './softfloat-extended'
import { NO_INTEGER, ordinaryInteger, ordinaryNarrow, storedOrdinary } from './x87-ordinary'
import { CHOP, DE, DOWN, ENV_RC, flag, IE, NEAREST, OE, pair, UE, UP, x87Env } from './softfloat-round'
import {
  accept, begin, clearC1, isEmpty, NO_OPERAND, pop, push, pushFaults, registerAt, setTag, SF, stackFault, turn,
  writeIndefinite,
} from './x87-stack'

/** Pushes an f32 or f64. Unlike IE, an unmasked DE does not keep it from being loaded. */
@inline
function loadFloat<T>(p: u32, value: T, ea: u64): void {
  if (pushFaults(p, ea)) return
  if (isSignalling<T>(value)) {
    flag(p, IE)
    if (!accept(p, 0, ea)) return
    value = quieted<T>(value)
  } else clearC1(p)
  if (isDenormal<T>(value)) {
    flag(p, DE)
    accept(p, 0, ea)
  }
  push(p, extend<T>(value))
}

/** FLD m32fp. */
export function x87LoadF32(p: u32, value: u32, ea: u64): void {
  begin(p)
  loadFloat<u32>(p, value, ea)
}

/** FLD m64fp. */
export function x87LoadF64(p: u32, value: u64, ea: u64): void {
  begin(p)
  loadFloat<u64>(p, value, ea)
}

/** FLD m80fp, any encoding: significand, then sign and exponent. */
export function x87LoadExtended(p: u32, significand: u64, signExponent: u32, ea: u64): void {
  begin(p)
  if (pushFaults(p, ea)) return
  clearC1(p)
  push(p, pair(significand, signExponent & 0xffff))
}

/** FILD, sign-extended. */
export function x87LoadInt(p: u32, value: i64, ea: u64): void {
  begin(p)
  if (pushFaults(p, ea)) return
  clearC1(p)
  push(p, extendInteger(value))
}

/** FBLD: 16 digits in `low`, two and the sign in `high`. */
export function x87LoadBcd(p: u32, low: u64, high: u32, ea: u64): void {
  begin(p)
  if (pushFaults(p, ea)) return
  let value: u64 = (high >> 4 & 15) * 10 + (high & 15)
  for (let shift = 60; shift >= 0; shift -= 4) value = value * 10 + (low >> shift & 15)
  const magnitude = extendInteger(value)
  clearC1(p)
  push(p, pair(significandOf(magnitude), signExponentOf(magnitude) | high & 0x8000))
}

/** FLD ST(i). */
export function x87LoadRegister(p: u32, i: u32): void {
  begin(p)
  if (isEmpty(p, i)) {
    if (!stackFault(p, 0, NO_OPERAND)) return
    turn(p, 7)
    writeIndefinite(p, 0)
    return
  }
  if (pushFaults(p, NO_OPERAND)) return
  clearC1(p)
  push(p, v128.load(registerAt(p, i)))
}

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ by the low bits (0..6) of their opcode, rounded as RC says. */
export function x87LoadConstant(p: u32, n: u32): void {
  begin(p)
  if (pushFaults(p, NO_OPERAND)) return
  const rc = x87Env(p) & ENV_RC
  const less: u64 = rc == DOWN || rc == CHOP ? 1 : 0
  let value: v128
  switch (n) {
    case 0: value = pair(0x8000000000000000, 0x3fff); break
    case 1: value = pair(0xd49a784bcd1b8afe + u64(rc == UP), 0x4000); break
    case 2: value = pair(0xb8aa3b295c17f0bc - less, 0x3fff); break
    case 3: value = pair(0xc90fdaa22168c235 - less, 0x4000); break
    case 4: value = pair(0x9a209a84fbcff799 - less, 0x3ffd); break
    case 5: value = pair(0xb17217f7d1cf79ac - less, 0x3ffe); break
    default: value = pair(0, 0)
  }
  clearC1(p)
  push(p, value)
}

/** FST ST(i), FSTP ST(i). */
export function x87StoreRegister(p: u32, i: u32, pops: u32): void {
  begin(p)
  if (isEmpty(p, 0)) {
    if (!stackFault(p, 0, NO_OPERAND)) return
    writeIndefinite(p, i)
  } else {
    clearC1(p)
    v128.store(registerAt(p, i), v128.load(registerAt(p, 0)))
    setTag(p, i, 1)
  }
  if (pops != 0) pop(p)
}

/** FSTPNCE, an undocumented alias of FSTP ST(i) that does not mind an empty ST(0): it is popped and not copied. */
export function x87StoreUnchecked(p: u32, i: u32): void {
  begin(p)
  clearC1(p)
  if (!isEmpty(p, 0)) {
    v128.store(registerAt(p, i), v128.load(registerAt(p, 0)))
    setTag(p, i, 1)
  }
  pop(p)
}

/** Keeps the exceptions of a conversion for `x87Stored`. An unmasked OE or UE comes without PE. */
@inline
function keep(p: u32): void {
  let flags = load<u32>(p + FP_FLAGS)
  if ((flags & ~load<u32>(p + FCW) & (OE | UE)) != 0) flags &= OE | UE
  store<u32>(p + X87_STORE, flags)
  store<u32>(p + FP_FLAGS, 0)
}

@inline
function keepUnderflow(p: u32): void {
  store<u32>(p + X87_STORE, SF | IE)
}

/** FST m32fp. */
export function x87ToF32(p: u32): u32 {
  if (isEmpty(p, 0)) {
    keepUnderflow(p)
    return 0xffc00000
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  let result = ordinaryNarrow<u32>(p, m, s)
  if (result != 0) return result
  result = narrow<u32>(p, x87Env(p), m, s)
  keep(p)
  return result
}

/** FST m64fp. */
export function x87ToF64(p: u32): u64 {
  if (isEmpty(p, 0)) {
    keepUnderflow(p)
    return 0xfff8000000000000
  }
  const a = registerAt(p, 0)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8)
  let result = ordinaryNarrow<u64>(p, m, s)
  if (result != 0) return result
  result = narrow<u64>(p, x87Env(p), m, s)
  keep(p)
  return result
}

/** FIST, FISTTP (`chop` 1) to `bits` 16, 32 or 64, sign-extended. */
export function x87ToInt(p: u32, bits: u32, chop: i32): i64 {
  if (isEmpty(p, 0)) {
    keepUnderflow(p)
    return <i64>-1 << (bits - 1)
  }
  const a = registerAt(p, 0), env = x87Env(p)
  const m = load<u64>(a), s = <u32>load<u16>(a + 8), rounding = chop ? CHOP : env & ENV_RC
  if (rounding == CHOP || rounding == NEAREST) {
    const ordinary = ordinaryInteger(p, rounding == CHOP, m, s, bits)
    if (ordinary != NO_INTEGER) return ordinary
  }
  const result = integerOf(p, chop ? env | CHOP : env, m, s, bits)
  keep(p)
  return result
}

/** FSTP m80fp: the significand; `x87ToExtendedHigh` gives the other two bytes. */
export function x87ToExtended(p: u32): u64 {
  if (isEmpty(p, 0)) {
    keepUnderflow(p)
    return significandOf(indefiniteExtended())
  }
  store<u32>(p + X87_STORE, 0)
  return load<u64>(registerAt(p, 0))
}

export function x87ToExtendedHigh(p: u32): u32 {
  return isEmpty(p, 0) ? signExponentOf(indefiniteExtended()) : load<u16>(registerAt(p, 0) + 8)
}

const BCD_LIMIT: i64 = 1000000000000000000
const BCD_INDEFINITE: i64 = -0x8000000000000000

/** The integer that FBSTP stores, BCD_INDEFINITE if there is none. */
function bcdInteger(p: u32): i64 {
  if (isEmpty(p, 0)) {
    keepUnderflow(p)
    return BCD_INDEFINITE
  }
  const a = registerAt(p, 0)
  let value = integerOf(p, x87Env(p), load<u64>(a), load<u16>(a + 8), 64)
  if (value >= BCD_LIMIT || value <= -BCD_LIMIT) {
    store<u32>(p + FP_FLAGS, IE)
    value = BCD_INDEFINITE
  }
  keep(p)
  return value
}

/** FBSTP: the 16 low digits; `x87ToBcdHigh` gives the other two bytes. */
export function x87ToBcd(p: u32): u64 {
  const value = bcdInteger(p)
  if (value == BCD_INDEFINITE) return 0xc000000000000000
  let rest: u64 = value < 0 ? -value : value
  let digits: u64 = 0
  for (let shift: u64 = 0; shift < 64; shift += 4) {
    digits |= rest % 10 << shift
    rest /= 10
  }
  return digits
}

export function x87ToBcdHigh(p: u32): u32 {
  const value = bcdInteger(p)
  if (value == BCD_INDEFINITE) return 0xffff
  const high = <u32>((value < 0 ? <u64>-value : <u64>value) / 10000000000000000)
  // A negative number that rounds to zero keeps its sign.
  return high / 10 << 4 | high % 10 | load<u16>(registerAt(p, 0) + 8) & 0x8000
}

export function x87StoreGoes(p: u32): i32 {
  return (load<u32>(p + X87_STORE) & ~load<u32>(p + FCW) & (IE | OE | UE)) == 0 ? 1 : 0
}

/** Ends a store, with `pops` (0 or 1) pops. */
export function x87Stored(p: u32, pops: u32, ea: u64): void {
  begin(p)
  const flags = load<u32>(p + X87_STORE)
  if ((flags & SF) != 0) {
    if (!stackFault(p, 0, ea)) return
  } else if (!storedOrdinary(p, flags)) {
    store<u32>(p + FP_FLAGS, flags)
    if (!accept(p, OE | UE, ea)) return
  }
  if (pops != 0) pop(p)
}

/** x87 control: status and control words, stack management, FCMOV, MMX mode (SDM Vol. 1 8.1, 8.3, 9.6). */
import { FCW, FDP, FIP, FOP, FSW, FTW } from './layout'
import {
  begin, BUSY, clearC1, ES, isEmpty, NO_OPERAND, pop, registerAt, setTag, stackFault, turn, writeIndefinite,
} from './x87-stack'

/** ES and B follow from the exception flags and their masks whenever one of them is loaded. */
export function summarise(p: u32): void {
  const fsw = load<u32>(p + FSW)
  const pending = (fsw & ~load<u32>(p + FCW) & 0x3f) != 0
  store<u32>(p + FSW, pending ? fsw | ES | BUSY : fsw & ~(ES | BUSY))
}

/** FCW as it can be: bit 6 is 1, the other reserved bits are 0. */
@inline
export function setControl(p: u32, value: u32): void {
  store<u32>(p + FCW, value & 0x1f3f | 0x40)
}

/** FNINIT. */
export function x87Init(p: u32): void {
  store<u32>(p + FCW, 0x37f)
  store<u32>(p + FSW, 0)
  store<u32>(p + FTW, 0)
  store<u32>(p + FOP, 0)
  store<u64>(p + FIP, 0)
  store<u64>(p + FDP, 0)
}

/** FNCLEX. */
export function x87ClearExceptions(p: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & 0x7f00)
}

/** FLDCW. */
export function x87LoadControl(p: u32, value: u32): void {
  setControl(p, value)
  summarise(p)
}

/** FNOP. */
export function x87Nop(p: u32): void {
  begin(p)
}

/** FINCSTP (`step` 1), FDECSTP (7). */
export function x87Turn(p: u32, step: u32): void {
  begin(p)
  clearC1(p)
  turn(p, step)
}

/** FFREE ST(i); FFREEP, which pops too. */
export function x87Free(p: u32, i: u32, pops: u32): void {
  begin(p)
  clearC1(p)
  setTag(p, i, 0)
  if (pops != 0) pop(p)
}

/** FXCH ST(i). */
export function x87Exchange(p: u32, i: u32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, i)) {
    if (!stackFault(p, 0, NO_OPERAND)) return
    if (isEmpty(p, 0)) writeIndefinite(p, 0)
    if (isEmpty(p, i)) writeIndefinite(p, i)
  } else clearC1(p)
  const a = registerAt(p, 0), b = registerAt(p, i)
  const x = v128.load(a)
  v128.store(a, v128.load(b))
  v128.store(b, x)
}

/** FCMOVcc ST(0), ST(i); the row has evaluated the condition. */
export function x87Move(p: u32, i: u32, condition: i32): void {
  begin(p)
  if (isEmpty(p, 0) || isEmpty(p, i)) {
    if (stackFault(p, 0, NO_OPERAND)) writeIndefinite(p, 0)
    return
  }
  if (condition) v128.store(registerAt(p, 0), v128.load(registerAt(p, i)))
}

/** What every MMX instruction but EMMS does to the x87: TOP = 0, all registers in use. */
export function mmxEnter(p: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~0x3800)
  store<u32>(p + FTW, 0xff)
}

/** EMMS. */
export function mmxLeave(p: u32): void {
  store<u32>(p + FSW, load<u32>(p + FSW) & ~0x3800)
  store<u32>(p + FTW, 0)
}

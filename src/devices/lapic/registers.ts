/**
 * The guest's view of a local APIC: the xAPIC page, the x2APIC MSRs 0x800 to 0x8ff, IA32_APIC_BASE and
 * IA32_TSC_DEADLINE (SDM Vol. 3A, "Local APIC Register Address Map" and "Extended XAPIC (x2APIC)").
 * A register is named by its MMIO offset / 16, which is its x2APIC MSR - 0x800.
 */
import { ApicBase, ApicError, type Lapic } from './lapic.ts'

const ID = 0x02
const VERSION = 0x03
const TPR = 0x08
const APR = 0x09
const PPR = 0x0a
const EOI = 0x0b
const LDR = 0x0d
const DFR = 0x0e
const SVR = 0x0f
const ISR = 0x10
const TMR = 0x18
const IRR = 0x20
const ESR = 0x28
const ICR_LOW = 0x30
const ICR_HIGH = 0x31
const LVT_FIRST = 0x32
const LVT_LAST = 0x37
const INITIAL_COUNT = 0x38
const CURRENT_COUNT = 0x39
const DIVIDE = 0x3e
const SELF_IPI = 0x3f

/** Integrated APIC, six LVT entries, no suppression of EOI broadcasts. */
const VERSION_VALUE = 0x00050014

export const MSR_APIC_BASE = 0x1b
const MSR_TSC_DEADLINE = 0x6e0
const MSR_X2APIC = 0x800

/** Registers that can be written as MSRs, and the bits that must be 0 then. */
const X2APIC_RESERVED: Readonly<Record<number, number>> = {
  [TPR]: 0xffffff00,
  [EOI]: 0xffffffff,
  [SVR]: 0xfffffc00,
  [ESR]: 0xffffffff,
  [ICR_LOW]: 0xfff33000,
  0x32: 0xfff8ef00,
  0x33: 0xfffee800,
  0x34: 0xfffee800,
  0x35: 0xfffe0800,
  0x36: 0xfffe0800,
  0x37: 0xfffeef00,
  [INITIAL_COUNT]: 0,
  [DIVIDE]: 0xfffffff4,
  [SELF_IPI]: 0xffffff00,
}

/** A register common to both modes; undefined: there is none to read. */
function readRegister(apic: Lapic, register: number): number | undefined {
  apic.settle()
  if (register >= ISR && register < ISR + 8) return apic.isr[register - ISR]
  if (register >= TMR && register < TMR + 8) return apic.tmr[register - TMR]
  if (register >= IRR && register < IRR + 8) return apic.irr[register - IRR]
  if (register >= LVT_FIRST && register <= LVT_LAST) return apic.lvt[register - LVT_FIRST]
  switch (register) {
    case VERSION:
      return VERSION_VALUE
    case TPR:
      return apic.tpr
    case PPR:
      return apic.ppr
    case LDR:
      return apic.ldr
    case SVR:
      return apic.svr
    case ESR:
      return apic.esr
    case ICR_LOW:
      return apic.icrLow
    case INITIAL_COUNT:
      return apic.timer.initialCount
    case CURRENT_COUNT:
      return apic.timer.currentCount()
    case DIVIDE:
      return apic.timer.divide
    default:
      return undefined
  }
}

/** A register common to both modes, without ICR; false: there is none to write. */
function writeRegister(apic: Lapic, register: number, value: number): boolean {
  if (register >= LVT_FIRST && register <= LVT_LAST) {
    apic.writeLvt(register - LVT_FIRST, value)
    return true
  }
  switch (register) {
    case EOI:
      apic.endOfInterrupt()
      return true
    case INITIAL_COUNT:
      apic.timer.setInitialCount(value)
      return true
    case TPR:
      apic.writeTpr(value)
      return true
    case SVR:
      apic.writeSvr(value)
      return true
    case ESR:
      apic.writeEsr()
      return true
    case DIVIDE:
      apic.timer.divide = value
      return true
    default:
      return false
  }
}

// xAPIC: 32-bit registers at multiples of 16

/** Only the aligned 32-bit access is defined; narrower reads get their part, the space between registers is 0. */
export function readXapic(apic: Lapic, offset: number, size: number): number {
  const shift = (offset & 15) * 8
  if (shift >= 32) return 0
  const value = readXapicRegister(apic, offset >> 4) >>> shift
  return size === 4 ? value : value & ((1 << (size * 8)) - 1)
}

function readXapicRegister(apic: Lapic, register: number): number {
  switch (register) {
    case ID:
      return (apic.id << 24) >>> 0
    case APR:
    case EOI:
      return 0
    case DFR:
      return apic.dfr
    case ICR_HIGH:
      return apic.icrHigh
  }
  const value = readRegister(apic, register)
  if (value === undefined) apic.error(ApicError.ILLEGAL_REGISTER)
  return value ?? 0
}

export function writeXapic(apic: Lapic, offset: number, size: number, value: number): void {
  if (size !== 4 || offset & 15) return
  const register = offset >> 4
  switch (register) {
    case ICR_LOW:
      apic.icrLow = value & 0xccfff
      apic.send(value, apic.icrHigh >>> 24)
      return
    case ICR_HIGH:
      apic.icrHigh = value & 0xff000000
      return
    case LDR:
      apic.ldr = (value & 0xff000000) >>> 0
      return
    case DFR:
      apic.dfr = (value | 0x0fffffff) >>> 0
      return
    case ID:
    case VERSION:
    case APR:
    case PPR:
    case CURRENT_COUNT:
      return
  }
  if (register >= ISR && register < IRR + 8) return
  if (!writeRegister(apic, register, value)) apic.error(ApicError.ILLEGAL_REGISTER)
}

// MSRs; 64-bit values are written as two halves

export function isApicMsr(index: number): boolean {
  return index === MSR_APIC_BASE || index === MSR_TSC_DEADLINE || (index >= MSR_X2APIC && index <= 0x8ff)
}

/** Undefined: #GP(0). */
export function readApicMsr(apic: Lapic, index: number): bigint | undefined {
  if (index === MSR_APIC_BASE) return BigInt(apic.base + apic.mode)
  if (index === MSR_TSC_DEADLINE) return apic.timer.readDeadline()
  if (!apic.x2apic) return undefined
  const register = index - MSR_X2APIC
  if (register === ID) return BigInt(apic.id)
  if (register === ICR_LOW) return (BigInt(apic.icrHigh >>> 0) << 32n) | BigInt(apic.icrLow)
  const value = readRegister(apic, register)
  return value === undefined ? undefined : BigInt(value >>> 0)
}

/** What decides which bits of IA32_APIC_BASE are reserved. */
export interface ApicFeatures {
  /** MAXPHYADDR. */
  readonly physicalBits: number
  /** CPUID has x2APIC. */
  readonly x2apic: boolean
}

/** False: #GP(0). */
export function writeApicMsr(apic: Lapic, index: number, low: number, high: number, has: ApicFeatures): boolean {
  if (index === MSR_APIC_BASE) return writeApicBase(apic, low >>> 0, high >>> 0, has)
  if (index === MSR_TSC_DEADLINE) {
    apic.timer.writeDeadline(low, high)
    return true
  }
  const register = index - MSR_X2APIC
  const reserved = X2APIC_RESERVED[register]
  if (!apic.x2apic || reserved === undefined || low & reserved || (high !== 0 && register !== ICR_LOW)) return false
  if (register === ICR_LOW) {
    apic.icrLow = low >>> 0
    apic.icrHigh = high
    apic.send(low, high >>> 0)
    return true
  }
  if (register === SELF_IPI) {
    apic.send((1 << 18) | low, 0)
    return true
  }
  return writeRegister(apic, register, low >>> 0)
}

/** SDM Vol. 3A, "x2APIC State Transitions": what the figure has no arrow for is #GP. */
function writeApicBase(apic: Lapic, low: number, high: number, has: ApicFeatures): boolean {
  const mode = low & 0xd00
  const extd = mode & ApicBase.EXTD
  if (low & 0x2ff || high >>> (has.physicalBits - 32) || (extd && !has.x2apic)) return false
  if (extd && !(mode & ApicBase.EN)) return false
  if (extd && !apic.enabled) return false
  if (!extd && mode & ApicBase.EN && apic.x2apic) return false
  apic.base = high * 0x100000000 + ((low & 0xfffff000) >>> 0)
  apic.setMode(mode)
  return true
}

/**
 * The short list of what the oracle does not ask the host's processor, or does not compare, each with the reason.
 * Flags that the SDM leaves undefined are stated with the rows themselves (`undefinedFlags`).
 */
import type { Row } from '../../src/cpu/isa/row.ts'
import { generalRegisters, type Tolerance } from './compare.ts'
import type { Result } from './native.ts'
import type { Mode } from './segments.ts'

const SS = 12
const GP = 13
const PF = 14
const AC = 17

const excluded: [RegExp, string][] = [
  [/^(syscall|sysenter|sysexit|sysret)/, 'enters the host kernel'],
  [/^(cpuid|rdtscp?|rdrand|rdseed|rdpid|rdpmc|xgetbv)$/, 'the answer is the host’s own'],
  [/^x(save|rstor)/, 'the area depends on the host’s XCR0'],
  [/^(vmcall|vmmcall|hypercall)$/, 'reaches the hypervisor under the host'],
  [/^(f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos)$/, 'to a unit of the last place: x87-transcendental.test.ts'],
  [/^(sgdt|sidt|sldt|str|smsw)$/, 'Linux emulates them for user code (UMIP)'],
]

/** Why a row is not tested here, if so. */
export function exclusion(row: Row): string | undefined {
  if (row.options.system) return 'needs a kernel or devices: tested by guests'
  return excluded.find(([name]) => name.test(row.name))?.[1]
}

/** Rows that are #UD for user code, or mostly: control and debug registers that do not exist. */
export function undefinedForUsers(row: Row): boolean {
  return /^(ud[012]|clac|stac|mov_(to|from)_[CD]r)$/.test(row.name)
}

interface Exception {
  rows: RegExp
  /** Vectors with which the native case ends. */
  traps: readonly number[]
  /** Only in segmented code. */
  segmented?: boolean
  ignore: readonly string[]
  why: string
}

const exceptions: readonly Exception[] = [
  {
    rows: /^call/,
    traps: [GP],
    ignore: ['memory'],
    why: 'Intel writes the return address before it checks the target; the SDM leaves the order open',
  },
  {
    rows: /^(retf|iret|pusha|popa|call_far|enter|fnstenv|fldenv|fnsave|frstor|fxsave|fxrstor)/,
    traps: [PF],
    ignore: ['cr2', 'error'],
    why: 'which of many bytes is accessed first is no part of the architecture',
  },
  {
    rows: /^(retf|iret|pusha|popa|call_far|enter|fnstenv|fldenv|fnsave|frstor|fxsave|fxrstor)/,
    traps: [SS, GP, PF, AC],
    segmented: true,
    ignore: ['trap', 'cr2', 'error', 'memory'],
    why: 'nor whether a page or the end of the segment is met first',
  },
  {
    rows: /^popa/,
    traps: [PF],
    ignore: generalRegisters,
    why: 'nor is what has been loaded by then',
  },
  {
    rows: /^(pusha|enter|fstp_f80|fbstp|fnstenv|fnsave|fxsave)/,
    traps: [SS, GP, PF],
    ignore: ['memory'],
    why: 'nor what has been stored: these are several accesses',
  },
]

/** What is not compared in a case of a row whose native outcome is `native`. */
export function toleranceOf(row: Row, mode: Mode, native: Result): Tolerance {
  const segmented = mode === 's32' || mode === 16
  const ignore = new Set(
    exceptions
      .filter((e) => e.traps.includes(native.trap) && e.rows.test(row.name) && (!e.segmented || segmented))
      .flatMap((e) => e.ignore),
  )
  return { flags: row.options.undefinedFlags ?? 0, fsw: 0, ignore }
}

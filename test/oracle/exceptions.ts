/**
 * The short list of what the oracle does not ask the host's processor, or does not compare, each with the reason.
 * Flags that the SDM leaves undefined are stated with the rows themselves (`undefinedFlags`).
 */
import type { Row } from '../../src/cpu/isa/row.ts'
import { generalRegisters, type Tolerance } from './compare.ts'
import type { Result } from './native.ts'

const GP = 13
const PF = 14

const excluded: [RegExp, string][] = [
  [/^(syscall|sysenter|sysexit|sysret)/, 'enters the host kernel'],
  [/^(cpuid|rdtscp?|rdrand|rdseed|rdpid|rdpmc|xgetbv)$/, 'the answer is the host’s own'],
  [/^x(save|rstor)/, 'the area depends on the host’s XCR0'],
  [/^(vmcall|vmmcall|hypercall)$/, 'reaches the hypervisor under the host'],
  [/^(sgdt|sidt|sldt|str|smsw)$/, 'Linux emulates them for user code (UMIP)'],
]

/** Why a row is not tested here, if so. */
export function exclusion(row: Row): string | undefined {
  if (row.options.system) return 'needs a kernel or devices: tested by guests'
  return excluded.find(([name]) => name.test(row.name))?.[1]
}

/** What is not compared in a result of a row whose native outcome is `native`. */
export function toleranceOf(row: Row, native: Result): Tolerance {
  const ignore = new Set<string>()
  // Intel's processors write the return address before they check the target; the SDM leaves the order open.
  if (row.name.startsWith('call') && native.trap === GP) ignore.add('memory')
  // Which of a frame's accesses comes first is no part of the architecture; nor is what POPA has loaded by then.
  if (native.trap === PF && /^(retf|iret|pusha|popa|call_far|enter)/.test(row.name)) {
    ignore.add('cr2')
    if (row.name === 'popa') for (const name of generalRegisters) ignore.add(name)
  }
  return { flags: row.options.undefinedFlags ?? 0, fsw: 0, ignore }
}

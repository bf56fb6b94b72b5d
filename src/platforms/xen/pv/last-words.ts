/** What Xen prints about a PV domain that it crashes (arch/x86/x86_64/traps.c, `show_registers`). */
import type { PvRegisters } from '../../../paravirt/pv-effects.ts'
import { DOMU } from '../constants.ts'

const names = [
  'divide error',
  'debug',
  'nmi',
  'bkpt',
  'overflow',
  'bounds',
  'invalid opcode',
  'device not available',
  'double fault',
  'coproc seg overrun',
  'invalid tss',
  'segment not found',
  'stack error',
  'general protection fault',
  'page fault',
  'spurious interrupt',
  'coprocessor error',
  'alignment check',
  'machine check',
  'simd error',
]
const order = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]
/** Three in a line. */
const rows = [
  ['rax', 'rbx', 'rcx'],
  ['rdx', 'rsi', 'rdi'],
  ['rbp', 'rsp', 'r8'],
  ['r9', 'r10', 'r11'],
  ['r12', 'r13', 'r14'],
]

const hex = (value: bigint | number, digits = 16): string =>
  BigInt.asUintN(64, BigInt(value)).toString(16).padStart(digits, '0')

/** `unhandled`: it is the exception that had no handler. */
export function lastWords(vcpu: number, registers: PvRegisters, unhandled: boolean): string[] {
  const { general, cr, selectors, vector, error } = registers
  const [es, cs, ss, ds, fs, gs] = selectors.map((selector) => hex(selector, 4))
  const value = (name: string) => `${name}: ${hex(general[order.indexOf(name)] ?? 0n)}`
  const lines = unhandled
    ? [`d${DOMU}v${vcpu} Unhandled: vec ${vector}, ${names[vector] ?? 'trap'}[${hex(error < 0 ? 0 : error, 4)}]`]
    : []
  return [
    ...lines,
    `Domain ${DOMU} (vcpu#${vcpu}) crashed:`,
    `RIP:    ${cs}:[<${hex(registers.rip)}>]`,
    `RFLAGS: ${hex(registers.rflags)}   CONTEXT: pv guest (d${DOMU}v${vcpu})`,
    ...rows.map((row) => row.map(value).join('   ')),
    `${value('r15')}   cr0: ${hex(cr[0])}   cr4: ${hex(cr[4])}`,
    `cr3: ${hex(cr[3])}   cr2: ${hex(cr[2])}`,
    `fsb: ${hex(registers.fsBase)}   gsb: ${hex(registers.gsBase)}   gss: ${hex(registers.otherGsBase)}`,
    `ds: ${ds}   es: ${es}   fs: ${fs}   gs: ${gs}   ss: ${ss}   cs: ${cs}`,
  ]
}

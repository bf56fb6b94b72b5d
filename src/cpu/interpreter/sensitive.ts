/**
 * Instructions that touch what a hypervisor cares about (sensitive in the sense of Popek and Goldberg), and how a
 * counting build of the interpreter counts them when a kernel executes them: 16 counters each, of which MOV CR and
 * MOV DR use one a register, all others the first.
 */
import type { Variant } from '../isa/variants.ts'
import { M, R, S } from '../layout.ts'
import type { Code } from '../wasm/module.ts'

export const sensitive = [
  'cli',
  'sti',
  'pushf',
  'popf',
  'hlt',
  'iret',
  'syscall',
  'sysret',
  'sysenter',
  'sysexit',
  'swapgs',
  'cpuid',
  'rdmsr',
  'wrmsr',
  'rdtsc',
  'rdtscp',
  'rdpmc',
  'mov_from_Cr',
  'mov_to_Cr',
  'mov_from_Dr',
  'mov_to_Dr',
  'clts',
  'lmsw',
  'smsw',
  'lgdt',
  'lidt',
  'sgdt',
  'sidt',
  'lldt',
  'ltr',
  'sldt',
  'str',
  'invlpg',
  'invpcid',
  'wbinvd',
  'vmcall',
  'vmmcall',
] as const
export type Sensitive = (typeof sensitive)[number]

const EACH = 16
const USER = 3

/** Address of a counter (i64). */
export function counterOf(name: Sensitive, register = 0): number {
  return M.SENSITIVE + (sensitive.indexOf(name) * EACH + register) * 8
}

export function isSensitive(name: string): name is Sensitive {
  return (sensitive as readonly string[]).includes(name)
}

/** At the start of a handler: one more, unless it is a user program's. */
export function emitCount(c: Code, { row }: Variant, state: number, record: number): void {
  if (!isSensitive(row.name)) return
  const address = c.local('i32')
  const registers = /^mov_(from|to)_[CD]r$/.exec(row.name)
  if (registers)
    c.get(record)
      .mem('i32.load8_u', registers[1] === 'to' ? R.A : R.B)
      .i32(3)
      .op('i32.shl')
  else c.i32(0)
  c.set(address)
  const at = counterOf(row.name)
  c.get(address).get(address).mem('i64.load', at)
  c.get(state).mem('i32.load', S.CPL).i32(USER).op('i32.ne').op('i64.extend_i32_u').op('i64.add').mem('i64.store', at)
}

/** Puts a vCPU into the state in which a boot protocol enters a kernel. */
import type { EntryState, SegmentRegister } from '../boot/layout.ts'
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'

const dataSegments = { 0: 'es', 2: 'ss', 3: 'ds', 4: 'fs', 5: 'gs' } as const
const ES_TO_GS = 6
const CS = 1
const LDTR = 6
const TR = 7
/** Flags that the core keeps apart: CF PF AF ZF SF OF. */
const ARITHMETIC = 0x8d5

const others = {
  rax: S.RAX,
  rbx: S.RBX,
  rsi: S.RSI,
  rcx: S.RCX,
  rdx: S.RDX,
  rsp: S.RSP,
  rbp: S.RBP,
  rdi: S.RDI,
} as const

/** The vCPU must be in its reset state. */
export function enter(core: Core, vcpu: number, entry: EntryState): void {
  const p = core.vcpus[vcpu] as number
  const wide = (offset: number, value: number | bigint) => {
    core.u64[(p + offset) >> 3] = BigInt(value)
  }
  const word = (offset: number, value: number) => {
    core.i32[(p + offset) >> 2] = value | 0
  }
  const segment = (index: number, { selector, base, limit, attributes }: SegmentRegister) => {
    word(S.SEG_SELECTOR + 4 * index, selector)
    word(S.SEG_LIMIT + 4 * index, limit)
    word(S.SEG_ATTR + 4 * index, attributes)
    if (index < ES_TO_GS) wide(S.SEG_BASE + 8 * index, base)
    if (index < 4) wide(S.DESC_BASE + 8 * index, base)
    if (index === TR) wide(S.TR_BASE, base)
    if (index === LDTR) wide(S.LDTR_BASE, base)
  }
  wide(S.RDX, 0)
  wide(S.RAX, entry.rax)
  wide(S.RBX, entry.rbx)
  wide(S.RSI, entry.rsi)
  for (const [name, value] of Object.entries(entry.others ?? {})) wide(others[name as keyof typeof others], value)
  wide(S.RIP, entry.rip)
  wide(S.CR0, entry.cr0)
  wide(S.CR2, entry.cr2 ?? 0)
  wide(S.CR3, entry.cr3)
  wide(S.CR4, entry.cr4)
  wide(S.EFER, entry.efer)
  wide(S.GDTR_BASE, entry.gdtr.base)
  word(S.GDTR_LIMIT, entry.gdtr.limit)
  if (entry.idtr) {
    wide(S.IDTR_BASE, entry.idtr.base)
    word(S.IDTR_LIMIT, entry.idtr.limit)
  }
  segment(CS, entry.cs)
  for (const [index, name] of Object.entries(dataSegments)) segment(Number(index), entry.segments?.[name] ?? entry.data)
  if (entry.ldtr) segment(LDTR, entry.ldtr)
  segment(TR, entry.tr)
  core.system.setFlags(p, entry.rflags & ARITHMETIC)
  word(S.SYSFLAGS, (entry.rflags & ~ARITHMETIC) | 2)
  word(S.CPL, entry.cs.selector & 3)
  core.system.refreshState(p)
  core.system.updateMode(p)
}

/** Puts a vCPU into the state in which a boot protocol enters a kernel. */
import type { EntryState, SegmentRegister } from '../boot/layout.ts'
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'

const ES_TO_GS = 6
const CS = 1
const TR = 7

const others = { rcx: S.RCX, rdx: S.RDX, rsp: S.RSP, rbp: S.RBP, rdi: S.RDI } as const

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
  }
  wide(S.RDX, 0)
  wide(S.RAX, entry.rax)
  wide(S.RBX, entry.rbx)
  wide(S.RSI, entry.rsi)
  for (const [name, value] of Object.entries(entry.others ?? {})) wide(others[name as keyof typeof others], value)
  wide(S.RIP, entry.rip)
  wide(S.CR0, entry.cr0)
  wide(S.CR3, entry.cr3)
  wide(S.CR4, entry.cr4)
  wide(S.EFER, entry.efer)
  wide(S.GDTR_BASE, entry.gdtr.base)
  word(S.GDTR_LIMIT, entry.gdtr.limit)
  for (let i = 0; i < ES_TO_GS; i++) segment(i, i === CS ? entry.cs : entry.data)
  segment(TR, entry.tr)
  core.system.refreshState(p)
  core.system.updateMode(p)
}

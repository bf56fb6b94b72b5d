/**
 * What a kernel does without asking: sensitive instructions that it executes, page-table entries that it stores, and
 * what it reads and writes where it shares memory with its hypervisor, as a counting machine sees them. Frames count as
 * page tables from a walk that visits them until a store that is no whole entry: by then the kernel uses them for
 * something else.
 */
import type { Core } from '../cpu/core.ts'
import { counterOf, sensitive, type Sensitive } from '../cpu/interpreter/sensitive.ts'
import { M, PageAttr } from '../cpu/layout.ts'
import { buildInterpreter, type Interpreter } from '../cpu/interpreter/build.ts'
import type { SharedByte } from '../paravirt/effects.ts'
import type { Op } from '../paravirt/ops.ts'
import { type Seen, SharedCounts } from './shared-counts.ts'

const LEVEL = 7

/** Linux's operation of an instruction; by register number for MOV CR. */
const instructionOps: Readonly<Partial<Record<Sensitive, Op | Readonly<Record<number, Op>>>>> = {
  cli: 'irq.irq_disable',
  sti: 'irq.irq_enable',
  pushf: 'irq.save_fl',
  popf: 'irq.restore_fl',
  hlt: 'irq.safe_halt',
  iret: 'cpu.iret',
  sysret: 'cpu.usergs_sysret64',
  sysexit: 'cpu.irq_enable_sysexit',
  swapgs: 'cpu.swapgs',
  cpuid: 'cpu.cpuid',
  rdmsr: 'cpu.read_msr',
  wrmsr: 'cpu.write_msr',
  rdtsc: 'cpu.read_tsc',
  rdtscp: 'cpu.read_tsc',
  rdpmc: 'cpu.read_pmc',
  mov_from_Cr: { 0: 'cpu.read_cr0', 2: 'mmu.read_cr2', 3: 'mmu.read_cr3', 4: 'cpu.read_cr4', 8: 'cpu.read_cr8' },
  mov_to_Cr: { 0: 'cpu.write_cr0', 2: 'mmu.write_cr2', 3: 'mmu.write_cr3', 4: 'cpu.write_cr4', 8: 'cpu.write_cr8' },
  mov_from_Dr: 'cpu.get_debugreg',
  mov_to_Dr: 'cpu.set_debugreg',
  clts: 'cpu.clts',
  lgdt: 'cpu.load_gdt',
  lidt: 'cpu.load_idt',
  lldt: 'cpu.set_ldt',
  ltr: 'cpu.load_tr_desc',
  str: 'cpu.store_tr',
  invlpg: 'mmu.flush_tlb_one_user',
  invpcid: 'mmu.flush_tlb_user',
  wbinvd: 'cpu.wbinvd',
}
const levelOps: readonly Op[] = ['mmu.set_pte', 'mmu.set_pmd', 'mmu.set_pud', 'mmu.set_p4d']

export class Census {
  /** What the core must run on to be counted. */
  readonly interpreter: Interpreter = buildInterpreter({ counting: true })
  readonly #stores = [0, 0, 0, 0]
  readonly #shared = new SharedCounts()
  #core!: Core

  start(core: Core): void {
    this.#core = core
    core.i32[M.WATCH_TABLES >> 2] = 1
  }

  store(address: number, size: number, value: number, attribute: number): void {
    const level = attribute & LEVEL
    if (level === 0) return this.#shared.store(address, size, value)
    const wide = size >= 4 && address % size === 0 && size <= 8
    if (!wide) this.#core.u8[M.PAGE_ATTR + (address >>> 12)] = PageAttr.RAM
    else this.#stores[level - 1] = (this.#stores[level - 1] as number) + 1
  }

  load(address: number, size: number): void {
    this.#shared.load(address, size)
  }

  /** See `MemoryEffects.share`. */
  share(byte: SharedByte, vcpu: number, address: bigint | undefined): void {
    const core = this.#core
    const inside = address !== undefined && address < BigInt(core.ramBytes) ? Number(address) : undefined
    for (const [page, watched] of this.#shared.move(byte, vcpu, inside)) {
      const at = M.PAGE_ATTR + page
      const kind = (core.u8[at] as number) & ~PageAttr.READS
      if (watched) core.u8[at] = (kind === PageAttr.RAM ? PageAttr.WATCHED : kind) | PageAttr.READS
      else core.u8[at] = kind === PageAttr.WATCHED ? PageAttr.RAM : kind
    }
    for (const p of core.vcpus) core.system.flushAll(p)
  }

  /** Everything that was executed or stored, most often first. */
  list(): Seen[] {
    const seen: Seen[] = this.#stores.map((count, i) => {
      return { what: `store to a level ${i + 1} page table`, op: levelOps[i], count }
    })
    for (const name of sensitive)
      for (let register = 0; register < 16; register++) {
        const count = Number(this.#core.u64[counterOf(name, register) >> 3])
        const ops = instructionOps[name]
        const op = typeof ops === 'object' ? ops[register] : ops
        const what = /_[CD]r$/.test(name) ? `${name}${register}` : name
        seen.push({ what: what.replaceAll('_', ' '), op, count })
      }
    seen.push(...this.#shared.list())
    return seen.filter(({ count }) => count > 0).sort((a, b) => b.count - a.count)
  }
}

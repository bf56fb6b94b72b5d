/**
 * The tables of operations that a kernel has, and what it holds in them: `pv_ops` (4.20 and newer), pv_cpu_ops,
 * pv_mmu_ops and their like (2.6.24 to 4.19), or `paravirt_ops` (2.6.20 to 2.6.23).
 */
import type { GuestMemory } from '../symbols/guest.ts'
import { structMembers } from '../symbols/btf.ts'

/** Name of a table, and the group that all its operations are of; `pv_ops` says that itself. */
const tables: readonly (readonly [symbol: string, group: string])[] = [
  ['pv_ops', ''],
  ['pv_init_ops', 'init'],
  ['pv_time_ops', 'time'],
  ['pv_cpu_ops', 'cpu'],
  ['pv_irq_ops', 'irq'],
  ['pv_apic_ops', 'apic'],
  ['pv_mmu_ops', 'mmu'],
  ['pv_lock_ops', 'lock'],
  ['paravirt_ops', ''],
]
/** No table has more operations. */
const LARGEST = 4096

export interface Slot {
  readonly table: string
  readonly group: string
  readonly offset: number
  /** Where it lies. */
  readonly address: bigint
  /** By the kernel's type information: `mmu.write_cr3`. */
  readonly name: string | undefined
  /** What it holds: the function's names. */
  readonly functions: readonly string[]
}

/** Every word of the tables that points to a function. Throws RangeError if the kernel has no table. */
export function readTables(memory: GuestMemory): Slot[] {
  const { symbols } = memory
  const present = tables.filter(([symbol]) => symbols.address(symbol) !== undefined)
  if (present.length === 0)
    throw new RangeError(
      'its symbols show no table of paravirtual operations: it has none (CONFIG_PARAVIRT), or they are without data (CONFIG_KALLSYMS_ALL); give --system-map',
    )
  return present.flatMap(([table, group]) => {
    const start = memory.symbol(table)
    const end = symbols.end(start) ?? start
    const size = Math.min(Number(end - start), LARGEST)
    const members = table === 'pv_ops' ? layout(memory) : undefined
    const slots: Slot[] = []
    for (let offset = 0; offset + memory.wordSize <= size; offset += memory.wordSize) {
      const address = start + BigInt(offset)
      const functions = symbols.at(memory.word(address)).filter((name) => !name.startsWith('__pfx_'))
      if (functions.length > 0) slots.push({ table, group, offset, address, name: members?.get(offset), functions })
    }
    return slots
  })
}

function layout(memory: GuestMemory): Map<number, string> | undefined {
  const { symbols } = memory
  const start = symbols.address('__start_BTF')
  const end = symbols.address('__stop_BTF')
  const btf = start !== undefined && end !== undefined ? memory.bytes(start, Number(end - start)) : undefined
  const members = btf && structMembers(btf, 'paravirt_patch_template')
  return members && new Map(members.map(({ offset, name }) => [offset, name]))
}

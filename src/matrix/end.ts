/** What the memory of a machine that has stopped says: the kernel's log, where its vCPUs were, its operations. */
import type { Kernel } from '../boot/entries.ts'
import type { Machine } from '../machine/machine.ts'
import { readLinear } from '../machine/linear.ts'
import { readOps } from '../pvops/read.ts'
import { backtrace } from '../symbols/backtrace.ts'
import { GuestMemory } from '../symbols/guest.ts'
import { decodeKallsyms } from '../symbols/kallsyms.ts'
import { readLog, type Message } from '../symbols/printk.ts'
import { readSystemMap } from '../symbols/system-map.ts'
import type { CellPlan } from './plan.ts'
import type { Cell, OutcomeKind } from './report.ts'

export interface End extends Pick<Cell, 'ops' | 'opsError' | 'backtrace'> {
  readonly messages?: Message[] | undefined
}

export function inspectEnd(machine: Machine, kernel: Kernel, outcome: OutcomeKind, plan: CellPlan): End {
  const { elf, bits } = kernel
  const symbols = plan.systemMap ? readSystemMap(plan.systemMap) : elf && decodeKallsyms(elf)
  if (!symbols) return plan.ops ? { opsError: 'it carries no symbols (CONFIG_KALLSYMS); give --system-map' } : {}
  const memory = new GuestMemory(symbols, bits, (address, length) => readLinear(machine.core, 0, address, length))
  const ended = outcome !== 'ok' && outcome !== 'command-failed' && outcome !== 'power-off'
  const end: End = {
    messages: readLog(memory),
    ...(ended ? { backtrace: backtrace(machine.core, symbols) } : {}),
  }
  if (!plan.ops) return end
  try {
    return { ...end, ops: readOps(machine, kernel, symbols) }
  } catch (error) {
    if (error instanceof RangeError) return { ...end, opsError: error.message }
    throw error
  }
}

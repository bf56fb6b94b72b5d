/** What the memory of a machine that has stopped says: the kernel's log, and where its vCPUs were. */
import type { Kernel } from '../boot/entries.ts'
import type { Machine } from '../machine/machine.ts'
import { readLinear } from '../machine/linear.ts'
import { backtrace } from '../symbols/backtrace.ts'
import { GuestMemory } from '../symbols/guest.ts'
import { decodeKallsyms } from '../symbols/kallsyms.ts'
import { readLog, type Message } from '../symbols/printk.ts'
import type { OutcomeKind } from './report.ts'

export interface End {
  readonly messages?: Message[] | undefined
  readonly backtrace?: string[]
}

export function inspectEnd({ core }: Machine, { elf, bits }: Kernel, outcome: OutcomeKind): End {
  const symbols = elf && decodeKallsyms(elf)
  if (!symbols) return {}
  const memory = new GuestMemory(symbols, bits, (address, length) => readLinear(core, 0, address, length))
  const messages = readLog(memory)
  const wanted = outcome !== 'ok' && outcome !== 'command-failed' && outcome !== 'power-off'
  return { messages, ...(wanted ? { backtrace: backtrace(core, symbols) } : {}) }
}

/** A running kernel's operations: what its tables hold, what its call sites have become, and what reached the host. */
import type { Kernel } from '../boot/entries.ts'
import { readLinear } from '../machine/linear.ts'
import type { Machine } from '../machine/machine.ts'
import { GuestMemory } from '../symbols/guest.ts'
import { imageMemory } from '../symbols/image.ts'
import type { SymbolTable } from '../symbols/symbols.ts'
import type { OpsReading } from './reading.ts'
import { patchedSites } from './sites.ts'
import { staticCalls } from './static-calls.ts'
import { readTables } from './tables.ts'

/** Throws RangeError, in words, for a kernel that has none. */
export function readOps(machine: Machine, { elf, bits }: Kernel, symbols: SymbolTable): OpsReading {
  if (!elf) throw new RangeError('it can only unpack itself, so its image is not known')
  const memory = new GuestMemory(symbols, bits, (address, length) => readLinear(machine.core, 0, address, length))
  const slots = readTables(memory)
  const sites = patchedSites(slots, imageMemory(elf, symbols), memory)
  return {
    slots: [
      ...slots.map((slot) => {
        const { table, group, offset, name, functions } = slot
        const now = [...(sites.get(slot) ?? [])].map(([what, count]) => ({ what, count }))
        return {
          table,
          group,
          offset,
          ...(name === undefined ? {} : { name }),
          functions: [...functions],
          sites: now.sort((a, b) => b.count - a.count),
        }
      }),
      ...staticCalls(memory),
    ],
    arrived: arrived(machine),
    counted: machine.census !== undefined,
  }
}

function arrived({ requests, census }: Machine): OpsReading['arrived'] {
  const ways: Record<string, Map<string, number>> = {}
  const add = (op: string, way: string, count: number) => {
    const counts = (ways[op] ??= new Map())
    counts.set(way, (counts.get(way) ?? 0) + count)
  }
  for (const [{ ops, kind }, count] of requests.counts) for (const op of ops) add(op, kind, count)
  for (const { op, what, count } of census?.list() ?? []) if (op) add(op, what, count)
  return Object.fromEntries(
    Object.entries(ways).map(([op, counts]) => [op, [...counts].map(([what, count]) => ({ what, count }))]),
  )
}

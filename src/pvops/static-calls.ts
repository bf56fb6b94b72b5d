/**
 * Operations that have left the table: since 5.13 sched_clock and steal_clock are static calls, whose trampoline
 * (`__SCT__name`) is a jump to the function.
 */
import type { GuestMemory } from '../symbols/guest.ts'
import type { OpsReading } from './reading.ts'

const JMP_REL32 = 0xe9

export function staticCalls(memory: GuestMemory): OpsReading['slots'] {
  return ['sched_clock', 'steal_clock'].flatMap((op) => {
    const trampoline = memory.symbols.address(`__SCT__pv_${op}`)
    const code = trampoline === undefined ? undefined : memory.bytes(trampoline, 5)
    if (trampoline === undefined || code?.[0] !== JMP_REL32) return []
    const distance = new DataView(code.buffer, code.byteOffset).getInt32(1, true)
    const functions = memory.symbols
      .at(BigInt.asUintN(64, trampoline + 5n + BigInt(distance)))
      .filter((name) => !name.startsWith('__pfx_'))
    return [{ table: 'static call', group: 'time', offset: 0, name: `time.${op}`, functions, sites: [] }]
  })
}

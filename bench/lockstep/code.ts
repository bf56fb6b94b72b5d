/** Guest code for the reader: the instruction at a linear address. */
import type { Core } from '../../src/cpu/core.ts'
import { Disassembler } from '../../src/cpu/disassemble/disassembler.ts'
import { cachedInterpreter } from '../../src/cpu/interpreter/cached.ts'
import { Mode, S } from '../../src/cpu/layout.ts'
import { bytesAt } from '../../src/cpu/mapping.ts'

const LONGEST = 15
let disassembler: Disassembler | undefined

/** The instruction at RIP `rip` in decode mode `mode`, as one line. */
export function disassemble(core: Core, p: number, rip: bigint, mode: number): string {
  disassembler ??= new Disassembler(cachedInterpreter())
  const base = mode & Mode.LONG ? 0n : core.u64[(p + S.SEG_BASE + 8) >> 3]!
  const bytes = bytesAt(core, p, rip + base, LONGEST)
  const { length, text } = disassembler.instruction(bytes, 0, rip, mode)
  return `${rip.toString(16)}:  ${Buffer.from(bytes.subarray(0, length)).toString('hex').padEnd(20)}  ${text}`
}

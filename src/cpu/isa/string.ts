/** MOVS STOS LODS CMPS SCAS INS OUTS, alone and repeated: all through one procedure (src/cpu/system/strings.ts). */
import { row, type RowOptions } from './row.ts'
import type { Semantics } from './semantics.ts'

/** Opcode of the byte form; the next one is the sized form. Numbers are those of stringOp. */
const operations = [
  ['movs', 0xa4, 0],
  ['stos', 0xaa, 1],
  ['lods', 0xac, 2],
  ['cmps', 0xa6, 3],
  ['scas', 0xae, 4],
  ['ins', 0x6c, 5],
  ['outs', 0x6e, 6],
] as const

const AGAIN = 1
const FAULT = 2

for (const [name, opcode, operation] of operations) {
  for (const [width, bits] of ([16, 32, 64] as const).entries()) {
    const semantics = (bytes: (s: Semantics) => number) => (s: Semantics) => {
      const how = s.or(s.or(s.repeatPrefix(), width << 2), s.shl(s.segment(), 4))
      const outcome = s.compute('stringOp', s.k32(operation), s.k32(bytes(s)), how)
      s.failed(s.eq(outcome, FAULT))
      s.repeat(s.eq(outcome, AGAIN))
    }
    const hex = (n: number) => n.toString(16).toUpperCase()
    const io = operation > 4
    const options: RowOptions = { string: true, address: bits }
    row(
      `${name}b_${bits}`,
      hex(opcode),
      '',
      semantics(() => 1),
      options,
    )
    row(
      `${name}_${bits}`,
      hex(opcode + 1),
      '',
      semantics((s) => s.size / 8),
      io ? { ...options, sized: true, sizes: [16, 32] } : { ...options, sized: true },
    )
  }
}

/** IN and OUT (SDM Vol. 2): the port is an immediate byte or DX. */
import { S } from '../layout.ts'
import { row, type RowOptions } from './row.ts'
import type { Semantics } from './semantics.ts'

const wide: RowOptions = { sized: true, sizes: [16, 32] }
const size = (s: Semantics) => s.k32(s.size > 8 ? s.size / 8 : 1)
const fixed = (s: Semantics) => s.read(0)
const dx = (s: Semantics) => s.reg(S.RDX, 16)

for (const [name, procedure, opcode] of [
  ['in', 'portIn', 0xe4],
  ['out', 'portOut', 0xe6],
] as const) {
  const hex = (n: number) => n.toString(16).toUpperCase()
  for (const [suffix, options] of [
    ['b', {}],
    ['', wide],
  ] as [string, RowOptions][]) {
    const at = opcode + (suffix === 'b' ? 0 : 1)
    row(`${name}${suffix}`, hex(at), 'Ib', (s) => s.attempt(procedure, fixed(s), size(s)), options)
    row(`${name}${suffix}_dx`, hex(at + 8), '', (s) => s.attempt(procedure, dx(s), size(s)), options)
  }
}

/** Random encodings of every row of the instruction table, one in each slot of a file for objdump. */
import { allRows } from '../../src/cpu/isa/table.ts'
import type { Row } from '../../src/cpu/isa/row.ts'
import { Random } from '../oracle/random.ts'
import type { Bits } from './objdump.ts'

export const SLOT = 32
const NOP = 0x90

/** Bytes of a row with random operands. */
function encoding(row: Row, random: Random, bits: Bits): number[] {
  const bytes: number[] = []
  const mandatory = { none: 0, NP: 0, '66': 0x66, F2: 0xf2, F3: 0xf3 }[row.prefix]
  if (bits !== 16 && row.options.address === 16 && bits === 32) bytes.push(0x67)
  else if (row.options.address !== undefined && row.options.address !== bits) bytes.push(0x67)
  else if (row.options.address === undefined && random.chance(8)) bytes.push(0x67)
  if (random.chance(8)) bytes.push(random.pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]))
  if (row.options.lock && random.chance(10)) bytes.push(0xf0)
  if (row.options.string && random.chance(30)) bytes.push(random.pick([0xf2, 0xf3]))
  if (row.prefix === 'none' && random.chance(20)) bytes.push(0x66)
  if (mandatory) bytes.push(mandatory)
  const wide = row.rexW === true ? 8 : row.rexW === false ? 0 : random.pick([0, 8])
  if (bits === 64 && (row.rexW === true || random.chance(50)))
    bytes.push(0x40 | wide | (random.below(8) & (row.options.noRexB ? 6 : 7)))
  bytes.push(...[[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][row.map]!)
  bytes.push(row.opcode + (row.plusR ? random.below(8) : 0))
  if (row.modrm) {
    const reg = row.digit ?? random.below(row.operands.some((o) => o.where === 'S') ? 6 : 8)
    const mod = row.mod === 'reg' ? 3 : row.mod === 'mem' ? random.below(3) : random.below(4)
    bytes.push((mod << 6) | (reg << 3) | (row.rm ?? random.below(8)))
  }
  while (bytes.length < 14) bytes.push(random.below(256))
  return bytes
}

/** For each row that a mode has, `count` slots. */
export function slots(bits: Bits, count: number, seed: string): { bytes: Uint8Array; rows: Row[] } {
  const random = new Random(seed)
  const rows = allRows()
    .filter((row) => !(bits === 64 ? row.options.not64 : row.options.only64))
    .filter(
      (row) => row.options.address === undefined || (bits === 64 ? row.options.address > 16 : row.options.address < 64),
    )
    .flatMap((row) => Array.from({ length: count }, () => row))
  const bytes = new Uint8Array(rows.length * SLOT).fill(NOP)
  rows.forEach((row, i) => bytes.set(encoding(row, random, bits), i * SLOT))
  return { bytes, rows }
}

/**
 * The oracle's cases: for every row of the instruction table that user code can execute, each mode and operand size,
 * random and corner-case states. Case n of a row is the same on every machine and does not depend on other rows.
 */
import { allRows, type Row } from '../../src/cpu/isa/row.ts'
import { encode, flagProducer, type Form } from './encode.ts'
import { exclusion } from './exceptions.ts'
import { formsOf } from './forms.ts'
import { Space, type Case } from './native.ts'
import { Random } from './random.ts'
import { dataAddress, fill, flags, fxsave, registers, type Lanes } from './state.ts'

/** Change it to get other cases everywhere. */
const SEED = 'paravirt 1'

export interface RowCase {
  case: Case
  /** Where the memory operand is. */
  address: bigint | undefined
}

/** The rows that the oracle tests, in the table's order. */
export function testedRows(): Row[] {
  return allRows().filter((row) => exclusion(row) === undefined)
}

/** Names a row among those with the same mnemonic. */
export function rowTitle(row: Row): string {
  return `${row.name} ${row.operands.map((o) => o.text).join(',')} (${row.encoding})`
}

/** What the row's vector, x87 and memory operands should mostly look like. */
function lanesOf(row: Row, random: Random): Lanes {
  const name = row.name.toLowerCase()
  if (random.chance(5)) return random.pick(['f32', 'f64', 'int', 'f80'])
  if (row.map === 0 && row.opcode >= 0xd8 && row.opcode <= 0xdf) return random.pick(['f32', 'f64', 'int', 'f80'])
  if (name.startsWith('cvt')) return random.pick(['f32', 'f64', 'int'])
  if (/(ps|ss)$/.test(name)) return 'f32'
  if (/(pd|sd)$/.test(name)) return 'f64'
  return 'int'
}

/** Gives an indirect jump or a return a place to go: in registers, or as a frame of any width in memory. */
function aimAtCode(random: Random, gpr: BigUint64Array, memory: Uint8Array, at: number, inRegister: boolean): void {
  const target = (): bigint => BigInt(Space.CODE + random.below(Space.CODE_SIZE))
  if (inRegister) for (let r = 0; r < 16; r++) if (r !== 4) gpr[r] = target()
  const view = new DataView(memory.buffer)
  const width = random.pick([2, 4, 8])
  const selector = (): bigint => BigInt(random.pick([0x23, 0x33, 0x33, 0x2b, 0x2b, 0x13, 0, 3, random.below(0x10000)]))
  const frame = [target(), selector(), BigInt(random.u32() & 0x244fd5 | 2), BigInt(dataAddress(random, 8)), selector()]
  frame.forEach((value, i) => {
    const place = at + i * width
    if (place < 0 || place + 8 > memory.length) return
    view.setBigUint64(place, value, true)
  })
}

function makeCase(row: Row, form: Form, random: Random): RowCase {
  const lanes = lanesOf(row, random)
  const gpr = registers(random)
  // IRET that loads AC from an unaligned stack takes #AC, which Linux mistakes for a split lock and resumes for ever.
  if (row.name === 'iret') gpr[4] = gpr[4]! & ~7n
  // Sometimes the last code page ends in or right after the instruction.
  const offset = random.chance(98) ? 0x800 : Space.CODE_SIZE - 1 - random.below(15)
  const before = offset === 0x800 && random.chance(30) ? flagProducer(random, form.mode) : []
  const start = Space.CODE + offset + before.length
  const { code, address, fsBase, gsBase } = encode(random, form, start, before.length, gpr)
  const stack = /^(ret|iret|pop)/.test(row.name)
  const linear = Number((address ?? gpr[stack ? 4 : random.pick([4, 4, 6, 7])]!) & 0xffffffffn)
  const size = /^fx?(rstor|save)/.test(row.name) ? 512 : 192
  const window = Math.min(Math.max(linear - 64 & ~63, Space.DATA), Space.DATA + Space.DATA_SIZE - size)
  const memory = new Uint8Array(size)
  if (random.chance(8)) memory.fill(random.below(256))
  else fill(random, memory, lanes)
  const at = linear - window
  const transfer = /^(jmp|call|ret|iret)/.test(row.name)
  if (transfer && random.chance(80)) aimAtCode(random, gpr, memory, at, address === undefined)
  else if (random.chance(12) && at >= 0 && at + 16 <= size) {
    // Memory that equals the accumulator, for CMPXCHG and its kin.
    const view = new DataView(memory.buffer)
    view.setBigUint64(at, gpr[0]!, true)
    view.setBigUint64(at + 8, gpr[2]!, true)
  }
  return {
    address,
    case: {
      mode: form.mode, code: Uint8Array.from([...before, ...code]).subarray(0, Space.CODE_SIZE - offset), offset, gpr,
      flags: flags(random, form.repeat), fsBase, gsBase, fxsave: fxsave(random, lanes), window, memory,
    },
  }
}

/** `count` cases of a row in a mode, over all its operand sizes in turn; none where the mode does not have the row. */
export function casesOf(row: Row, mode: 64 | 32, count: number): RowCase[] {
  const forms = formsOf(row, mode)
  if (forms.length === 0) return []
  const random = new Random(`${SEED} ${mode} ${rowTitle(row)}`)
  return Array.from({ length: count }, (_, i) => makeCase(row, forms[i % forms.length]!, random))
}

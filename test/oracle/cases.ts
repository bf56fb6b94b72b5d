/**
 * The oracle's cases: for every row of the instruction table that user code can execute, each mode and operand size,
 * random and corner-case states. Case n of a row is the same on every machine and does not depend on other rows.
 */
import { allRows, type Row } from '../../src/cpu/isa/row.ts'
import { encode, flagProducer, type Form } from './encode.ts'
import { exclusion } from './exceptions.ts'
import { formsOf } from './forms.ts'
import type { Case } from './native.ts'
import { Random } from './random.ts'
import { baseOf, pickSegments, pickSelector, Seg, type Mode } from './segments.ts'
import { Space } from './space.ts'
import { dataAddress, fill, flags, fxsave, registers, type Lanes } from './state.ts'

/** Change it to get other cases everywhere. */
const SEED = 'paravirt 1'
const LOW32 = 0xffffffffn
const LONGEST_CODE = 32

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

/**
 * Gives an indirect jump or a return a place to go, outside the case's own code: in registers, or as a frame of any
 * width in memory.
 */
function aimAtCode(
  random: Random,
  c: Pick<Case, 'gpr' | 'selectors' | 'offset'>,
  memory: Uint8Array,
  at: number,
  inRegister: boolean,
): void {
  const target = (): bigint => {
    const place = random.below(Space.CODE_SIZE)
    if (place >= c.offset && place < c.offset + LONGEST_CODE) return target()
    return BigInt(Space.CODE - baseOf(c.selectors[Seg.CS]!) + place)
  }
  if (inRegister) for (let r = 0; r < 16; r++) if (r !== RSP) c.gpr[r] = target()
  const width = random.pick([2, 4, 8])
  const stack = BigInt(dataAddress(random, 8) - baseOf(c.selectors[Seg.SS]!))
  const selector = (usual: number): bigint => BigInt(random.chance(50) ? usual : pickSelector(random))
  const frame = [
    target(),
    selector(c.selectors[Seg.CS]!),
    BigInt((random.u32() & 0x244fd5) | 2),
    stack,
    selector(c.selectors[Seg.SS]!),
  ]
  const view = new DataView(memory.buffer)
  frame.forEach((value, i) => {
    const place = at + i * width
    if (place >= 0 && place + 8 <= memory.length) view.setBigUint64(place, BigInt.asUintN(64, value), true)
  })
}

/** Puts selectors where an instruction may take one from: registers that hold no address, and memory. */
function plantSelectors(random: Random, gpr: BigUint64Array, used: boolean, memory: Uint8Array, at: number): void {
  const view = new DataView(memory.buffer)
  if (!used) for (let r = 0; r < 16; r++) if (r !== RSP) gpr[r] = (gpr[r]! & ~0xffffn) | BigInt(pickSelector(random))
  for (const offset of random.pick([[0], [2], [4], [8]]))
    if (at + offset >= 0 && at + offset + 2 <= memory.length) view.setUint16(at + offset, pickSelector(random), true)
}

const RSP = 4

function makeCase(row: Row, form: Form, random: Random): RowCase {
  const { mode } = form
  const lanes = lanesOf(row, random)
  const selectors = pickSegments(random, mode)
  const origin = baseOf(selectors[Seg.SS]!)
  const gpr = registers(random, origin)
  // IRET that loads AC from an unaligned stack takes #AC, which Linux mistakes for a split lock and resumes for ever.
  if (row.name === 'iret') gpr[RSP] = gpr[RSP]! & ~7n
  // Sometimes the last code page ends in or right after the instruction.
  const offset = random.chance(98) ? 0x800 : Space.CODE_SIZE - 1 - random.below(15)
  const before = offset === 0x800 && random.chance(30) ? flagProducer(random, mode) : []
  const start = Space.CODE + offset + before.length - baseOf(selectors[Seg.CS]!)
  const { code, address, fsBase, gsBase } = encode(random, form, { start, before: before.length, selectors, gpr })
  const stack = /^(ret|iret|pop)/.test(row.name)
  const pointer = BigInt(origin) + (gpr[stack ? RSP : random.pick([RSP, RSP, 6, 7])]! & (mode === 16 ? 0xffffn : LOW32))
  const linear = Number((address ?? pointer) & LOW32)
  const size = /^fx?(rstor|save)/.test(row.name) ? 512 : 192
  const window = Math.min(Math.max((linear - 64) & ~63, Space.DATA), Space.DATA + Space.DATA_SIZE - size)
  const memory = new Uint8Array(size)
  if (random.chance(8)) memory.fill(random.below(256))
  else fill(random, memory, lanes)
  const at = linear - window
  if (/^(jmp|call|ret|iret)/.test(row.name) && random.chance(80))
    aimAtCode(random, { gpr, selectors, offset }, memory, at, address === undefined)
  else if (/^(mov_to_seg|pop_[a-z]s|l[a-z]s$|lar|lsl|ver|arpl)/.test(row.name) && random.chance(80))
    plantSelectors(random, gpr, address !== undefined, memory, at)
  else if (random.chance(12) && at >= 0 && at + 16 <= size) {
    // Memory that equals the accumulator, for CMPXCHG and its kin.
    const view = new DataView(memory.buffer)
    view.setBigUint64(at, gpr[0]!, true)
    view.setBigUint64(at + 8, gpr[2]!, true)
  }
  return {
    address,
    case: {
      mode,
      selectors,
      code: Uint8Array.from([...before, ...code]).subarray(0, Space.CODE_SIZE - offset),
      offset,
      gpr,
      flags: flags(random, form.repeat),
      fsBase,
      gsBase,
      fxsave: fxsave(random, lanes),
      window,
      memory,
    },
  }
}

/** `count` cases of a row in a mode, over all its operand sizes in turn; none where the mode does not have the row. */
export function casesOf(row: Row, mode: Mode, count: number): RowCase[] {
  const forms = formsOf(row, mode)
  if (forms.length === 0) return []
  const random = new Random(`${SEED} ${mode} ${rowTitle(row)}`)
  return Array.from({ length: count }, (_, i) => makeCase(row, forms[i % forms.length]!, random))
}

/**
 * Where a jump or call through one pointer goes: to where that points when the region is made. In memory at a fixed
 * address (a linkage table's entry, a table of functions) it mostly stays so; in a register, or where registers lead, the
 * sample that had the region made may have found another. It is a guess that the region verifies each time.
 */
import { NO_SEGMENT, R, S } from '../layout.ts'
import { pageOf, type Instruction, type Outline, type Places } from './blocks.ts'
import { recordByte } from './usage.ts'

/** Places are numbers of 32 bits. */
const MAX_DISTANCE = 1 << 30
/** How far before the jump a register may be loaded, in instructions. */
const NEAR = 16

type Known = Instruction<Outline>

/** What is read. */
interface Guest extends Pick<Places, 'word'> {
  /** Linear address of place 0. */
  readonly linear: bigint
  readonly is32: boolean
  /** A general register, by its offset from p. */
  register(offset: number): bigint
  bytes(linear: bigint, count: number): Uint8Array
}

/** The place to which `jump` goes. `line`: what comes before it without a branch between. */
export function pointerTarget(r: Guest, jump: Known, line: readonly Known[]): number | undefined {
  const pointer = jump.decoded.form === 'r' ? pointerIn(r, recordByte(r, jump, R.A), line) : pointerInMemory(r, jump)
  if (pointer === undefined) return undefined
  const distance = BigInt.asIntN(r.is32 ? 32 : 64, pointer - r.linear)
  return distance > -MAX_DISTANCE && distance < MAX_DISTANCE ? Number(distance) : undefined
}

/** The pointer is in memory at an address that is the same each time. */
export function isFixed(r: Pick<Places, 'word'>, jump: Known): boolean {
  const { form } = jump.decoded
  if (form !== 'b' && form !== 'x' && form !== 'd') return false
  const base = baseOf(r, jump)
  return (base === S.ZERO || base === S.PAGE_LINEAR) && (form === 'b' || indexOf(r, jump) === S.ZERO)
}

const baseOf = (r: Pick<Places, 'word'>, i: Known): number =>
  recordByte(r, i, R.BASE) & (i.decoded.form === 'b' ? 0xff : 0xf8)
const indexOf = (r: Pick<Places, 'word'>, i: Known): number => recordByte(r, i, R.INDEX) & 0xf8

/** What is in a register, or in memory from where it was loaded just before. */
function pointerIn(r: Guest, register: number, line: readonly Known[]): bigint | undefined {
  const load = line.slice(-NEAR).findLast((i) => recordByte(r, i, R.A) === register && i.decoded.name === 'mov')
  return load && load.decoded.form !== 'r' ? pointerInMemory(r, load) : r.register(register)
}

function pointerInMemory(r: Guest, jump: Known): bigint | undefined {
  const { form } = jump.decoded
  if (form !== 'b' && form !== 'x' && form !== 'd') return undefined
  if (form === 'x' && (recordByte(r, jump, R.BASE) & 7) !== NO_SEGMENT) return undefined
  const register = (offset: number): bigint => {
    if (offset === S.PAGE_LINEAR) return r.linear + BigInt(pageOf(jump.place) * 4096)
    return offset < S.ZERO ? r.register(offset) : 0n
  }
  const index = form === 'b' ? 0n : register(indexOf(r, jump)) << BigInt(recordByte(r, jump, R.INDEX) & 3)
  const address = register(baseOf(r, jump)) + index + BigInt(r.word(jump.fields + R.DISP))
  const size = r.is32 ? 4 : 8
  const bytes = r.bytes(BigInt.asUintN(r.is32 ? 32 : 64, address), size)
  if (bytes.length < size) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  return r.is32 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true)
}

/**
 * Where a computed jump inside a function goes: what compilers make of a `switch`, a load from a table of addresses
 * (8 bytes, 4 in 32-bit code) or of distances from the table (4 bytes), is recognized and the table read. It is a guess
 * that the region verifies each time, so nothing has to be right here.
 */
import { R, S } from '../layout.ts'
import { pageOf, type Found, type Instruction, type Outline, type Places } from './blocks.ts'
import { recordByte } from './usage.ts'

/** How far before the jump the load of the entry may be, in instructions, and the address of the table, in bytes. */
const NEAR = 12
const BEFORE = 2048
const MAX_ENTRIES = 256
/** The table ends where an entry leads farther away than that. */
const MAX_DISTANCE = 16_384
/** Between the first place and the last, in steps of their alignment: the region has a table of them. */
const MAX_SPAN = 2048

type Known = Instruction<Outline>

/** What is read. */
interface Guest extends Pick<Places, 'find' | 'word'> {
  /** Linear address of place 0. */
  readonly linear: bigint
  bytes(linear: bigint, count: number): Uint8Array
  outline(fields: number): Outline
}

/** The places that `jump` may go to. `line`: what comes before it without a branch between. */
export function jumpTargets(r: Guest, jump: Known, line: readonly Known[]): number[] {
  const near = line.slice(-NEAR)
  const load = jump.decoded.form === 'r' ? near.findLast((i) => isEntry(r, i)) : jump
  if (!load || !isEntry(r, load)) return []
  const base = baseOf(r, load)
  const start = base === S.ZERO ? 0n : tableAt(r, base, jump, near)
  if (start === undefined) return []
  const table = start + BigInt(displacement(r, load))
  const relative = load.decoded.name === 'movsxd'
  const bytes = scaleOf(r, load)
  const data = r.bytes(table, MAX_ENTRIES * bytes)
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  const targets = new Set<number>()
  for (let offset = 0; offset + bytes <= data.length; offset += bytes) {
    const entry = bytes === 8 ? view.getBigInt64(offset, true) : BigInt(view.getInt32(offset, true))
    const distance = Number(BigInt.asIntN(bytes === 8 ? 64 : 32, (relative ? table + entry : entry) - r.linear))
    if (Math.abs(distance - jump.place) > MAX_DISTANCE) break
    targets.add(distance)
  }
  const sorted = [...targets].sort((a, b) => a - b)
  const span = ((sorted.at(-1) ?? 0) - (sorted[0] ?? 0)) >> alignment(sorted)
  return span <= MAX_SPAN ? sorted : sorted.filter((place) => Math.abs(place - jump.place) < MAX_SPAN / 2)
}

/** The low bits in which no two places differ. */
export function alignment(places: readonly number[]): number {
  const differing = places.reduce((bits, place) => bits | (place - (places[0] as number)), 0)
  return differing === 0 ? 0 : 31 - Math.clz32(differing & -differing)
}

/** Loads an entry of a table: MOVSXD of a distance, or a MOV or JMP of an address, with an index that counts entries. */
function isEntry(r: Guest, i: Known): boolean {
  const { name, form } = i.decoded
  if (form !== 'x' && form !== 'd') return false
  const scale = scaleOf(r, i)
  if (name === 'movsxd') return scale === 4
  return (name === 'mov' || name === 'jmp_indirect') && scale === (form === 'd' ? 4 : 8)
}

const baseOf = (r: Guest, i: Found): number => recordByte(r, i, R.BASE) & 0xf8
const scaleOf = (r: Guest, i: Found): number => 1 << (recordByte(r, i, R.INDEX) & 3)
const displacement = (r: Guest, i: Found): number => r.word(i.fields + R.DISP)

/** The linear address that a RIP-relative LEA before the jump, in its page, put into a register. */
function tableAt(r: Guest, register: number, jump: Known, near: readonly Known[]): bigint | undefined {
  const isLea = (i: Known) =>
    i.decoded.name === 'lea' && baseOf(r, i) === S.PAGE_LINEAR && recordByte(r, i, R.A) === register
  let found: Found | undefined = near.findLast(isLea)
  const first = Math.max(pageOf(jump.place) * 4096, jump.place - BEFORE)
  for (let place = jump.place - 1; place >= first && !found; place--) {
    const i = r.find(place)
    if (typeof i === 'object' && isLea({ ...i, decoded: r.outline(i.fields) })) found = i
  }
  return found && r.linear + BigInt(pageOf(found.place) * 4096 + displacement(r, found))
}

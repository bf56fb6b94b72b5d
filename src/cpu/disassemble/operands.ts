/** Registers, immediates and memory operands as text. */

const legacy = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
const low = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil']
const high = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh']
export const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']

/** A general register; `rex`: there is a REX prefix, so that no byte register is the upper half of another. */
export function general(number: number, bits: number, rex: boolean): string {
  if (number > 7) return `r${number}${{ 8: 'b', 16: 'w', 32: 'd' }[bits] ?? ''}`
  if (bits === 8) return (rex ? low : high)[number]!
  return `${{ 32: 'e', 64: 'r' }[bits] ?? ''}${legacy[number]}`
}

/** A number as wide as it is. */
export function hex(value: bigint, bits: number): string {
  return `0x${BigInt.asUintN(bits, value).toString(16)}`
}

const pointers: Record<string, string> = {
  b: 'BYTE',
  w: 'WORD',
  d: 'DWORD',
  q: 'QWORD',
  x: 'XMMWORD',
  t: 'TBYTE',
  f: 'FWORD',
  o: 'OWORD',
}

/** `QWORD PTR ` for a size's letter; nothing for a place that is no value (LEA). */
export function pointer(letter: string): string {
  return pointers[letter] ? `${pointers[letter]} PTR ` : ''
}

/** The letter of a size in bits. */
export function letterOf(bits: number): string {
  return { 8: 'b', 16: 'w', 32: 'd', 64: 'q', 128: 'x' }[bits] ?? ''
}

export interface Addressing {
  /** Bits of an address: 16, 32, 64. */
  bits: number
  rex: number
  long: boolean
  /** A segment that a prefix names. */
  segment: string | undefined
}

export interface MemoryOperand {
  text: string
  /** Bytes of SIB and displacement. */
  length: number
  /** Displacement from the next instruction. */
  relative: number | undefined
  /** It has an index, so that REX.X matters. */
  sib: boolean
  /** No register is part of the address. */
  absolute: boolean
}

const pairs = ['bx+si', 'bx+di', 'bp+si', 'bp+di', 'si', 'di', 'bp', 'bx']

/** What ModRM and the bytes from `at` name, without the size. */
export function memoryOperand(modrm: number, bytes: DataView, at: number, a: Addressing): MemoryOperand {
  const mod = modrm >> 6
  const rm = modrm & 7
  const prefix = a.segment ? `${a.segment}:` : ''
  const signed = (disp: number) => (disp < 0 ? `-0x${(-disp).toString(16)}` : `+0x${disp.toString(16)}`)
  const absolute = (disp: number) => `${prefix || 'ds:'}${hex(BigInt(disp), a.long && a.bits === 64 ? 64 : 32)}`
  if (a.bits === 16) {
    if (mod === 0 && rm === 6)
      return {
        text: `${prefix || 'ds:'}0x${bytes.getUint16(at, true).toString(16)}`,
        length: 2,
        relative: undefined,
        sib: false,
        absolute: true,
      }
    const disp = mod === 1 ? bytes.getInt8(at) : mod === 2 ? bytes.getInt16(at, true) : 0
    return {
      text: `${prefix}[${pairs[rm]}${mod ? signed(disp) : ''}]`,
      length: mod,
      relative: undefined,
      sib: false,
      absolute: false,
    }
  }
  const sib = rm === 4
  let length = 0
  let scale = 0
  let index = ''
  let base = rm
  if (sib) {
    const byte = bytes.getUint8(at)
    length = 1
    scale = byte >> 6
    const x = ((byte >> 3) & 7) | ((a.rex & 2) << 2)
    if (x !== 4) index = general(x, a.bits, true)
    base = byte & 7
  }
  const bare = mod === 0 && base === 5
  let disp = 0
  if (mod === 1) disp = bytes.getInt8(at + length++)
  else if (mod === 2 || bare) {
    disp = bytes.getInt32(at + length, true)
    length += 4
  }
  if (bare && !sib && a.long) {
    const counter = a.bits === 64 ? 'rip' : 'eip'
    return { text: `${prefix}[${counter}+${hex(BigInt(disp), 64)}]`, length, relative: disp, sib, absolute: false }
  }
  // Without base and index, an index that is none tells the long form from the short one.
  const none = a.bits === 64 ? 'riz' : 'eiz'
  const needed = sib && bare && !index && (!a.long || a.bits === 32)
  if (bare && !index && scale === 0 && !needed)
    return { text: absolute(disp), length, relative: undefined, sib, absolute: true }
  let text = bare ? '' : general(base | ((a.rex & 1) << 3), a.bits, true)
  if (sib && (scale !== 0 || needed || index || (!bare && base !== 4)))
    text += `${bare ? '' : '+'}${index || none}*${1 << scale}`
  if (mod !== 0 || bare) text += signed(disp)
  return { text: `${prefix}[${text}]`, length, relative: undefined, sib, absolute: false }
}

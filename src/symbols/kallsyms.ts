/**
 * Finds and decodes the symbol table that a kernel carries (CONFIG_KALLSYMS), in its unpacked image, without any
 * symbol to begin with. scripts/kallsyms.c of Linux writes it:
 *
 * - names: each a length (since 6.1: two bytes from 128 up) and that many bytes, each of which stands for a token; the
 *   first letter of the whole is the type. markers: where each 256th name begins. token_table: 256 texts, each ended
 *   by a zero; token_index: where each begins, 16 bits.
 * - addresses: a word each, or (since 4.6) offsets of 32 bits from relative_base; with per-CPU variables at absolute
 *   addresses those offsets are positive, and all others negative (x86-64 until 6.14).
 *
 * Order: [addresses | offsets, relative_base], num_syms, names, markers, [seqs_of_names since 6.2], token_table,
 * token_index; since 6.4 offsets, relative_base and seqs_of_names come last. markers are words, since 4.20 of 32 bits.
 *
 * The token table is found first, by the digits, which stand for themselves and are in every kernel's symbols.
 */
import type { Elf, Segment } from '../boot/elf.ts'
import { SymbolTable, type SymbolEntry } from './symbols.ts'

const TOKENS = 256
const DIGITS = Uint8Array.from([...'0123456789'].flatMap((digit) => [digit.charCodeAt(0), 0]))
const FIRST_DIGIT = 0x30
const MARKED = 256
const FEWEST = 100
const MOST = 4_000_000
/** Bytes that a name takes on average, with its part of markers and seqs_of_names. */
const LEAST_ROOM = 4
const MOST_ROOM = 80
const TYPES = /^[a-zA-Z?]$/
/** The arrays lie this close to each other at most, apart from what is in them. */
const GAP = 64

/** Undefined: the kernel carries no symbols, or none that can be read. */
export function decodeKallsyms({ segments, bits }: Pick<Elf, 'segments' | 'bits'>): SymbolTable | undefined {
  for (const segment of segments) {
    const found = new Decoder(segment, bits).decode()
    if (found) return found
  }
  return undefined
}

interface Names {
  /** Where num_syms lies. */
  readonly at: number
  readonly texts: readonly string[]
}

class Decoder {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #wordSize: 4 | 8
  readonly #segment: Segment
  #tokens: string[] = []

  constructor(segment: Segment, bits: 32 | 64) {
    this.#segment = segment
    this.#bytes = segment.bytes
    this.#view = new DataView(segment.bytes.buffer, segment.bytes.byteOffset, segment.bytes.byteLength)
    this.#wordSize = bits === 64 ? 8 : 4
  }

  decode(): SymbolTable | undefined {
    const haystack = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength)
    for (let at = haystack.indexOf(DIGITS); at >= 0; at = haystack.indexOf(DIGITS, at + 1)) {
      const table = this.#tokenTable(at)
      if (!table) continue
      const names = this.#names(table.start)
      const addresses = names && this.#addresses(names, table.end)
      if (!addresses) continue
      return new SymbolTable(
        names.texts.map((text, i): SymbolEntry => ({ address: addresses[i]!, type: text[0]!, name: text.slice(1) })),
      )
    }
    return undefined
  }

  /** The table that has the digits at `digits`: token_index must agree with it, and says where token 0 begins. */
  #tokenTable(digits: number): { start: number; end: number } | undefined {
    const after: number[] = []
    let at = digits
    for (let token = FIRST_DIGIT; token < TOKENS; token++) {
      after.push(at)
      at = this.#bytes.indexOf(0, at) + 1
      if (at === 0 || at - digits > 0x8000) return undefined
    }
    for (let index = align(at, 2); index < at + GAP && index + 2 * TOKENS <= this.#bytes.length; index += 2) {
      if (this.#u16(index) !== 0) continue
      const start = digits - this.#u16(index + 2 * FIRST_DIGIT)
      if (start < 0 || start >= digits) continue
      const agrees = after.every((place, i) => this.#u16(index + 2 * (FIRST_DIGIT + i)) === place - start)
      if (!agrees) continue
      this.#tokens = Array.from({ length: TOKENS }, (_, i) => this.#text(start + this.#u16(index + 2 * i)))
      return { start, end: index + 2 * TOKENS }
    }
    return undefined
  }

  /** num_syms, names and markers: the first two make sense only where the third agrees. */
  #names(tokenTable: number): Names | undefined {
    for (let at = align(tokenTable, 4) - 8; at >= 0; at -= 4) {
      const count = this.#u32(at)
      if (count < FEWEST || count > MOST) continue
      for (const start of new Set([4, this.#wordSize, 16].map((size) => align(at + 1, size)))) {
        const texts = this.#walk(start, count, tokenTable)
        if (texts) return { at, texts }
      }
    }
    return undefined
  }

  #walk(start: number, count: number, end: number): string[] | undefined {
    const room = end - start
    if (room < LEAST_ROOM * count || room > MOST_ROOM * count) return undefined
    if (!TYPES.test(this.#tokens[this.#bytes[start + 1]!]?.[0] ?? '')) return undefined
    const marks: number[] = []
    const places: number[] = []
    let at = start
    for (let i = 0; i < count; i++) {
      if (i % MARKED === 0) marks.push(at - start)
      if (this.#bytes[at] === 0 || at >= end) return undefined
      places.push(at)
      at += this.#nameLength(at)
    }
    if (at > end || !this.#markersAt(at, marks, end)) return undefined
    return places.map((place) => this.#name(place))
  }

  #markersAt(namesEnd: number, marks: readonly number[], end: number): boolean {
    for (const [size, read] of [
      [4, (at: number) => this.#u32(at)],
      [8, (at: number) => Number(this.#view.getBigUint64(at, true))],
    ] as const)
      for (let at = align(namesEnd, 4); at < namesEnd + GAP; at += 4)
        if (at + size * marks.length <= end && marks.every((mark, i) => read(at + size * i) === mark)) return true
    return false
  }

  /** Bytes of a name with its length: that is longer than 127 if its first byte has bit 7. */
  #nameLength(at: number): number {
    const first = this.#bytes[at]!
    return first & 0x80 ? 2 + ((first & 0x7f) | (this.#bytes[at + 1]! << 7)) : 1 + first
  }

  #name(at: number): string {
    const end = at + this.#nameLength(at)
    let text = ''
    for (let i = at + (this.#bytes[at]! & 0x80 ? 2 : 1); i < end; i++) text += this.#tokens[this.#bytes[i]!]!
    return text
  }

  /** By the first layout in which the kernel's own code lies inside its image. */
  #addresses(names: Names, tokensEnd: number): bigint[] | undefined {
    const count = names.texts.length
    const word = this.#wordSize
    const candidates: (() => bigint[] | undefined)[] = []
    // Before num_syms, or after token_index; what lies between the arrays is padding.
    for (let gap = 0; gap < GAP; gap += 4) {
      candidates.push(
        () => this.#relative(names.at - word - gap - 4 * count, names.at - word, gap, count),
        () => this.#absolute(names.at - gap - word * count, count),
        () => this.#relative(align(tokensEnd, 4) + gap, align(tokensEnd, 4) + gap + 4 * count, 0, count),
      )
    }
    for (const candidate of candidates) {
      const addresses = candidate()
      if (addresses && this.#plausible(names.texts, addresses)) return addresses
    }
    return undefined
  }

  #absolute(at: number, count: number): bigint[] | undefined {
    if (at < 0 || !this.#isKernel(this.#word(at + (count - 1) * this.#wordSize))) return undefined
    return Array.from({ length: count }, (_, i) => this.#word(at + i * this.#wordSize))
  }

  /** Offsets at `at`, and relative_base at `base` or up to a word later (it is aligned). */
  #relative(at: number, base: number, gap: number, count: number): bigint[] | undefined {
    const baseAt = gap === 0 ? align(base, this.#wordSize) : base - (base % this.#wordSize)
    if (at < 0 || baseAt + this.#wordSize > this.#bytes.length) return undefined
    const relativeBase = this.#word(baseAt)
    if (!this.#isKernel(relativeBase)) return undefined
    const offsets = Array.from({ length: count }, (_, i) => this.#view.getInt32(at + 4 * i, true))
    const perCpu = offsets.some((offset) => offset < 0)
    return offsets.map((offset) => {
      if (!perCpu) return BigInt.asUintN(64, relativeBase + BigInt(offset >>> 0))
      return offset >= 0 ? BigInt(offset) : BigInt.asUintN(64, relativeBase - 1n - BigInt(offset))
    })
  }

  /** Kernels have the upper quarter, half or more of 32 bits, and the last 2 GiB of 64. */
  #isKernel(address: bigint): boolean {
    return address >= (this.#wordSize === 8 ? 0xffffffff80000000n : 0x40000000n)
  }

  /** Code lies in the image: at a fixed distance from where it is loaded, whatever the distance. */
  #plausible(texts: readonly string[], addresses: readonly bigint[]): boolean {
    const anchor = texts.findIndex((text) => /^T(_stext|_text|startup_64|startup_32)$/i.test(text))
    if (anchor < 0) return false
    const kernelMap = this.#wordSize === 8 ? 0xffffffff80000000n : addresses[anchor]! & 0xc0000000n
    const inside = (i: number) => {
      const physical = addresses[i]! - kernelMap
      return physical >= 0n && physical < 1n << 30n
    }
    const first = BigInt(this.#segment.address)
    if (addresses[anchor]! - kernelMap > first + BigInt(this.#segment.size) + (1n << 26n)) return false
    let code = 0
    let good = 0
    texts.forEach((text, i) => {
      if (text[0] !== 'T' && text[0] !== 't') return
      code++
      if (inside(i)) good++
    })
    return code > 0 && good / code > 0.98
  }

  #text(at: number): string {
    return new TextDecoder('latin1').decode(this.#bytes.subarray(at, this.#bytes.indexOf(0, at)))
  }

  #u16 = (at: number): number => this.#view.getUint16(at, true)
  #u32 = (at: number): number => this.#view.getUint32(at, true)
  #word = (at: number): bigint =>
    this.#wordSize === 8 ? this.#view.getBigUint64(at, true) : BigInt(this.#view.getUint32(at, true))
}

const align = (at: number, to: number): number => Math.ceil(at / to) * to

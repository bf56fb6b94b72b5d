/** Tables as scripts/kallsyms.c has written them over time, in an image full of other things. */
import { describe, expect, test } from 'vitest'
import { decodeKallsyms } from './kallsyms.ts'
import { placeText } from './symbols.ts'

interface Layout {
  readonly bits: 32 | 64
  /** Since 6.4 the addresses come last. */
  readonly addressesLast: boolean
  readonly addresses: 'absolute' | 'relative' | 'relative, per-CPU absolute'
  readonly markerSize: 4 | 8
  /** seqs_of_names, between markers and token_table or at the end. */
  readonly seqs: boolean
}

const TEXT = { 32: 0xc1000000n, 64: 0xffffffff81000000n } as const
const LOADED = 0x1000000
const MANY = 1000

const isLong = (i: number) => i === 500
/** Type and name: some of each kind, and one whose name needs a length of two bytes. */
const names = Array.from({ length: MANY }, (_, i) => {
  if (i === 0) return 'Astart_of_cpu_data'
  if (i === 1) return 'T_stext'
  return isLong(i) ? `t${'_RNvCs_long_name'.repeat(20)}` : `${'TtDb'[i % 4]}symbol_${i}_do_it`
})
const offsets = names.map((_, i) => (i === 0 ? 0n : BigInt((i - 1) * 0x20)))

/** Tokens: printable characters stand for themselves, the rest for what is frequent. */
const tokens = Array.from({ length: 256 }, (_, i) =>
  i >= 0x30 && i < 0x7f ? String.fromCharCode(i) : i === 1 ? 'symbol_' : i === 0xfe ? '_do_it' : `x${i}`,
)

function encode(name: string): number[] {
  const bytes: number[] = []
  for (let at = 0; at < name.length; ) {
    const token = [1, 0xfe].find((each) => name.startsWith(tokens[each]!, at)) ?? name.charCodeAt(at)
    bytes.push(token)
    at += tokens[token]!.length
  }
  return [...(bytes.length > 127 ? [0x80 | (bytes.length & 0x7f), bytes.length >> 7] : [bytes.length]), ...bytes]
}

function image({ bits, addressesLast, addresses, markerSize, seqs }: Layout) {
  const word = bits / 8
  const out: number[] = [...new TextEncoder().encode('code and data, 0\x001\x002\x00 but no table '.repeat(50))]
  const put = (value: bigint, size: number) => {
    for (let i = 0; i < size; i++) out.push(Number((value >> BigInt(8 * i)) & 0xffn))
  }
  const align = () => {
    while (out.length % word !== 0) out.push(0)
  }
  const base = TEXT[bits]
  const putAddresses = () => {
    align()
    if (addresses === 'absolute')
      return offsets.forEach((offset, i) => put(i === 0 ? BigInt(offset) : base + BigInt(offset), word))
    for (const [i, offset] of offsets.entries()) {
      if (addresses === 'relative') put(offset, 4)
      else put(i === 0 ? offset : -1n - offset, 4)
    }
    align()
    put(base, word)
  }
  const putSeqs = () => {
    align()
    for (let i = 0; i < MANY; i++) out.push(0, i >> 8, i & 255)
  }
  align()
  if (!addressesLast) putAddresses()
  align()
  put(BigInt(MANY), 4)
  align()
  const start = out.length
  const marks: number[] = []
  for (const [i, name] of names.entries()) {
    if (i % 256 === 0) marks.push(out.length - start)
    out.push(...encode(name))
  }
  align()
  for (const mark of marks) put(BigInt(mark), markerSize)
  if (seqs && !addressesLast) putSeqs()
  align()
  const table = out.length
  const index: number[] = []
  for (const token of tokens) {
    index.push(out.length - table)
    out.push(...new TextEncoder().encode(token), 0)
  }
  align()
  for (const place of index) put(BigInt(place), 2)
  if (addressesLast) putAddresses()
  if (seqs && addressesLast) putSeqs()
  out.push(...new Uint8Array(100))
  const bytes = Uint8Array.from(out)
  const segments = [{ address: LOADED, bytes, size: 1 << 20 }]
  return { bits, segments }
}

const layouts: Record<string, Layout> = {
  '2.6.20, 32 bits': { bits: 32, addressesLast: false, addresses: 'absolute', markerSize: 4, seqs: false },
  '2.6.24, 64 bits': { bits: 64, addressesLast: false, addresses: 'absolute', markerSize: 8, seqs: false },
  '4.6': { bits: 64, addressesLast: false, addresses: 'relative, per-CPU absolute', markerSize: 8, seqs: false },
  '6.1': { bits: 64, addressesLast: false, addresses: 'relative, per-CPU absolute', markerSize: 4, seqs: false },
  '6.1, 32 bits': { bits: 32, addressesLast: false, addresses: 'relative', markerSize: 4, seqs: false },
  '6.2': { bits: 64, addressesLast: false, addresses: 'relative, per-CPU absolute', markerSize: 4, seqs: true },
  '6.12': { bits: 64, addressesLast: true, addresses: 'relative, per-CPU absolute', markerSize: 4, seqs: true },
  '6.15': { bits: 64, addressesLast: true, addresses: 'relative', markerSize: 4, seqs: true },
}

describe.each(Object.entries(layouts))('the layout of %s', (_, layout) => {
  const table = decodeKallsyms(image(layout))!
  const text = TEXT[layout.bits]

  test('every symbol has its name, type and address', () => {
    expect(table.size).toBe(MANY)
    expect(table.address('_stext')).toBe(text)
    expect(table.address('symbol_999_do_it')).toBe(text + 998n * 0x20n)
    expect(table.address(names[500]!.slice(1))).toBe(text + 499n * 0x20n)
    expect(table.entries().find(({ name }) => name === 'symbol_4_do_it')).toMatchObject({ type: 'T' })
    const first = layout.addresses === 'relative' ? text : 0n
    expect(table.address('start_of_cpu_data')).toBe(first)
  })

  test('addresses between symbols belong to the one before', () => {
    expect(placeText(table, text + 0x2fn)).toBe('symbol_2_do_it+0xf')
    expect(table.at(text + 0x20n)).toEqual(['symbol_2_do_it'])
    expect(table.find(text + (1n << 30n))).toBeUndefined()
  })
})

test('an image without a table has no symbols, nor one whose table is damaged', () => {
  const whole = image(layouts['6.1']!)
  const segment = whole.segments[0]!
  const without = { ...segment, bytes: segment.bytes.slice(0, 2000) }
  expect(decodeKallsyms({ ...whole, segments: [without] })).toBeUndefined()
  for (let at = 2000; at < segment.bytes.length; at += 97) {
    const bytes = segment.bytes.slice()
    bytes[at] = bytes[at]! ^ 0xff
    expect(() => decodeKallsyms({ ...whole, segments: [{ ...segment, bytes }] })).not.toThrow()
  }
})

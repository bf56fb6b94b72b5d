/** A small kernel's tables and call sites, before and after it has patched itself. */
import { describe, expect, test } from 'vitest'
import { GuestMemory } from '../symbols/guest.ts'
import { SymbolTable } from '../symbols/symbols.ts'
import { compareOps } from './compare.ts'
import type { OpsReading } from './reading.ts'
import { patchedSites } from './sites.ts'
import { staticCalls } from './static-calls.ts'
import { readTables } from './tables.ts'

const BASE = 0xffffffff81000000n
const at = (offset: number) => BASE + BigInt(offset)
const symbols: Record<string, number> = {
  native_write_cr3: 0x100,
  native_irq_disable: 0x110,
  paravirt_nop: 0x120,
  __SCT__pv_sched_clock: 0x140,
  native_sched_clock: 0x150,
  _sinittext: 0x800,
  _einittext: 0x900,
  pv_mmu_ops: 0x1000,
  pv_irq_ops: 0x1010,
  other: 0x1020,
  __parainstructions: 0x2000,
  __parainstructions_end: 0x2050,
  __alt_instructions: 0x3000,
  __alt_instructions_end: 0x302a,
}

function kernel(without: RegExp) {
  const entries = Object.entries(symbols).filter(([name]) => !without.test(name))
  const table = new SymbolTable(entries.map(([name, offset]) => ({ name, type: 't', address: at(offset) })))
  const bytes = new Uint8Array(0x4000)
  const view = new DataView(bytes.buffer)
  const code = (offset: number, ...values: number[]) => bytes.set(values, offset)
  const word = (offset: number, value: bigint) => view.setBigUint64(offset, value, true)
  word(0x1000, at(0x100))
  word(0x1008, at(0x120))
  word(0x1010, at(0x110))
  // Calls through the table: write_cr3 three times, once in init; the nop; irq_disable after two other bytes.
  const sites = [
    [0x200, 0x1000],
    [0x210, 0x1000],
    [0x820, 0x1000],
    [0x230, 0x1008],
    [0x240, 0x1010],
  ] as const
  for (const [i, [site, slot]] of sites.entries()) {
    code(site, 0xff, 0x15)
    view.setInt32(site + 2, slot - (site + 6), true)
    word(0x2000 + 16 * i, at(site))
    bytes[0x2000 + 16 * i + 9] = 7
  }
  for (const [i, site] of [0x200, 0x230, 0x200].entries()) {
    view.setInt32(0x3000 + 14 * i, site - (0x3000 + 14 * i), true)
    bytes[0x3000 + 14 * i + 12] = 7
  }
  code(0x140, 0xe9, 0x0b, 0, 0, 0)
  const read = (from: Uint8Array) => (address: bigint, length: number) => {
    const offset = Number(address - BASE)
    return offset >= 0 && offset + length <= from.length ? from.slice(offset, offset + length) : undefined
  }
  const image = new GuestMemory(table, 64, read(bytes.slice()))
  code(0x200, 0x0f, 0x22, 0xdf, 0x0f, 0x1f, 0x40, 0x00) // mov cr3,rdi; nop
  code(0x210, 0xe8, 0xeb, 0xfe, 0xff, 0xff, 0x66, 0x90) // call native_write_cr3; xchg ax,ax
  code(0x230, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0x90)
  return { image, memory: new GuestMemory(table, 64, read(bytes)) }
}

describe('the tables of 2.6.24 to 4.19', () => {
  const { image, memory } = kernel(/^$/)
  const slots = readTables(memory)

  test('what they hold', () => {
    expect(slots.map(({ table, offset, functions }) => [table, offset, ...functions])).toEqual([
      ['pv_irq_ops', 0, 'native_irq_disable'],
      ['pv_mmu_ops', 0, 'native_write_cr3'],
      ['pv_mmu_ops', 8, 'paravirt_nop'],
    ])
  })

  test('what has become of the calls that .parainstructions lists; those in init are gone', () => {
    const sites = patchedSites(slots, image, memory)
    expect([...sites].map(([{ functions }, counts]) => [functions[0], Object.fromEntries(counts)])).toEqual([
      ['native_write_cr3', { 'inline mov cr3,rdi': 1, 'direct call': 1 }],
      ['paravirt_nop', { nop: 1 }],
      ['native_irq_disable', { 'indirect call': 1 }],
    ])
  })
})

test('without .parainstructions, sites are found among the alternatives', () => {
  const { image, memory } = kernel(/parainstructions/)
  const sites = patchedSites(readTables(memory), image, memory)
  expect([...sites].map(([{ functions }, counts]) => [functions[0], Object.fromEntries(counts)])).toEqual([
    ['native_write_cr3', { 'inline mov cr3,rdi': 1 }],
    ['paravirt_nop', { nop: 1 }],
  ])
})

test('static calls', () => {
  expect(staticCalls(kernel(/^$/).memory)).toMatchObject([
    { name: 'time.sched_clock', functions: ['native_sched_clock'] },
  ])
})

test('a kernel without tables says so', () => {
  expect(() => readTables(kernel(/^pv_/).memory)).toThrow(/no table of paravirtual operations.*--system-map/)
})

test('platforms side by side; a slot is named after what any of them put there', () => {
  const reading = (functions: string[], counted: boolean): OpsReading => ({
    slots: [
      { table: 'pv_mmu_ops', group: 'mmu', offset: 0, functions, sites: [{ what: 'direct call', count: 7 }] },
      { table: 'pv_mmu_ops', group: 'mmu', offset: 8, functions: ['paravirt_nop'], sites: [] },
      {
        table: 'pv_ops',
        group: '',
        offset: 16,
        name: 'cpu.write_msr_safe',
        functions: ['native_write_msr_safe'],
        sites: [],
      },
    ],
    arrived: {
      'mmu.write_cr3': [{ what: 'hypercall', count: 3 }],
      'cpu.write_msr': [{ what: 'msr', count: 2 }],
    },
    counted,
  })
  const rows = compareOps([
    ['native', { ...reading(['native_write_cr3'], true), arrived: {} }],
    ['xen', reading(['xen_write_cr3', 'alias'], false)],
  ])
  expect(rows).toEqual([
    {
      op: 'mmu.write_cr3',
      platforms: [
        { platform: 'native', function: 'native_write_cr3', sites: '7 × direct call', arrived: '0' },
        { platform: 'xen', function: 'xen_write_cr3', sites: '7 × direct call', arrived: '3 by hypercall' },
      ],
    },
    {
      op: 'mmu.pv_mmu_ops+0x8',
      platforms: [
        { platform: 'native', function: 'paravirt_nop', sites: '', arrived: '0' },
        { platform: 'xen', function: 'paravirt_nop', sites: '', arrived: 'unseen' },
      ],
    },
    {
      op: 'cpu.write_msr_safe',
      platforms: [
        { platform: 'native', function: 'native_write_msr_safe', sites: '', arrived: '0' },
        { platform: 'xen', function: 'native_write_msr_safe', sites: '', arrived: '2 by msr' },
      ],
    },
  ])
})

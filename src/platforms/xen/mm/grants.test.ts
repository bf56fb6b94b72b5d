import { describe, expect, it } from 'vitest'
import { GntStatus } from '../grants/status.ts'
import { ACCESSED, DIRTY, GLOBAL, PRESENT, RW, USER } from './entries.ts'
import { PvGrants } from './grants.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, TestCalls } from './testing.ts'

const [L4, L3, L2, L1, DATA, OTHER] = [0, 1, 2, 3, 4, 5].map((i) => FIRST_OWN + i) as number[]
const HOST = 2
const NX = 1n << 63n
const KERNEL = 1n << 52n
const at = (low: number) => ({ low, high: 0 })

function setup() {
  const t = new TestCalls()
  t.frames.set(L4, 0, L3, PRESENT | RW)
  t.frames.set(L3, 0, L2, PRESENT | RW)
  t.frames.set(L2, 0, L1, PRESENT | RW)
  t.frames.set(L1, 1, OTHER, PRESENT | RW)
  expect(t.mmuext(Mmuext.NEW_BASEPTR, L4)).toBe(0)
  return { t, grants: new PvGrants(t.mm) }
}
const holders = [{ frame: L4, typed: true }]

describe('mappings of its own grants', () => {
  it('are entries as Xen makes them, in the place of what was there', () => {
    const { t, grants } = setup()
    expect(grants.map(0, at(0x1000), DATA, HOST)).toBe(0)
    const flags = BigInt(PRESENT | RW | USER | ACCESSED | DIRTY)
    expect(t.frames.entry(L1, 1)).toBe((BigInt(DATA) << 12n) | flags | KERNEL | NX)
    expect(t.frames.table.typeRefs[OTHER]).toBe(0)
    expect(audit(t.frames.table, holders)).toEqual([])
    expect(grants.replace(0, at(0x1000), DATA, HOST, undefined)).toBe(GntStatus.OKAY)
    grants.drop(DATA, HOST)
    expect(t.frames.entry(L1, 1)).toBe(0n)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('for applications, read-only, by the address of the entry, with bits of the guest’s', () => {
    const { t, grants } = setup()
    const flags = HOST | 4 | 8 | 16 | (3 << 16)
    expect(grants.map(0, at(L1 * 4096 + 16), DATA, flags)).toBe(0)
    const entry = PRESENT | USER | ACCESSED | DIRTY | GLOBAL | (3 << 9)
    expect(t.frames.entry(L1, 2)).toBe((BigInt(DATA) << 12n) | BigInt(entry) | NX)
    expect(grants.replace(0, at(L1 * 4096 + 16), DATA, flags, undefined)).toBe(GntStatus.OKAY)
    grants.drop(DATA, flags)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('are refused where no L1 entry of its own is, and for page tables', () => {
    const { t, grants } = setup()
    for (const [frame, address, flags] of [
      [DATA, 0x200000, HOST],
      [DATA, L2 * 4096, HOST | 16],
      [DATA, L1 * 4096 + 4, HOST | 16],
      [L1, 0x1000, HOST],
      [L1, 0x1000, HOST | 1],
    ] as const)
      expect(grants.map(0, at(address), frame, flags)).toBe(GntStatus.GENERAL_ERROR)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('cannot be unmapped where they are no more; with one for devices there are two references', () => {
    const { t, grants } = setup()
    expect(grants.map(0, at(0x1000), DATA, HOST | 1)).toBe(0)
    expect(grants.replace(0, at(0x2000), DATA, HOST | 1, undefined)).toBe(GntStatus.GENERAL_ERROR)
    expect(t.frames.table.typeRefs[DATA]).toBe(2)
    expect(grants.replace(0, at(0x1000), DATA, HOST | 1, undefined)).toBe(GntStatus.OKAY)
    grants.drop(DATA, HOST | 1)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('can be replaced by what is mapped elsewhere', () => {
    const { t, grants } = setup()
    expect(grants.map(0, at(0x3000), DATA, HOST)).toBe(0)
    const moved = t.frames.entry(L1, 1)
    expect(grants.replace(0, at(0x3000), DATA, HOST, at(0x1000))).toBe(GntStatus.OKAY)
    grants.drop(DATA, HOST)
    expect([t.frames.entry(L1, 1), t.frames.entry(L1, 3)]).toEqual([0n, moved])
    expect(audit(t.frames.table, holders)).toEqual([])
  })
})

describe('transfers', () => {
  it('take a frame that nothing refers to, and give it a new number', () => {
    const { t, grants } = setup()
    const { table } = t.frames
    const { pages } = table
    expect([grants.steal(OTHER), grants.steal(L1), grants.steal(5000), grants.steal(DATA)]).toEqual([
      false,
      false,
      false,
      true,
    ])
    expect([table.pages, table.isOwn(DATA)]).toEqual([pages - 1, false])
    grants.receive(DATA, 0x123)
    expect([table.pages, table.isOwn(DATA), table.pfnOf(DATA)]).toEqual([pages, true, 0x123])
    table.maximum = table.pages
    expect(grants.mayReceive()).toBe(false)
    const { free } = table
    expect(grants.steal(DATA)).toBe(true)
    grants.free(DATA)
    expect([table.pages, table.free, grants.mayReceive()]).toEqual([pages - 1, free + 1, true])
    expect(audit(table, holders)).toEqual([])
  })
})

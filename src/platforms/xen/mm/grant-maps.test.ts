import { describe, expect, it } from 'vitest'
import { GntStatus } from '../grants/status.ts'
import { ACCESSED, DIRTY, GLOBAL, PRESENT, RW, USER } from './entries.ts'
import { GrantMaps } from './grant-maps.ts'
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
  const log: string[] = []
  const grant = (frame: number) => ({ ref: frame, frame, release: () => void log.push(`release ${frame}`) })
  return { t, log, grant, maps: new GrantMaps(t.mm, grant), before: [...t.frames.table.refs] }
}
const holders = [{ frame: L4, typed: true }]

describe('mappings of its own grants', () => {
  it('are entries as Xen makes them, in the place of what was there', () => {
    const { t, log, grant, maps } = setup()
    expect(maps.map(0, grant(DATA), at(0x1000), HOST)).toBe(0)
    const flags = BigInt(PRESENT | RW | USER | ACCESSED | DIRTY)
    expect(t.frames.entry(L1, 1)).toBe((BigInt(DATA) << 12n) | flags | KERNEL | NX)
    expect(t.frames.table.typeRefs[OTHER]).toBe(0)
    expect(audit(t.frames.table, holders)).toEqual([])
    expect(maps.unmap(0, 0, at(0x1000), undefined)).toBe(GntStatus.OKAY)
    expect(t.frames.entry(L1, 1)).toBe(0n)
    expect(log).toEqual([`release ${DATA}`])
    expect(audit(t.frames.table, holders)).toEqual([])
    expect(maps.unmap(0, 0, at(0x1000), undefined)).toBe(GntStatus.BAD_HANDLE)
  })

  it('for applications, read-only, by the address of the entry, with bits of the guest’s', () => {
    const { t, grant, maps } = setup()
    const flags = HOST | 4 | 8 | 16 | (3 << 16)
    expect(maps.map(0, grant(DATA), at(L1 * 4096 + 16), flags)).toBe(0)
    const entry = PRESENT | USER | ACCESSED | DIRTY | GLOBAL | (3 << 9)
    expect(t.frames.entry(L1, 2)).toBe((BigInt(DATA) << 12n) | BigInt(entry) | NX)
    expect(maps.unmap(0, 0, at(L1 * 4096 + 16), undefined)).toBe(GntStatus.OKAY)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('are refused where no L1 entry of its own is, and for page tables', () => {
    const { t, log, grant, maps } = setup()
    for (const [frame, address, flags] of [
      [DATA, 0x200000, HOST],
      [DATA, L2 * 4096, HOST | 16],
      [DATA, L1 * 4096 + 4, HOST | 16],
      [L1, 0x1000, HOST],
    ] as const)
      expect(maps.map(0, grant(frame), at(address), flags)).toBe(GntStatus.GENERAL_ERROR)
    expect(log).toHaveLength(4)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('cannot be unmapped where they are no more', () => {
    const { t, grant, maps } = setup()
    expect(maps.map(0, grant(DATA), at(0x1000), HOST | 1)).toBe(0)
    expect(maps.unmap(0, 0, at(0x2000), undefined)).toBe(GntStatus.GENERAL_ERROR)
    expect(maps.unmap(0, 0, undefined, OTHER * 4096)).toBe(GntStatus.GENERAL_ERROR)
    expect(maps.unmap(0, 0, at(0x1000), DATA * 4096)).toBe(GntStatus.OKAY)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('can be replaced by what is mapped elsewhere', () => {
    const { t, grant, maps } = setup()
    expect(maps.map(0, grant(DATA), at(0x3000), HOST)).toBe(0)
    const moved = t.frames.entry(L1, 1)
    expect(maps.unmap(0, 0, at(0x3000), undefined, at(0x1000))).toBe(GntStatus.OKAY)
    expect([t.frames.entry(L1, 1), t.frames.entry(L1, 3)]).toEqual([0n, moved])
    expect(audit(t.frames.table, holders)).toEqual([])
  })
})

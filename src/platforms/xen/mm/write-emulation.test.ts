import { describe, expect, it } from 'vitest'
import { PCD, PRESENT, RW, USER } from './entries.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, TestCalls } from './testing.ts'
import { emulateStore, isEmulated } from './write-emulation.ts'

const [TABLE, DATA, OTHER] = [FIRST_OWN, FIRST_OWN + 1, FIRST_OWN + 2]
const KERNEL = 1n << 52n
const value = (frame: number, flags: number) => (BigInt(frame) << 12n) | BigInt(flags)

function host(): TestCalls {
  const t = new TestCalls()
  t.frames.set(TABLE, 1, DATA, PRESENT | RW | USER)
  expect(t.mmuext(Mmuext.PIN_L1_TABLE, TABLE)).toBe(0)
  return t
}

function store(t: TestCalls, offset: number, size: number, bits: bigint): boolean {
  const halves = [Number(BigInt.asIntN(32, bits)), Number(BigInt.asIntN(32, bits >> 32n))] as const
  return emulateStore(t.mm, TABLE * 4096 + offset, size, ...halves)
}

describe('stores to an L1 table', () => {
  it('are emulated for those in use only', () => {
    const t = host()
    expect([TABLE, DATA, OTHER, 4].map((frame) => isEmulated(t.mm, frame))).toEqual([true, false, false, false])
  })

  it('are updates of the entry', () => {
    const t = host()
    expect(store(t, 16, 8, value(OTHER, PRESENT | RW))).toBe(true)
    expect(t.frames.entry(TABLE, 2)).toBe(value(OTHER, PRESENT | RW | USER) | KERNEL)
    expect(store(t, 8, 8, 0n)).toBe(true)
    expect(t.frames.table.typeRefs[DATA]).toBe(0)
    expect(audit(t.frames.table)).toEqual([])
  })

  it.each([
    [8, 1, 0n, 0x109106n & ~0xffn],
    [9, 1, 0n, 0n],
  ])('of parts are widened: byte %i', (offset, size) => {
    const t = host()
    const before = t.frames.entry(TABLE, 1)
    expect(store(t, offset, size, (before >> BigInt(8 * (offset - 8))) & 0xffn & ~2n)).toBe(true)
    expect(t.frames.entry(TABLE, 1)).toBe(offset === 8 ? before & ~2n : before & ~0x200n)
    expect(t.frames.table.typeRefs[DATA]).toBe(offset === 8 ? 0 : 1)
    expect(audit(t.frames.table)).toEqual([])
  })

  it('of the upper half change NX and the bits for software', () => {
    const t = host()
    expect(store(t, 12, 4, 0x80000000n)).toBe(true)
    expect(t.frames.entry(TABLE, 1) >> 63n).toBe(1n)
    expect(store(t, 14, 2, 0x0030n)).toBe(true)
    expect((t.frames.entry(TABLE, 1) >> 48n) & 0xffffn).toBe(0x30n)
    expect(audit(t.frames.table)).toEqual([])
  })

  it('that make a refused entry change nothing', () => {
    const t = host()
    const before = t.frames.entry(TABLE, 1)
    for (const bits of [value(TABLE, PRESENT | RW), value(4, PRESENT), value(OTHER, PRESENT | PCD)])
      expect(store(t, 8, 8, bits)).toBe(false)
    expect(t.frames.entry(TABLE, 1)).toBe(before)
    expect(audit(t.frames.table)).toEqual([])
  })
})

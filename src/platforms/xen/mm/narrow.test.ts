/** Direct paging of 32-bit guests: L3 tables of four entries, Xen's part of the last L2 table, what is not adjusted. */
import { describe, expect, it } from 'vitest'
import { Errno } from '../errno.ts'
import { safeDescriptor } from './descriptors.ts'
import { ACCESSED, FIRST_XEN_L2_SLOT, NX, PCD, PRESENT, PSE, RW, USER } from './entries.ts'
import { PAE_XEN, Type, TYPE } from './frame-table.ts'
import { findL1 } from './linear.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, TestCalls, TestFrames } from './testing.ts'
import { getPageAndType, putPageAndType } from './types.ts'
import { updateVaMapping } from './update-va-mapping.ts'
import { emulateStore } from './write-emulation.ts'

/** An L3 table, L2 tables of its slots 0 and 3, an L1 table, a page; more of the same. */
const [L3, LOW, LAST, L1, DATA, OTHER, SPARE] = Array.from({ length: 7 }, (_, i) => FIRST_OWN + i) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
]

/** Tables as a kernel makes them. */
function tables(t: TestFrames): void {
  t.set(L3, 0, LOW, PRESENT)
  t.set(L3, 3, LAST, PRESENT)
  t.set(LOW, 0, L1, PRESENT | RW | USER)
  t.set(L1, 5, DATA, PRESENT | RW)
}
const frames = () => {
  const t = new TestFrames({ narrow: true })
  tables(t)
  return t
}
const calls = () => {
  const c = new TestCalls({ narrow: true })
  tables(c.frames)
  return c
}
const entry = (frame: number, flags: number) => (BigInt(frame) << 12n) | BigInt(flags)

describe('L3 tables', () => {
  it('validate their tables, and are given USER and R/W in their entries alone', () => {
    const t = frames()
    expect(getPageAndType(t.table, L3, Type.L3)).toBe(0)
    expect([LOW, LAST, L1, DATA].map((f) => t.table.types[f] & TYPE)).toEqual([
      Type.L2,
      Type.L2,
      Type.L1,
      Type.WRITABLE,
    ])
    expect([t.entry(L3, 0), t.entry(L3, 3)]).toEqual([
      entry(LOW, PRESENT | RW | USER),
      entry(LAST, PRESENT | RW | USER),
    ])
    expect([t.entry(LOW, 0), t.entry(L1, 5)]).toEqual([entry(L1, PRESENT | RW | USER), entry(DATA, PRESENT | RW)])
    expect(audit(t.table, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('lose that with their last use', () => {
    const t = frames()
    getPageAndType(t.table, L3, Type.L3)
    t.table.ram.put(t.at(L3, 0), t.words[t.at(L3, 0)]! | ACCESSED, 0)
    putPageAndType(t.table, L3)
    expect([t.entry(L3, 0), t.table.typeRefs[LAST]]).toEqual([entry(LOW, PRESENT), 0])
    expect(audit(t.table)).toEqual([])
  })

  it('have the machine-to-physical table in the last L2 table, from 0xf5800000 on', () => {
    const t = frames()
    t.set(LAST, FIRST_XEN_L2_SLOT, DATA, PRESENT | RW)
    t.set(LAST, 511, DATA, PRESENT | RW)
    getPageAndType(t.table, L3, Type.L3)
    expect(t.table.types[LAST]! & PAE_XEN).toBe(PAE_XEN)
    expect([t.entry(LAST, FIRST_XEN_L2_SLOT), t.entry(LAST, 511)]).toEqual([entry(t.table.m2p, PRESENT | PSE), 0n])
    expect(t.table.refs[DATA]).toBe(2)
  })

  it.each([
    ['without a table in slot 3', (t: TestFrames) => t.set(L3, 3, LAST, 0)],
    ['with refused flags there', (t: TestFrames) => t.set(L3, 3, LAST, PRESENT | PCD)],
    ['with the same table in another slot', (t: TestFrames) => t.set(L3, 2, LAST, PRESENT)],
    ['with NX there', (t: TestFrames) => t.set(L3, 3, LAST, PRESENT, NX)],
    ['with a software bit in a slot before', (t: TestFrames) => t.set(L3, 0, LOW, PRESENT, 1 << 20)],
    ['that name themselves', (t: TestFrames) => t.set(L3, 1, L3, PRESENT)],
    ['with another’s frame there', (t: TestFrames) => t.set(L3, 3, 4, PRESENT)],
  ])('%s are refused, and nothing is held', (_, change) => {
    const t = frames()
    change(t)
    expect(getPageAndType(t.table, L3, Type.L3)).toBe(Errno.EINVAL)
    expect([LOW, LAST, L1, DATA].map((f) => t.table.typeRefs[f])).toEqual([0, 0, 0, 0])
    expect(audit(t.table)).toEqual([])
  })

  it('name no other of their kind, and are given nothing of the sort by an update', () => {
    const c = calls()
    expect(c.mmuext(Mmuext.NEW_BASEPTR, L3)).toBe(0)
    c.frames.set(OTHER, 3, SPARE, PRESENT)
    c.frames.set(OTHER, 1, L3, PRESENT)
    expect(getPageAndType(c.mm.frames, OTHER, Type.L3)).toBe(Errno.EINVAL)
    for (const value of [entry(L3, PRESENT), entry(LOW, PRESENT) | (1n << 63n), entry(LOW, PRESENT) | (1n << 52n)])
      expect(c.mmuUpdate([[BigInt(c.frames.at(L3, 1) * 4), value]])).toEqual([Errno.EINVAL, 0])
    expect(audit(c.mm.frames, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('have their first four slots only: what stands in the others is cleared', () => {
    const t = frames()
    for (const slot of [4, 5, 511]) t.set(L3, slot, DATA, PRESENT | RW | PCD, 0x123)
    expect(getPageAndType(t.table, L3, Type.L3)).toBe(0)
    expect([4, 5, 511].map((slot) => t.entry(L3, slot))).toEqual([0n, 0n, 0n])
    expect(audit(t.table, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('cannot share their last L2 table', () => {
    const t = frames()
    getPageAndType(t.table, L3, Type.L3)
    t.set(OTHER, 3, LAST, PRESENT)
    expect(getPageAndType(t.table, OTHER, Type.L3)).toBe(Errno.EINVAL)
    expect(t.table.typeRefs[LAST]).toBe(1)
    expect(audit(t.table, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('nor have one there that is in use as a common L2 table', () => {
    const t = frames()
    getPageAndType(t.table, LAST, Type.L2)
    expect(getPageAndType(t.table, L3, Type.L3)).toBe(Errno.EINVAL)
  })
})

describe('hypercalls', () => {
  const machine = (c: TestCalls, table: number, slot: number) => BigInt(c.frames.at(table, slot) * 4)

  it('NEW_BASEPTR runs on an L3 table; there is no user’s, and no L4', () => {
    const c = calls()
    expect(c.mmuext(Mmuext.NEW_BASEPTR, L3)).toBe(0)
    expect(c.log).toEqual([`roots 0 ${L3} 0`])
    expect(c.mmuext(Mmuext.NEW_USER_BASEPTR, L3)).toBe(Errno.EINVAL)
    expect(c.mmuext(Mmuext.PIN_L4_TABLE, SPARE)).toBe(Errno.EINVAL)
    expect(c.mmuext(Mmuext.PIN_L1_TABLE + 2, L3)).toBe(0)
    expect(audit(c.mm.frames, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('mmu_update: slot 3 and Xen’s part stay; the first slots can change', () => {
    const c = calls()
    c.mmuext(Mmuext.NEW_BASEPTR, L3)
    expect(c.mmuUpdate([[machine(c, L3, 3), 0n]])).toEqual([Errno.EINVAL, 0])
    expect(c.mmuUpdate([[machine(c, L3, 1), entry(OTHER, PRESENT)]])).toEqual([0, 1])
    expect(c.frames.entry(L3, 1)).toBe(entry(OTHER, PRESENT | RW | USER))
    expect(c.mmuUpdate([[machine(c, LAST, FIRST_XEN_L2_SLOT), 0n]])).toEqual([Errno.EPERM, 0])
    expect(c.mmuUpdate([[machine(c, LAST, FIRST_XEN_L2_SLOT - 1), entry(SPARE, PRESENT | RW)]])).toEqual([0, 1])
    expect(audit(c.mm.frames, [{ frame: L3, typed: true }])).toEqual([])
  })

  it('the machine-to-physical table has words', () => {
    const c = calls()
    const before = c.mm.frames.pfnOf(DATA + 1)
    expect(c.mmuUpdate([[(BigInt(DATA) << 12n) | 1n, 0x1234n]])).toEqual([0, 1])
    expect([c.mm.frames.pfnOf(DATA), c.mm.frames.pfnOf(DATA + 1)]).toEqual([0x1234, before])
    expect(c.frames.words[(c.mm.frames.m2p << 10) + DATA]).toBe(0x1234)
  })

  it('update_va_mapping has the entry in two words', () => {
    const c = calls()
    c.mmuext(Mmuext.NEW_BASEPTR, L3)
    expect(updateVaMapping(c.args(5 * 4096, (SPARE << 12) | PRESENT, 0, 0), c.mm)).toBe(0)
    expect(c.frames.entry(L1, 5)).toBe(entry(SPARE, PRESENT))
    expect(updateVaMapping(c.args(5 * 4096, (SPARE << 12) | PRESENT, 1, 0), c.mm)).toBe(Errno.EPERM)
  })

  it('the hypervisor’s addresses are no guest’s', () => {
    const c = calls()
    c.mmuext(Mmuext.NEW_BASEPTR, L3)
    expect(findL1(c.mm.frames, L3, 5 * 4096, 0)).toBe(c.frames.at(L1, 5))
    expect(findL1(c.mm.frames, L3, 0xf5800000 | 0, 0)).toBe(-1)
    expect(c.mmuext(Mmuext.SET_LDT, 0xf5800000, 1)).toBe(Errno.EINVAL)
    expect(c.mmuext(Mmuext.SET_LDT, 0xf57ff000, 1)).toBe(0)
  })
})

describe('stores to L1 tables', () => {
  it('an upper half that makes no sense yet is taken, not present until the lower one comes', () => {
    const c = calls()
    c.mmuext(Mmuext.NEW_BASEPTR, L3)
    const at = c.frames.at(L1, 5) * 4
    expect(emulateStore(c.mm, at + 4, 4, 0x123, 0)).toBe(true)
    expect(c.frames.entry(L1, 5)).toBe((0x123n << 32n) | entry(DATA, RW))
    expect(emulateStore(c.mm, at, 4, (DATA << 12) | PRESENT, 0)).toBe(false)
    expect(emulateStore(c.mm, at + 4, 4, 0, 0)).toBe(true)
    expect(emulateStore(c.mm, at, 4, (DATA << 12) | PRESENT, 0)).toBe(true)
    expect(c.frames.entry(L1, 5)).toBe(entry(DATA, PRESENT))
    expect(audit(c.mm.frames, [{ frame: L3, typed: true }])).toEqual([])
  })
})

describe('descriptors', () => {
  const narrow = (low: number, high: number) => safeDescriptor(low | 0, high | 0, true)?.map((word) => word >>> 0)

  it('of ring 0 become ring 1’s, others stay', () => {
    expect(narrow(0x0000ffff, 0x00cf9a00)).toEqual([0x0000ffff, 0x00cfba00])
    expect(narrow(0x0000ffff, 0x00cffa00)).toEqual([0x0000ffff, 0x00cffa00])
    expect(narrow(0x0000ffff, 0x00000000)).toEqual([0x0000ffff, 0])
  })

  it('of 64-bit code are refused', () => expect(narrow(0x0000ffff, 0x00af9a00)).toBeUndefined())

  it('that are flat beyond 0xf5800000 reach 4 GiB; others keep their limit', () => {
    expect(narrow(0x000067ff, 0x00cfb200)).toEqual([0x0000ffff, 0x00cfb200])
    expect(narrow(0x000057ff, 0x00cfb200)).toEqual([0x000057ff, 0x00cfb200])
    expect(narrow(0x100067ff, 0x00cfb200)).toEqual([0x100067ff, 0x00cfb200])
  })

  it('call gates are disarmed, with their level in the selector; system segments are refused', () => {
    expect(narrow(0x00101234, 0x0000ec00)).toEqual([0x00131234, 0x00008c00])
    expect(narrow(0xe0191234, 0x00008c00)).toEqual([0xe0191234, 0x00008c00])
    expect(narrow(0xe0111234, 0x00008c00)).toBeUndefined()
    expect(narrow(0x00000067, 0x00008900)).toBeUndefined()
  })
})

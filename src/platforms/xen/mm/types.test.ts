import { describe, expect, it } from 'vitest'
import { Errno } from '../errno.ts'
import { GLOBAL, GUEST_KERNEL, PCD, PRESENT, PSE, RW, USER } from './entries.ts'
import { Type, TYPE, VALIDATED } from './frame-table.ts'
import { audit, FIRST_OWN, TestFrames } from './testing.ts'
import { getPageAndType, getType, putPageAndType, putType } from './types.ts'

const [A, B, C, D, E] = [FIRST_OWN, FIRST_OWN + 1, FIRST_OWN + 2, FIRST_OWN + 3, FIRST_OWN + 4]
const KERNEL = 1n << 52n

describe('L1 tables', () => {
  it('takes a reference for each entry and a use for each writable one, and drops them', () => {
    const t = new TestFrames()
    t.set(A, 0, B, PRESENT | RW)
    t.set(A, 1, B, PRESENT)
    t.set(A, 2, C, 0)
    expect(getType(t.table, A, Type.L1)).toBe(0)
    expect([t.table.refs[B], t.table.typeRefs[B], t.table.types[B] & TYPE]).toEqual([3, 1, Type.WRITABLE])
    expect(t.table.refs[C]).toBe(1)
    putType(t.table, A)
    expect([t.table.refs[B], t.table.typeRefs[B]]).toEqual([1, 0])
    expect(audit(t.table)).toEqual([])
  })

  it('stores USER always: GLOBAL beside the guest’s own, bit 52 where it was not', () => {
    const t = new TestFrames()
    t.set(A, 0, B, PRESENT | USER)
    t.set(A, 1, B, PRESENT)
    t.set(A, 2, B, PRESENT | USER, GUEST_KERNEL)
    t.set(A, 3, B, RW)
    getType(t.table, A, Type.L1)
    const frame = BigInt(B) << 12n
    expect(t.entry(A, 0)).toBe(frame | BigInt(PRESENT | USER | GLOBAL))
    expect(t.entry(A, 1)).toBe(frame | BigInt(PRESENT | USER) | KERNEL)
    expect(t.entry(A, 2)).toBe(frame | BigInt(PRESENT | USER) | KERNEL)
    expect(t.entry(A, 3)).toBe(frame | BigInt(RW))
  })

  it.each([
    ['a cache attribute', B, PRESENT | PCD, 0, Errno.EINVAL],
    ['PAT', B, PRESENT | PSE, 0, Errno.EINVAL],
    ['itself, writable', A, PRESENT | RW, 0, Errno.EBUSY],
    ['a frame of Xen’s', 4, PRESENT, 0, Errno.EBUSY],
    ['a frame of DOMID_IO’s', 1, PRESENT, 0, Errno.EPERM],
    ['a frame beyond memory', 0xf0000, PRESENT, 0, Errno.EPERM],
    ['a frame beyond 4 GiB', B, PRESENT, 1, Errno.EPERM],
    ['the invalid frame', 0xfffff, PRESENT, 0xfffff, Errno.EINVAL],
  ])('refuses %s, and lets go of what came before', (_, frame, flags, high, answer) => {
    const t = new TestFrames()
    t.set(A, 3, B, PRESENT | RW)
    t.set(A, 4, frame, flags, high)
    expect(getType(t.table, A, Type.L1)).toBe(answer)
    expect([t.table.typeRefs[A], t.table.typeRefs[B], t.table.refs[B]]).toEqual([0, 0, 1])
    // What was looked at keeps what Xen stored.
    expect(t.entry(A, 3) & KERNEL).toBe(KERNEL)
    expect(audit(t.table)).toEqual([])
  })
})

describe('tables above', () => {
  it('validate what they name, level by level, and let go of it all with the last use', () => {
    const t = new TestFrames()
    t.set(A, 0, B, PRESENT | RW)
    t.set(B, 511, C, PRESENT | RW)
    t.set(C, 1, D, PRESENT | RW)
    t.set(D, 2, E, PRESENT | RW)
    expect(getPageAndType(t.table, A, Type.L4)).toBe(0)
    expect([A, B, C, D, E].map((f) => t.table.types[f] & TYPE)).toEqual([4, 3, 2, 1, 7])
    expect(audit(t.table, [{ frame: A, typed: true }])).toEqual([])
    putPageAndType(t.table, A)
    expect([A, B, C, D, E].map((f) => t.table.typeRefs[f])).toEqual([0, 0, 0, 0, 0])
    expect(audit(t.table)).toEqual([])
  })

  it('answers what the lowest level says, and undoes the rest', () => {
    const t = new TestFrames()
    t.set(A, 0, B, PRESENT)
    t.set(A, 1, B, PRESENT)
    t.set(B, 0, C, PRESENT)
    t.set(C, 0, D, PRESENT)
    t.set(D, 0, E, PRESENT | RW)
    t.set(D, 1, A, PRESENT | RW)
    expect(getPageAndType(t.table, A, Type.L4)).toBe(Errno.EBUSY)
    expect(audit(t.table)).toEqual([])
    expect([A, B, C, D, E].map((f) => t.table.typeRefs[f])).toEqual([0, 0, 0, 0, 0])
  })

  it.each([Type.L2, Type.L3, Type.L4])('level %i may name itself and one of its level, read-only', (level) => {
    const t = new TestFrames()
    t.set(A, 0, A, PRESENT)
    expect(getPageAndType(t.table, A, level)).toBe(0)
    t.set(B, 0, A, PRESENT)
    expect(getPageAndType(t.table, B, level)).toBe(0)
    expect([t.table.linear[A], t.table.linear[B]]).toEqual([-1, 1])
    // A chain of two.
    t.set(C, 0, B, PRESENT)
    expect(getPageAndType(t.table, C, level)).toBe(Errno.EINVAL)
    t.set(C, 0, A, PRESENT | RW)
    expect(getPageAndType(t.table, C, level)).toBe(Errno.EINVAL)
    const holders = [A, B].map((frame) => ({ frame, typed: true }))
    expect(audit(t.table, holders)).toEqual([])
    putPageAndType(t.table, A)
    expect(t.table.types[A] & VALIDATED).toBe(VALIDATED)
    putPageAndType(t.table, B)
    expect([t.table.linear[A], t.table.linear[B]]).toEqual([0, 0])
    expect(audit(t.table)).toEqual([])
  })

  it('refuses large pages, cache attributes and frames of others', () => {
    for (const [frame, flags] of [
      [B, PRESENT | PSE],
      [B, PRESENT | GLOBAL],
      [4, PRESENT],
      [0xf0000, PRESENT],
    ] as const) {
      const t = new TestFrames()
      t.set(A, 9, frame, flags)
      expect(getPageAndType(t.table, A, Type.L2)).toBe(Errno.EINVAL)
      expect(audit(t.table)).toEqual([])
    }
  })

  it('an L4 gets Xen’s slots, whatever was there', () => {
    const t = new TestFrames()
    t.set(A, 258, B, PRESENT | RW)
    t.set(A, 259, B, PRESENT | PSE)
    expect(getPageAndType(t.table, A, Type.L4)).toBe(0)
    expect(t.entry(A, 256)).toBe(0n)
    expect(t.entry(A, 258)).toBe((BigInt(A) << 12n) | 0x8000000000000063n)
    expect(t.entry(A, 259)).toBe(0n)
    expect(t.table.refs[B]).toBe(1)
  })
})

describe('translations', () => {
  it('are flushed before what was writable becomes a table, once for all that was given up before', () => {
    const t = new TestFrames({ vcpus: 2 })
    for (const frame of [A, B]) {
      getType(t.table, frame, Type.WRITABLE)
      putType(t.table, frame)
    }
    t.log.length = 0
    getType(t.table, A, Type.L1)
    expect(t.log).toEqual(['flush 0', 'flush 1'])
    getType(t.table, B, Type.L1)
    expect(t.log).toEqual(['flush 0', 'flush 1'])
  })

  it('are flushed when a frame comes back from the heap', () => {
    const t = new TestFrames({ own: 8 })
    t.table.putAllocation(A)
    t.log.length = 0
    expect(t.table.allocate(0)).toBe(A)
    expect(t.log).toEqual(['flush 0'])
  })
})

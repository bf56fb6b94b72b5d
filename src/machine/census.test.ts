/** A counting machine sees what a kernel does without asking. */
import { describe, expect, test } from 'vitest'
import { allRows } from '../cpu/isa/table.ts'
import { sensitive } from '../cpu/interpreter/sensitive.ts'
import { M, PageAttr } from '../cpu/layout.ts'
import type { SharedByte } from '../paravirt/effects.ts'
import { Census } from './census.ts'

const core = () => {
  const memory = new ArrayBuffer(M.CODE)
  const flushed: number[] = []
  const system = { flushAll: (p: number) => void flushed.push(p) }
  return {
    flushed,
    system,
    vcpus: [1, 2],
    ramBytes: 0x100000,
    i32: new Int32Array(memory),
    u8: new Uint8Array(memory),
    u64: new BigUint64Array(memory),
  }
}

test('every sensitive instruction is one of the table', () => {
  const names = new Set(allRows().map(({ name }) => name))
  expect(sensitive.filter((name) => !names.has(name))).toEqual([])
})

test('whole entries count by level; any other store ends the watch', () => {
  const census = new Census()
  const parts = core()
  census.start(parts as never)
  expect(parts.i32[M.WATCH_TABLES >> 2]).toBe(1)
  parts.u8[M.PAGE_ATTR + 5] = PageAttr.WATCHED | 1
  census.store(0x5008, 8, 0, PageAttr.WATCHED | 1)
  census.store(0x5010, 4, 0, PageAttr.WATCHED | 1)
  census.store(0x6000, 8, 0, PageAttr.WATCHED | 4)
  expect(census.list()).toEqual([
    { what: 'store to a level 1 page table', op: 'mmu.set_pte', count: 2 },
    { what: 'store to a level 4 page table', op: 'mmu.set_p4d', count: 1 },
  ])
  expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.WATCHED | 1)
  census.store(0x5001, 1, 0, PageAttr.WATCHED | 1)
  expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.RAM)
})

describe('shared bytes', () => {
  const clock: SharedByte = { name: 'clock pages', loads: 'time.clocksource' }
  const assist: SharedByte = { name: 'assist pages', stores: 'apic.eoi' }

  test('count where they are now, once for each access that holds them', () => {
    const census = new Census()
    const parts = core()
    const attribute = (page: number) => parts.u8[M.PAGE_ATTR + page]
    census.start(parts as never)
    census.share(clock, 0, 0x5008n)
    census.share(clock, 1, 0x5048n)
    census.share(assist, 0, 0x5080n)
    expect(parts.flushed).toEqual([1, 2, 1, 2, 1, 2])
    expect(attribute(5)).toBe(PageAttr.WATCHED | PageAttr.READS)
    const watched = attribute(5) as number
    for (const [address, size] of [
      [0x5000, 8],
      [0x5000, 16],
      [0x5008, 8],
      [0x5009, 8],
      [0x5048, 1],
      [0x5080, 4],
    ] as const) {
      census.load(address, size)
      census.store(address, size, 0, watched)
    }
    expect(census.list()).toEqual([
      { what: 'load from clock pages', op: 'time.clocksource', count: 3 },
      { what: 'store to assist pages', op: 'apic.eoi', count: 1 },
    ])
    census.share(clock, 0, 0x6008n)
    census.share(clock, 1, undefined)
    census.share(assist, 0, 0x100080n)
    expect([attribute(5), attribute(6)]).toEqual([PageAttr.RAM, watched])
    census.load(0x5008, 8)
    census.load(0x6008, 8)
    expect(census.list()[0]).toMatchObject({ count: 4 })
  })

  test('an interrupt flag in memory is set and cleared', () => {
    const census = new Census()
    census.start(core() as never)
    const stores = { zero: 'irq.irq_enable', other: 'irq.irq_disable' } as const
    census.share({ name: 'event masks', stores }, 0, 0x5001n)
    for (const [address, size, value] of [
      [0x5001, 1, 1],
      [0x5001, 1, 0],
      [0x5000, 2, 0x0100],
      [0x5000, 4, 0xff00ff],
      [0x5001, 1, -1],
    ] as const)
      census.store(address, size, value, PageAttr.WATCHED)
    expect(census.list()).toEqual([
      { what: 'store of 1 to event masks', op: 'irq.irq_disable', count: 3 },
      { what: 'store of 0 to event masks', op: 'irq.irq_enable', count: 2 },
    ])
  })

  test('the page may be the hypervisor’s own', () => {
    const census = new Census()
    const parts = core()
    census.start(parts as never)
    parts.u8[M.PAGE_ATTR + 5] = PageAttr.SEALED
    census.share(clock, 0, 0x5008n)
    expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.SEALED | PageAttr.READS)
    census.share(clock, 0, undefined)
    expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.SEALED)
  })
})

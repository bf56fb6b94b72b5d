/** A counting machine sees what a kernel does without asking. */
import { expect, test } from 'vitest'
import { allRows } from '../cpu/isa/table.ts'
import { sensitive } from '../cpu/interpreter/sensitive.ts'
import { M, PageAttr } from '../cpu/layout.ts'
import { Census } from './census.ts'

const core = () => {
  const memory = new ArrayBuffer(M.CODE)
  return { i32: new Int32Array(memory), u8: new Uint8Array(memory), u64: new BigUint64Array(memory) }
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
  census.store(0x5008, 8, PageAttr.WATCHED | 1)
  census.store(0x5010, 4, PageAttr.WATCHED | 1)
  census.store(0x6000, 8, PageAttr.WATCHED | 4)
  expect(census.list()).toEqual([
    { what: 'store to a level 1 page table', op: 'mmu.set_pte', count: 2 },
    { what: 'store to a level 4 page table', op: 'mmu.set_p4d', count: 1 },
  ])
  expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.WATCHED | 1)
  census.store(0x5001, 1, PageAttr.WATCHED | 1)
  expect(parts.u8[M.PAGE_ATTR + 5]).toBe(PageAttr.RAM)
})

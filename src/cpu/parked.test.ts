/** TLB entries of pages that are absent come back as they were, without a walk, and are forgotten like all others. */
import { expect, test } from 'vitest'
import type { Core } from './core.ts'
import { M, S, Tlb } from './layout.ts'
import { coreAlone } from './testing/alone.ts'

const PG_PE = 0x80000001n
const DIRECTORY = 0x6000
const TABLE = 0x7000
const RIGHTS = 7
const ACCESSED_DIRTY = 0x60
const LINEAR = 0x9000n
/** The page behind it, and what is in it before and after it was absent. */
const PAGE = 5
const [BEFORE, AFTER] = [0x11, 0x22]

/** A core that has the page in its TLB, for loads and stores; then the page is absent and its entries are parked. */
async function parked(linear = LINEAR) {
  const core = await coreAlone()
  const p = core.vcpus[0] as number
  const entry = M.RAM + TABLE + 4 * Number(linear >> 12n)
  core.i32[(M.RAM + DIRECTORY) >> 2] = TABLE | RIGHTS
  core.i32[entry >> 2] = (PAGE << 12) | RIGHTS
  core.u8.fill(BEFORE, M.RAM + 4096 * PAGE, M.RAM + 4096 * (PAGE + 1))
  core.u64[(p + S.CR3) >> 3] = BigInt(DIRECTORY)
  core.u64[(p + S.CR0) >> 3] = PG_PE
  core.system.updateMode(p)
  core.system.flushAll(p)
  expect(core.system.slowStore(p, linear, 1, BigInt(BEFORE))).toBe(0)
  expect(core.system.slowLoad(p, linear, 1)).toBe(BigInt(BEFORE))
  const entries = () => core.u8.slice(p + Tlb.AREA, p + Tlb.AREA + 3 * Tlb.BANK)
  const full = entries()
  core.i32[entry >> 2] = (PAGE << 12) | RIGHTS
  let unpacked = 0
  core.absent.add({
    pages: [PAGE],
    unpack: () => {
      unpacked++
      return new Uint8Array(4096).fill(AFTER)
    },
  })
  core.system.parkAbsent(p)
  return {
    core,
    p,
    entries,
    full,
    unpacked: () => unpacked,
    walked: () => ((core.i32[entry >> 2] as number) & ACCESSED_DIRTY) !== 0,
  }
}

test.each([
  ['a load', (core: Core, p: number) => core.system.slowLoad(p, LINEAR, 1) === BigInt(AFTER)],
  ['a store', (core: Core, p: number) => core.system.slowStore(p, LINEAR, 1, 3n) === 0],
])('%s brings the page and walks no table', async (_, access) => {
  const { core, p, unpacked, walked } = await parked()
  expect(unpacked()).toBe(0)
  expect(access(core, p)).toBe(true)
  expect([unpacked(), walked()]).toEqual([1, false])
  // Another one finds it at once.
  expect(access(core, p) || core.u8[M.RAM + 4096 * PAGE] === 3).toBe(true)
  expect(unpacked()).toBe(1)
})

test.each([
  ['its page', (core: Core, p: number) => core.system.flushPage(p, LINEAR)],
  ['all', (core: Core, p: number) => core.system.flushAll(p)],
])('after a flush of %s a table is walked', async (_, flush) => {
  const { core, p, walked } = await parked()
  flush(core, p)
  expect(core.system.slowLoad(p, LINEAR, 1)).toBe(BigInt(AFTER))
  expect(walked()).toBe(true)
})

test('the page may come by itself first', async () => {
  const { core, p, unpacked, walked } = await parked()
  core.absent.all()
  expect(core.system.slowLoad(p, LINEAR, 1)).toBe(BigInt(AFTER))
  expect([unpacked(), walked()]).toEqual([1, false])
})

test('a machine that is saved again has the entries that it had', async () => {
  const { core, p, entries, full } = await parked()
  expect(entries()).not.toEqual(full)
  core.absent.all()
  core.system.settleTlb(p)
  expect(entries()).toEqual(full)
})

test('none is left that no address space can find', async () => {
  const { core, p, entries } = await parked()
  core.absent.all()
  core.system.flushAll(p)
  core.system.settleTlb(p)
  expect(entries().every((byte) => byte === 0)).toBe(true)
})

test('an entry of linear page 0 is whole from the start', async () => {
  const { entries, full, unpacked, walked } = await parked(0n)
  expect([unpacked(), walked()]).toEqual([1, false])
  expect(entries()).toEqual(full)
})

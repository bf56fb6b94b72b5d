import { expect, test } from 'vitest'
import { AbsentPages } from './absent.ts'
import type { Core } from './core.ts'
import { M, PageAttr, S } from './layout.ts'
import { physicalAddress } from './mapping.ts'
import { coreAlone } from './testing/alone.ts'

/** A core in which page 2 to 5 are absent, two together; `unpacked` tells which have come. */
async function absent() {
  const core = await coreAlone()
  const unpacked: number[] = []
  const bundle = (pages: number[]) => ({
    pages,
    unpack: () => {
      unpacked.push(...pages)
      const bytes = new Uint8Array(4096 * pages.length)
      pages.forEach((page, i) => bytes.fill(page, 4096 * i, 4096 * (i + 1)))
      return bytes
    },
  })
  core.absent.add(bundle([2, 3]))
  core.absent.add(bundle([4, 5]))
  return { core, unpacked, p: core.vcpus[0] as number }
}

const attributes = (core: Core) => [...core.u8.subarray(M.PAGE_ATTR + 1, M.PAGE_ATTR + 7)]

test('a load of the guest brings a page and its neighbours, once', async () => {
  const { core, unpacked, p } = await absent()
  expect(attributes(core)).toEqual([0, 32, 32, 32, 32, 0])
  core.system.updateMode(p)
  expect(core.system.slowLoad(p, 0x1ff8n, 8)).toBe(0n)
  expect(unpacked).toEqual([])
  expect(core.system.slowLoad(p, 0x3008n, 4)).toBe(0x03030303n)
  expect(core.system.slowLoad(p, 0x2008n, 4)).toBe(0x02020202n)
  expect(unpacked).toEqual([2, 3])
  expect(attributes(core)).toEqual([0, 0, 0, 32, 32, 0])
})

test('a store keeps the rest of the page', async () => {
  const { core, p } = await absent()
  expect(core.system.slowStore(p, 0x4004n, 1, 0xffn)).toBe(0)
  expect([...core.u8.subarray(M.RAM + 0x4003, M.RAM + 0x4006)]).toEqual([4, 0xff, 4])
})

test('one access over two pages brings both', async () => {
  const { core, unpacked, p } = await absent()
  expect(core.system.slowLoad(p, 0x3ffen, 4)).toBe(0x04040303n)
  expect(unpacked).toEqual([2, 3, 4, 5])
})

test('so does what the host reads and writes, and a page walk', async () => {
  const { core, unpacked } = await absent()
  expect(core.ram(0x2fff, 1)[0]).toBe(2)
  core.writeRam(0x4001, Uint8Array.of(9))
  expect([...core.u8.subarray(M.RAM + 0x4000, M.RAM + 0x4003)]).toEqual([4, 9, 4])
  expect(unpacked).toEqual([2, 3, 4, 5])

  const other = await absent()
  // 32-bit paging with its directory in page 2, whose entry 0x02020202 is not present.
  other.core.u64[(other.p + S.CR0) >> 3] = 0x80000001n
  other.core.u64[(other.p + S.CR3) >> 3] = 0x2000n
  expect(physicalAddress(other.core, other.p, 0n)).toBeUndefined()
  expect(other.unpacked).toEqual([2, 3])
})

test('code is decoded from what comes', async () => {
  const { core, unpacked, p } = await absent()
  core.u64[(p + S.RIP) >> 3] = 0x3000n
  for (const base of [S.SEG_BASE, S.DESC_BASE]) core.u64[(p + base + 8) >> 3] = 0n
  core.runSlice(0, 1) // ADD EAX, [EBX]
  expect(unpacked).toEqual([2, 3])
})

test('the page keeps its kind, and all can be brought at once', () => {
  const memory = new WebAssembly.Memory({ initial: (M.RAM >> 16) + 1 })
  const bytes = new Uint8Array(memory.buffer)
  bytes[M.PAGE_ATTR + 3] = PageAttr.ROM
  const pages = new AbsentPages(memory)
  pages.add({ pages: [3, 7], unpack: () => new Uint8Array(8192).fill(1) })
  expect([pages.count, bytes[M.PAGE_ATTR + 3]]).toEqual([2, PageAttr.ROM | PageAttr.ABSENT])
  pages.all()
  expect([pages.count, bytes[M.PAGE_ATTR + 3], bytes[M.RAM + 0x7fff]]).toEqual([0, PageAttr.ROM, 1])
})

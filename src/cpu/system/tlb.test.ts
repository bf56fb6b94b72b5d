/** Generations, PCIDs and flushes: an entry is used exactly as long as it may be. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { M, S, Tlb } from '../layout.ts'
import {
  enterLongMode,
  GLOBAL,
  LARGE,
  makeTestCore,
  p,
  PageTable,
  PRESENT,
  Ram,
  setState,
  takeException,
  USER,
  WRITABLE,
} from '../testing/memory.ts'
import type { MemoryProcedures, TestCore } from '../testing/memory.ts'

const RIGHTS = PRESENT | WRITABLE | USER
const ROOT = 0x100000
const FIRST = 0x10000
const SECOND = 0x20000
const NORMAL = 0x1000
const GLOBAL_PAGE = 0x2000
const CR4 = { PAE_PGE: 0xa0n, PCIDE: 1n << 17n, SMAP: 1n << 21n }

let core: TestCore
let run: MemoryProcedures
let ram: Ram
let table: PageTable

beforeAll(async () => {
  core = await makeTestCore()
  run = core.procedures
  ram = new Ram(core)
  ram.write32(FIRST, 1)
  ram.write32(SECOND, 2)
})

beforeEach(() => {
  table = new PageTable(core, ROOT)
  table.map(NORMAL, FIRST)
  table.map(GLOBAL_PAGE, FIRST, RIGHTS | GLOBAL)
  enterLongMode(core, table)
})

const read = (linear: number): bigint => {
  const value = run.slowLoad(p, BigInt(linear), 4)
  expect(takeException(core)).toBe(undefined)
  return value
}
/** Whether the TLB still answers for a page that was in it when its table changed from FIRST to SECOND. */
const cached = (linear: number): boolean => read(linear) === 1n
function fillThenRemap(): void {
  read(NORMAL)
  read(GLOBAL_PAGE)
  table.map(NORMAL, SECOND)
  table.map(GLOBAL_PAGE, SECOND, RIGHTS | GLOBAL)
}
const gen = (): bigint => core.view.getBigUint64(p + S.GEN, true)
const switchTo = (cr3: number, keep = false): void => {
  setState(core, { CR3: BigInt(cr3) })
  run.switchAddressSpace(p, BigInt(cr3), keep ? 1 : 0)
}

describe('flushes', () => {
  test('what each forgets', () => {
    // The stale answers that are still allowed: of the normal page, of the global one.
    const cases: [string, () => void, boolean, boolean][] = [
      ['CR3', () => switchTo(ROOT), false, true],
      ['flushNonGlobal', () => run.flushNonGlobal(p), false, true],
      ['flushPcid of this', () => run.flushPcid(p, 0), false, true],
      ['flushAll', () => run.flushAll(p), false, false],
      ['flushPage of one', () => run.flushPage(p, BigInt(NORMAL + 0xfff)), false, true],
      ['flushPage of the other', () => run.flushPage(p, BigInt(GLOBAL_PAGE)), true, false],
    ]
    for (const [name, flush, normal, global] of cases)
      for (const cpl of [0, 3]) {
        table.map(NORMAL, FIRST)
        table.map(GLOBAL_PAGE, FIRST, RIGHTS | GLOBAL)
        enterLongMode(core, table, { CPL: cpl })
        fillThenRemap()
        flush()
        expect(cached(NORMAL) && !normal, `${name}, CPL ${cpl}`).toBe(false)
        expect(cached(GLOBAL_PAGE) && !global, `${name}, CPL ${cpl}`).toBe(false)
      }
  })

  test('without CR4.PGE no page is global', () => {
    enterLongMode(core, table, { CR4: 0x20n })
    fillThenRemap()
    switchTo(ROOT)
    expect(cached(GLOBAL_PAGE)).toBe(false)
  })

  test('a bank of global pages keeps its generation over CR3 loads', () => {
    read(GLOBAL_PAGE)
    const before = gen()
    for (let i = 0; i < 10; i++) switchTo(ROOT)
    expect(gen()).toBe(before)
    read(NORMAL)
    expect(gen()).not.toBe(before)
    switchTo(ROOT)
    expect(gen()).toBe(before)
  })

  test('generations wrap around and nothing old comes back', () => {
    for (let i = 0; i < 9000; i++) {
      const pa = i & 1 ? SECOND : FIRST
      table.map(NORMAL, pa)
      expect(read(NORMAL)).toBe(i & 1 ? 2n : 1n)
      if (i % 3 === 0) run.flushAll(p)
      else switchTo(ROOT)
      expect(gen()).toBeGreaterThan(0n)
      expect(gen()).toBeLessThan(4096n)
    }
  })

  test('every bank is flushed, not only the current one', () => {
    for (const flush of [() => run.flushPage(p, BigInt(NORMAL)), () => run.flushAll(p), () => switchTo(ROOT)]) {
      table.map(NORMAL, FIRST)
      enterLongMode(core, table, { CPL: 3 })
      read(NORMAL)
      setState(core, { CPL: 0 })
      run.setBank(p)
      read(NORMAL)
      table.map(NORMAL, SECOND)
      flush()
      expect(cached(NORMAL)).toBe(false)
      setState(core, { CPL: 3 })
      run.setBank(p)
      expect(cached(NORMAL)).toBe(false)
    }
  })
})

describe('banks', () => {
  test('CPL, AC and SMAP choose', () => {
    const bank = (CPL: number, ac: boolean, smap: boolean): number => {
      setState(core, { CPL, SYSFLAGS: 2 | (ac ? 1 << 18 : 0), CR4: CR4.PAE_PGE | (smap ? CR4.SMAP : 0n) })
      run.setBank(p)
      const reads = core.view.getUint32(p + S.TLB_READ, true)
      expect(core.view.getUint32(p + S.TLB_WRITE, true) - reads).toBe(Tlb.PART)
      expect(core.view.getUint32(p + S.TLB_EXEC, true) - reads).toBe(2 * Tlb.PART)
      return (reads - p - Tlb.AREA) / Tlb.BANK
    }
    for (const smap of [false, true])
      for (const ac of [false, true]) {
        expect(bank(3, ac, smap)).toBe(Tlb.USER)
        for (const cpl of [0, 1, 2]) expect(bank(cpl, ac, smap)).toBe(smap && !ac ? Tlb.SUPERVISOR : Tlb.SUPERVISOR_AC)
      }
  })
})

describe('large pages', () => {
  test('flushPage forgets all of a 2 MiB and of a 1 GiB page', () => {
    for (const level of [1, 2]) {
      const entry = ROOT + level * 0x1000
      const before = ram.read64(entry)
      for (const size of [0x200000, ...(level === 1 ? [0x40000000] : [])])
        for (const at of [0, 0x1ff000, size - 0x1000]) {
          ram.write64(entry, LARGE | RIGHTS | GLOBAL)
          run.flushAll(p)
          expect(read(FIRST)).toBe(1n)
          ram.write64(entry, 0n)
          run.flushPage(p, BigInt(at))
          run.slowLoad(p, BigInt(FIRST), 4)
          expect(takeException(core)).toEqual({ vector: 14, error: 0 })
        }
      ram.write64(entry, before)
    }
  })

  test('flushPage of a small page leaves a large neighbour alone', () => {
    ram.write64(ROOT + 0x2000 + 8, 0x200000n | LARGE | RIGHTS)
    ram.write32(0x200000 + 0x5000, 77)
    expect(read(0x205000)).toBe(77n)
    read(NORMAL)
    table.map(NORMAL, SECOND)
    ram.write64(ROOT + 0x2000 + 8, 0n)
    run.flushPage(p, BigInt(NORMAL))
    expect(cached(NORMAL)).toBe(false)
    expect(read(0x205000)).toBe(77n)
  })

  test('a 4 MiB page of 32-bit paging', () => {
    ram.write32(ROOT, 0x83)
    enterLongMode(core, table, { MODE: 14, EFER: 0n, CR4: 0x10n })
    ram.write32(ROOT, 0x83)
    run.flushAll(p)
    expect(read(FIRST)).toBe(1n)
    ram.write32(ROOT, 0)
    run.flushPage(p, 0x3ff000n)
    run.slowLoad(p, BigInt(FIRST), 4)
    expect(takeException(core)).toEqual({ vector: 14, error: 0 })
  })
})

describe('PCID', () => {
  const other = 0x180000
  // Direct mapped: what is to stay side by side has linear pages of its own.
  const OTHER_NORMAL = 0x3000
  beforeEach(() => {
    const second = new PageTable(core, other)
    second.map(OTHER_NORMAL, SECOND)
    enterLongMode(core, table, { CR4: CR4.PAE_PGE | CR4.PCIDE, CR3: BigInt(ROOT | 1) })
  })

  test('address spaces keep their entries while others run', () => {
    expect(read(NORMAL)).toBe(1n)
    switchTo(other | 2)
    expect(read(OTHER_NORMAL)).toBe(2n)
    table.set(NORMAL, 0n)
    switchTo(ROOT | 1, true)
    expect(read(NORMAL)).toBe(1n)
    switchTo(other | 2, true)
    expect(read(OTHER_NORMAL)).toBe(2n)
    run.slowLoad(p, BigInt(NORMAL), 4)
    expect(takeException(core)).toEqual({ vector: 14, error: 0 })
    read(OTHER_NORMAL)
    switchTo(ROOT | 1)
    run.slowLoad(p, BigInt(NORMAL), 4)
    expect(takeException(core)).toEqual({ vector: 14, error: 0 })
  })

  test('INVPCID of another address space, of all, and a page in another', () => {
    for (const [flush, kept] of [
      [() => run.flushPcid(p, 1), false],
      [() => run.flushPcid(p, 2), true],
      [() => run.flushNonGlobal(p), false],
      [() => run.flushPage(p, BigInt(NORMAL)), false],
    ] as const) {
      table.map(NORMAL, FIRST)
      switchTo(ROOT | 1)
      read(NORMAL)
      switchTo(other | 2)
      table.map(NORMAL, SECOND)
      flush()
      switchTo(ROOT | 1, true)
      expect(cached(NORMAL)).toBe(kept)
    }
  })

  test('global pages are shared by address spaces that hold nothing else', () => {
    new PageTable(core, other).map(GLOBAL_PAGE, FIRST, RIGHTS | GLOBAL)
    switchTo(other | 2)
    read(GLOBAL_PAGE)
    table.map(GLOBAL_PAGE, SECOND, RIGHTS | GLOBAL)
    switchTo(ROOT | 1, true)
    expect(cached(GLOBAL_PAGE)).toBe(true)
  })

  test('the least recently used of more than eight goes, and comes back empty', () => {
    const page = (pcid: number): number => 0x10000 + pcid * 0x1000
    for (let pcid = 1; pcid <= 8; pcid++) {
      table.map(page(pcid), FIRST)
      switchTo(ROOT | pcid)
      expect(read(page(pcid))).toBe(1n)
    }
    for (let pcid = 1; pcid <= 8; pcid++) table.map(page(pcid), SECOND)
    switchTo(ROOT | 1, true)
    switchTo(ROOT | 9, true)
    for (const pcid of [3, 8, 1]) {
      switchTo(ROOT | pcid, true)
      expect(cached(page(pcid))).toBe(true)
    }
    switchTo(ROOT | 2, true)
    expect(cached(page(2))).toBe(false)
  })
})

test('random remaps, flushes and switches never show a stale page after its flush', () => {
  let seed = 12345
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return (seed >>> 8) % n
  }
  const roots = [ROOT, 0x180000, 0x190000]
  const tables = roots.map((root) => new PageTable(core, root))
  const pages = [0x1000, 0x2000, 0x3000, 0x181000]
  const frames = [FIRST, SECOND, 0x30000, 0x40000]
  frames.forEach((frame, i) => ram.write32(frame, i + 1))
  enterLongMode(core, tables[0]!, { CR4: CR4.PAE_PGE | CR4.PCIDE, CR3: BigInt(roots[0]!) })
  let space = 0
  // Per address space and page: the answers that are allowed.
  const allowed = roots.map(() => pages.map(() => new Set<bigint>()))
  const now = (s: number, i: number): bigint => BigInt(frames.indexOf(Number(tables[s]!.get(pages[i]!) & 0xff000n)) + 1)
  const settle = (s: number, i: number): void => {
    allowed[s]![i] = new Set([now(s, i)])
  }
  roots.forEach((_, s) =>
    pages.forEach((page, i) => {
      tables[s]!.map(page, frames[i]!)
      settle(s, i)
    }),
  )
  for (let n = 0; n < 20000; n++) {
    const i = random(pages.length)
    expect(allowed[space]![i]!.has(read(pages[i]!)), `step ${n}`).toBe(true)
    switch (random(8)) {
      case 0:
        tables[space]!.map(pages[i]!, frames[random(4)]!)
        allowed[space]![i]!.add(now(space, i))
        break
      case 1:
        run.flushPage(p, BigInt(pages[i]!))
        settle(space, i)
        break
      case 2: {
        space = random(roots.length)
        const keep = random(2) === 1
        switchTo(roots[space]! | space, keep)
        if (!keep) pages.forEach((_, j) => settle(space, j))
        break
      }
      case 3: {
        const which = random(roots.length)
        run.flushPcid(p, which)
        pages.forEach((_, j) => settle(which, j))
        break
      }
      case 4:
        setState(core, { CPL: random(2) * 3 })
        run.setBank(p)
        break
    }
  }
})

test('a page that gets its first mark loses its write entries in every bank', () => {
  const writeTag = (bank: number): bigint =>
    core.view.getBigUint64(p + Tlb.AREA + bank * Tlb.BANK + Tlb.PART + (NORMAL >> 12) * 16, true)
  for (const CPL of [0, 3]) {
    setState(core, { CPL })
    run.setBank(p)
    expect(run.slowStore(p, BigInt(NORMAL), 4, 1n)).toBe(0)
  }
  expect(writeTag(Tlb.USER)).not.toBe(0n)
  expect(writeTag(Tlb.SUPERVISOR_AC)).not.toBe(0n)
  core.view.setBigUint64(M.CODE_MARKS + (FIRST >>> 12) * 8, 1n, true)
  run.notifyMarked(FIRST >>> 12)
  expect(writeTag(Tlb.USER)).toBe(0n)
  expect(writeTag(Tlb.SUPERVISOR_AC)).toBe(0n)
})

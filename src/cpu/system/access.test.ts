/** Slow loads and stores, physical memory behind them, code marks, segment checks, and lookup. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Attr, Leave, M, Mode, PageAttr, R, S } from '../layout.ts'
import {
  enterLongMode,
  indexTableOf,
  makeTestCore,
  p,
  PageTable,
  PRESENT,
  Ram,
  RAM_BYTES,
  setState,
  takeException,
  USER,
  WRITABLE,
} from '../testing/memory.ts'
import type { MemoryProcedures, TestCore } from '../testing/memory.ts'

let core: TestCore
let run: MemoryProcedures
let ram: Ram
let table: PageTable

const PAGES = [0x10000, 0x20000] // linear 0x1000 and 0x2000

beforeAll(async () => {
  core = await makeTestCore()
  run = core.procedures
  ram = new Ram(core)
})

beforeEach(() => {
  core.bytes.fill(0, M.PAGE_ATTR, M.PAGE_ATTR + (RAM_BYTES >>> 12))
  core.bytes.fill(0, M.CODE_MARKS, M.CODE_MARKS + (RAM_BYTES >>> 9))
  table = new PageTable(core, 0x100000)
  table.map(0x1000, PAGES[0]!)
  table.map(0x2000, PAGES[1]!)
  core.bytes.fill(0xee, M.RAM + PAGES[0]!, M.RAM + PAGES[0]! + 0x1000)
  core.bytes.fill(0xee, M.RAM + PAGES[1]!, M.RAM + PAGES[1]! + 0x1000)
  core.answer = () => 0
  enterLongMode(core, table)
})

const at = (pa: number, length: number): Uint8Array => core.bytes.slice(M.RAM + pa, M.RAM + pa + length)
const leave = (): number => core.view.getInt32(p + S.LEAVE, true)
const mark = (page: number, lines: bigint): void => core.view.setBigUint64(M.CODE_MARKS + page * 8, lines, true)
const attribute = (page: number, value: number): void => core.view.setUint8(M.PAGE_ATTR + page, value)

describe('across pages', () => {
  test('every size and split', () => {
    for (const size of [1, 2, 4, 8])
      for (let offset = 0x1ff8; offset <= 0x2000; offset++) {
        const value = 0x1122334455667788n & ((1n << BigInt(size * 8)) - 1n)
        expect(run.slowStore(p, BigInt(offset), size, 0xffffffffffffffffn)).toBe(0)
        expect(run.slowStore(p, BigInt(offset), size, value)).toBe(0)
        expect(run.slowLoad(p, BigInt(offset), size)).toBe(value)
        const bytes = [...at(PAGES[0]!, 0x1000), ...at(PAGES[1]!, 0x1000)]
        for (let i = 0; i < size; i++) expect(bytes[offset - 0x1000 + i]).toBe(Number((value >> BigInt(8 * i)) & 255n))
      }
  })

  test('a fault on either page leaves everything unwritten, and CR2 says which', () => {
    for (const bad of [0x2000, 0x1000])
      for (const [flags, error] of [
        [0n, 2],
        [PRESENT | USER, 3],
      ] as const) {
        table.map(bad, bad * 16, flags)
        run.flushAll(p)
        const before = at(PAGES[0]!, 0x20000)
        expect(run.slowStore(p, 0x1ffdn, 8, 0n)).toBe(1)
        expect(takeException(core)).toEqual({ vector: 14, error })
        expect(core.view.getBigUint64(p + S.CR2, true)).toBe(bad === 0x2000 ? 0x2000n : 0x1ffdn)
        expect(run.probeWrite(p, 0x1ffdn, 8)).toBe(-1)
        expect(takeException(core)).toEqual({ vector: 14, error })
        expect(run.slowStore16(p, 0x1ffdn, 16)).toBe(1)
        expect(takeException(core)).toEqual({ vector: 14, error })
        expect(run.storeBytes(p, 0x1f00n, 512, 0, M.RAM)).toBe(1)
        expect(takeException(core)).toEqual({ vector: 14, error })
        expect(Buffer.compare(at(PAGES[0]!, 0x20000), before)).toBe(0)
        table.map(bad, bad * 16)
      }
  })

  test('16 bytes and byte blocks', () => {
    for (const offset of [0x1000, 0x1ff1, 0x1fff]) {
      for (let i = 0; i < 16; i++) core.bytes[p + S.SCRATCH + i] = i + 1
      expect(run.slowStore16(p, BigInt(offset), 16)).toBe(0)
      core.bytes.fill(0, p + S.SCRATCH, p + S.SCRATCH + 16)
      expect(run.slowLoad16(p, BigInt(offset), 16)).toBe(0)
      expect(core.bytes.slice(p + S.SCRATCH, p + S.SCRATCH + 16)).toEqual(
        Uint8Array.from({ length: 16 }, (_, i) => i + 1),
      )
    }
    expect(run.loadBytes(p, 0x1f00n, 512, 0, p + S.SCRATCH)).toBe(0)
    expect(core.bytes.slice(p + S.SCRATCH, p + S.SCRATCH + 256)).toEqual(at(PAGES[0]! + 0xf00, 256))
    expect(core.bytes.slice(p + S.SCRATCH + 256, p + S.SCRATCH + 512)).toEqual(at(PAGES[1]!, 256))
  })

  test('probeWrite: an address in one plain page, 0 for two pages', () => {
    expect(run.probeWrite(p, 0x1ff8n, 8)).toBe(M.RAM + PAGES[0]! + 0xff8)
    expect(run.probeWrite(p, 0x1ff9n, 8)).toBe(0)
    expect(takeException(core)).toBe(undefined)
  })
})

describe('alignment checks', () => {
  const AC = 1 << 18
  const enter = (values: Parameters<typeof setState>[1]): void =>
    enterLongMode(core, table, { CR0: 0x80050001n, CPL: 3, SYSFLAGS: 2 | AC, ...values })

  test('#AC(0) at CPL 3 with CR0.AM and EFLAGS.AC, for unaligned operands', () => {
    enter({})
    for (const size of [1, 2, 4, 8])
      for (let offset = 0x1ff0; offset < 0x2000; offset++) {
        const expected = offset % size ? { vector: 17, error: 0 } : undefined
        run.slowLoad(p, BigInt(offset), size)
        expect(takeException(core)).toEqual(expected)
        expect(run.slowStore(p, BigInt(offset), size, 0n)).toBe(expected ? 1 : 0)
        expect(takeException(core)).toEqual(expected)
        run.probeWrite(p, BigInt(offset), size)
        expect(takeException(core)).toEqual(expected)
      }
  })

  test('while on, the fast path finds nothing; #AC comes before #PF, as on hardware; implicit accesses are exempt', () => {
    enter({})
    run.slowStore(p, 0x1000n, 4, 0n)
    expect(fastEntry(S.TLB_READ, 0x1000n)).toBe(false)
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(false)
    run.slowLoad(p, 0x5001n, 4)
    expect(takeException(core)).toEqual({ vector: 17, error: 0 })
    run.slowLoad(p, 0x5000n, 4)
    expect(takeException(core)).toEqual({ vector: 14, error: 4 })
    run.sysLoad(p, 0x1001n, 4)
    expect(takeException(core)).toBe(undefined)
  })

  test('off at CPL 0, without AM, without AC', () => {
    for (const values of [{ CPL: 0 }, { CR0: 0x80010001n }, { SYSFLAGS: 2 }]) {
      enter(values)
      run.slowLoad(p, 0x1001n, 4)
      expect(takeException(core)).toBe(undefined)
      expect(fastEntry(S.TLB_READ, 0x1000n)).toBe(true)
    }
  })
})

/** What a handler's TLB test would find for one byte. */
function fastEntry(part: number, linear: bigint): boolean {
  const entry = core.view.getUint32(p + part, true) + Number((linear >> 8n) & 0x3ff0n)
  return core.view.getBigUint64(entry, true) === ((linear & ~0xfffn) | core.view.getBigUint64(p + S.GEN, true))
}

describe('a page of the hypervisor', () => {
  beforeEach(() => attribute(PAGES[0]! >>> 12, PageAttr.SEALED))
  const general = { vector: 13, error: 0 }

  test('is read; stores of any kind, seen by the TLB or not, are #GP(0)', () => {
    const stores = [
      () => expect(run.slowStore(p, 0x1000n, 4, 0n)).toBe(1),
      () => expect(run.slowStore(p, 0x1ffen, 4, 0n)).toBe(1),
      () => expect(run.sysStore(p, 0x1000n, 4, 0n)).toBe(1),
      () => expect(run.storeBytes(p, 0x1ff8n, 16, 0, M.RAM + 0x8000)).toBe(1),
      () => expect(run.probeWrite(p, 0x1000n, 4) >>> 0).toBe(0xffffffff),
    ]
    for (const store of [...stores, ...stores]) {
      store()
      expect(takeException(core)).toMatchObject(general)
      expect(run.slowLoad(p, 0x1000n, 4)).toBe(0xeeeeeeeen)
      expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(false)
    }
    expect(at(PAGES[1]!, 4)).toEqual(new Uint8Array(4).fill(0xee))
  })

  test('what the tables refuse is a page fault first', () => {
    table.map(0x1000, PAGES[0]!, PRESENT)
    run.slowStore(p, 0x1000n, 4, 0n)
    expect(takeException(core)).toMatchObject({ vector: 14 })
  })
})

test('loads from a page whose loads are watched are told, each one, whatever else the page is', () => {
  for (const kind of [PageAttr.WATCHED, PageAttr.SEALED]) {
    core.calls.length = 0
    attribute(PAGES[0]! >>> 12, kind | PageAttr.READS)
    for (let i = 0; i < 2; i++) expect(run.slowLoad(p, 0x1008n, 4)).toBe(0xeeeeeeeen)
    run.slowLoad(p, 0x1ffen, 4)
    run.loadBytes(p, 0x1010n, 16, 0, M.RAM + 0x8000)
    expect(fastEntry(S.TLB_READ, 0x1000n)).toBe(false)
    expect(core.calls).toEqual([
      ['watchedLoad', PAGES[0]! + 8, 4],
      ['watchedLoad', PAGES[0]! + 8, 4],
      ['watchedLoad', PAGES[0]! + 0xffe, 2],
      ['watchedLoad', PAGES[0]! + 16, 16],
    ])
  }
})

describe('what the TLB may hold', () => {
  test('no write entry before the page is dirty', () => {
    run.slowLoad(p, 0x1000n, 4)
    expect(fastEntry(S.TLB_READ, 0x1000n)).toBe(true)
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(false)
    run.slowStore(p, 0x1000n, 4, 0n)
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(true)
  })

  test('nothing for MMIO, no write entry for ROM', () => {
    table.map(0x3000, RAM_BYTES + 0x5000)
    attribute(PAGES[0]! >>> 12, PageAttr.ROM)
    attribute(PAGES[1]! >>> 12, PageAttr.MMIO)
    for (const linear of [0x1000n, 0x2000n, 0x3000n]) {
      run.slowStore(p, linear, 4, 0n)
      run.slowLoad(p, linear, 4)
      expect(run.probeWrite(p, linear, 4)).toBe(0)
      expect(fastEntry(S.TLB_READ, linear)).toBe(linear === 0x1000n)
      expect(fastEntry(S.TLB_WRITE, linear)).toBe(false)
    }
    expect(ram.read32(PAGES[0]!)).toBe(0xeeeeeeee)
    expect(core.calls).toEqual([
      ['mmioWrite', 0x20000, 4, 0],
      ['mmioRead', 0x20000, 4],
      ['mmioWrite', RAM_BYTES + 0x5000, 4, 0],
      ['mmioRead', RAM_BYTES + 0x5000, 4],
    ])
  })

  test('a marked page is stored to slowly, and fast again when its marks are gone', () => {
    run.slowStore(p, 0x1000n, 4, 0n)
    mark(PAGES[0]! >>> 12, 1n << 3n)
    run.notifyMarked(PAGES[0]! >>> 12)
    expect(fastEntry(S.TLB_READ, 0x1000n)).toBe(true)
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(false)
    expect(run.probeWrite(p, 0x1000n, 4)).toBe(0)
    expect(run.slowStore(p, 0x1000n, 4, 5n)).toBe(0)
    expect(core.calls).toEqual([])
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(false)
    run.slowStore(p, 0x10bdn, 4, 5n)
    expect(core.calls).toEqual([['codeWritten', PAGES[0]! >>> 12]])
    expect(leave() & Leave.CODE).toBe(Leave.CODE)
    run.slowStore(p, 0x1000n, 4, 6n)
    expect(fastEntry(S.TLB_WRITE, 0x1000n)).toBe(true)
    expect(ram.read32(PAGES[0]!)).toBe(6)
  })
})

describe('physical memory', () => {
  test('code marks: exactly the writes that touch a marked line', () => {
    for (let line = 0; line < 64; line += 7)
      for (const [offset, length] of [
        [0, 1],
        [63, 2],
        [64, 64],
        [447, 1],
        [448, 1],
        [511, 1],
        [512, 1],
        [0xfff, 1],
        [1, 4000],
      ] as const) {
        const touched = offset < (line + 1) * 64 && offset + length > line * 64
        for (const write of [
          () => run.physCopyIn(p, BigInt(0x30000 + offset), M.RAM, length),
          () => run.physFill(p, BigInt(0x30000 + offset), 1, length),
          () => run.beforeWrite(p, 0x30000 + offset, length),
          ...(length <= 8 ? [() => run.physWrite(p, BigInt(0x30000 + offset), length, 0n)] : []),
        ]) {
          mark(0x30, 1n << BigInt(line))
          core.calls.length = 0
          setState(core, { LEAVE: 0 })
          write()
          expect(core.calls).toEqual(touched ? [['codeWritten', 0x30]] : [])
          expect(leave()).toBe(touched ? Leave.CODE : 0)
        }
      }
  })

  test('MMIO accesses are split into aligned ones of at most 4 bytes', () => {
    const pa = RAM_BYTES
    core.answer = (address, size) =>
      Number((0x8877665544332211n >> BigInt((address & 7) * 8)) & ((1n << BigInt(size * 8)) - 1n))
    const parts = (offset: number, size: number): (string | number)[][] => {
      core.calls.length = 0
      run.physRead(p, BigInt(pa + offset), size)
      return core.calls.map(([, address, n]) => [(address as number) - pa, n!])
    }
    expect(parts(0, 8)).toEqual([
      [0, 4],
      [4, 4],
    ])
    expect(parts(1, 4)).toEqual([
      [1, 1],
      [2, 2],
      [4, 1],
    ])
    expect(parts(2, 4)).toEqual([
      [2, 2],
      [4, 2],
    ])
    expect(parts(3, 2)).toEqual([
      [3, 1],
      [4, 1],
    ])
    expect(run.physRead(p, BigInt(pa + 1), 7)).toBe(0x88776655443322n)
    core.calls.length = 0
    run.physWrite(p, BigInt(pa + 3), 4, 0xaabbccddn)
    expect(core.calls).toEqual([
      ['mmioWrite', pa + 3, 1, 0xdd],
      ['mmioWrite', pa + 4, 2, 0xbbcc],
      ['mmioWrite', pa + 6, 1, 0xaa],
    ])
    expect(run.physRead(p, 0x7ffffffffcn, 4)).toBe(0x88776655n)
  })

  test('copies across RAM, ROM and the end of RAM', () => {
    attribute(0x31, PageAttr.ROM)
    core.bytes.fill(7, M.RAM + 0x50000, M.RAM + 0x53000)
    core.bytes.fill(0, M.RAM + 0x30000, M.RAM + 0x33000)
    run.physCopyIn(p, 0x30800n, M.RAM + 0x50000, 0x2000)
    expect([0x307ff, 0x30800, 0x30fff, 0x31000, 0x31fff, 0x32000, 0x327ff, 0x32800].map((pa) => at(pa, 1)[0])).toEqual([
      0, 7, 7, 0, 0, 7, 7, 0,
    ])
    core.calls.length = 0
    run.physFill(p, BigInt(RAM_BYTES - 1), 9, 2)
    expect(at(RAM_BYTES - 1, 1)[0]).toBe(9)
    expect(core.calls).toEqual([['mmioWrite', RAM_BYTES, 1, 9]])
    core.answer = () => 5
    run.physCopyOut(p, p + S.SCRATCH, BigInt(RAM_BYTES - 1), 3)
    expect(core.bytes.slice(p + S.SCRATCH, p + S.SCRATCH + 3)).toEqual(Uint8Array.of(9, 5, 0))
  })
})

describe('segments', () => {
  const DATA = Attr.P | Attr.S
  function segment(seg: number, attr: number, limit: number, base = 0n): void {
    setState(core, { MODE: Mode.D | Mode.B, EFER: 0n })
    core.view.setUint32(p + S.SEG_ATTR + seg * 4, attr, true)
    core.view.setUint32(p + S.SEG_LIMIT + seg * 4, limit, true)
    core.view.setBigUint64(p + S.SEG_BASE + seg * 8, base, true)
  }
  const outcome = (seg: number, offset: bigint, size: number, write = 0): bigint | number => {
    const linear = run.segLinear(p, seg, offset, size, write)
    return takeException(core)?.vector ?? linear
  }

  test('limits, up and down, of both sizes', () => {
    segment(3, DATA | 2, 0x1234, 0xfffff000n)
    expect(outcome(3, 0x1231n, 4)).toBe(0x231n)
    expect(outcome(3, 0x1232n, 4)).toBe(13)
    expect(outcome(3, 0xffffffffn, 1)).toBe(13)
    segment(2, DATA | 2, 0x1234)
    expect(outcome(2, 0x1235n, 1)).toBe(12)
    segment(3, DATA | 6, 0x1234)
    expect(outcome(3, 0x1234n, 1)).toBe(13)
    expect(outcome(3, 0x1235n, 1)).toBe(0x1235n)
    expect(outcome(3, 0xffffn, 1)).toBe(0xffffn)
    expect(outcome(3, 0xffffn, 2)).toBe(13)
    segment(3, DATA | 6 | Attr.DB, 0x1234)
    expect(outcome(3, 0xffffn, 2)).toBe(0xffffn)
    expect(outcome(3, 0xffffffffn, 1)).toBe(0xffffffffn)
    expect(outcome(3, 0xffffffffn, 2)).toBe(13)
  })

  test('types', () => {
    const rights = (attr: number): boolean[] => {
      segment(3, attr, 0xffffffff)
      return [0, 1].map((write) => outcome(3, 0n, 4, write) === 0n)
    }
    expect(rights(DATA)).toEqual([true, false])
    expect(rights(DATA | 2)).toEqual([true, true])
    expect(rights(DATA | 8)).toEqual([false, false])
    expect(rights(DATA | 10)).toEqual([true, false])
    expect(rights(DATA | 2 | Attr.NULL)).toEqual([false, false])
    setState(core, { CR0: 0n })
    expect(rights(DATA | 10)).toEqual([true, true])
  })

  test('64-bit mode: base and canonical addresses only', () => {
    segment(4, Attr.NULL, 0, 0xffff888000000000n)
    setState(core, { MODE: Mode.LONG, EFER: 0x500n })
    expect(outcome(4, 0x10n, 8, 1)).toBe(BigInt.asIntN(64, 0xffff888000000010n))
    expect(outcome(4, 0xffff800000000000n, 8)).toBe(13)
    core.view.setBigUint64(p + S.SEG_BASE + 16, 0n, true)
    expect(outcome(2, 0x7ffffffffff8n, 8)).toBe(0x7ffffffffff8n)
    expect(outcome(2, 0x7ffffffffff9n, 8)).toBe(12)
  })
})

describe('lookup', () => {
  const RECORD = M.CODE + 0x800000
  const record = (pa: number, value: number): void =>
    core.view.setUint32(indexTableOf(pa >>> 12) + (pa & 0xfff) * 4, value, true)
  beforeEach(() => {
    core.bytes.fill(0, M.CODE, M.CODE + 0x400000)
    core.decode = () => 0
  })

  test('decodes what the index table lacks, and no more', () => {
    setState(core, { RIP: 0x1123n })
    core.decode = () => RECORD
    expect(run.lookup(p)).toBe(RECORD)
    expect(core.calls).toEqual([['indexTable', PAGES[0]! >>> 12], ['decode']])
    expect(core.view.getBigUint64(p + S.PAGE_LINEAR, true)).toBe(0x1000n)
    record(PAGES[0]! + 0x123, RECORD + 16)
    expect(run.lookup(p)).toBe(RECORD + 16)
    expect(core.calls.length).toBe(2)
    expect(run.fetchCheck(p, 0x2000n)).toBe(BigInt(PAGES[1]! >>> 12))
  })

  test('faults: absent page, non-canonical RIP', () => {
    setState(core, { RIP: 0x5000n, CPL: 3 })
    run.setBank(p)
    expect(run.lookup(p)).toBe(0)
    expect(takeException(core)).toEqual({ vector: 14, error: 20 })
    expect(core.view.getBigUint64(p + S.CR2, true)).toBe(0x5000n)
    setState(core, { RIP: 0x800000000000n })
    expect(run.lookup(p)).toBe(0)
    expect(takeException(core)).toEqual({ vector: 13, error: 0 })
    table.map(0x3000, 0x30000, PRESENT | WRITABLE | USER | (1n << 63n))
    run.fetchCheck(p, 0x3000n)
    expect(takeException(core)).toEqual({ vector: 14, error: 21 })
  })

  test('the limit of CS holds for the whole instruction', () => {
    setState(core, { MODE: Mode.D | Mode.B, EFER: 0n, CR0: 1n, RIP: 0xffcn, CPL: 0 })
    run.flushAll(p)
    run.setBank(p)
    core.view.setBigUint64(p + S.SEG_BASE + 8, 0x10000n, true)
    core.view.setUint32(p + S.SEG_LIMIT + 4, 0xfff, true)
    record(0x10ffc, RECORD)
    for (const [length, ok] of [
      [3, true],
      [4, true],
      [5, false],
    ] as const) {
      core.view.setUint16(RECORD + R.OFFSET_LENGTH, (0xffc << 4) | length, true)
      expect(run.lookup(p)).toBe(ok ? RECORD : 0)
      expect(takeException(core)).toEqual(ok ? undefined : { vector: 13, error: 0 })
    }
    setState(core, { RIP: 0x1000n })
    expect(run.lookup(p)).toBe(0)
    expect(takeException(core)).toEqual({ vector: 13, error: 0 })
    core.view.setBigUint64(p + S.SEG_BASE + 8, 0n, true)
    core.view.setUint32(p + S.SEG_LIMIT + 4, 0xffffffff, true)
  })

  test('a new MODE finds nothing of the old', () => {
    setState(core, { RIP: 0x1123n })
    record(PAGES[0]! + 0x123, RECORD)
    run.lookup(p)
    expect(fastEntry(S.TLB_EXEC, 0x1000n)).toBe(true)
    setState(core, { MODE: Mode.D | Mode.B | Mode.FLAT })
    run.flushExec(p)
    expect(fastEntry(S.TLB_EXEC, 0x1000n)).toBe(false)
    run.lookup(p)
    expect(fastEntry(S.TLB_EXEC, 0x1000n)).toBe(true)
    run.dropExec(p)
    expect(fastEntry(S.TLB_EXEC, 0x1000n)).toBe(false)
  })
})

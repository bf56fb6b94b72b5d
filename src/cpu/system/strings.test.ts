/** String instructions against an element-by-element model; restart after faults, and I/O permission. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Attr, FlagsKind, Leave, M, Mode, PageAttr, S } from '../layout.ts'
import { enterLongMode, makeTestCore, p, PageTable, PRESENT, setState, takeException, USER } from '../testing/memory.ts'
import type { MemoryProcedures, TestCore } from '../testing/memory.ts'

const MOVS = 0
const STOS = 1
const LODS = 2
const CMPS = 3
const SCAS = 4
const INS = 5
const OUTS = 6
const DONE = 0
const AGAIN = 1
const FAULT = 2
const DF = 1 << 10
const TF = 1 << 8
const DS = 3

/** Linear 0x10000.. is PAGES pages that lie apart in physical memory; what is around them is absent. */
const BASE = 0x10000
const PAGES = 6
const frameOf = (page: number): number => 0x40000 + ((page * 5) % 8) * 0x2000

let core: TestCore
let run: MemoryProcedures
let table: PageTable

beforeAll(async () => {
  core = await makeTestCore()
  run = core.procedures
})

beforeEach(() => {
  core.bytes.fill(0, M.PAGE_ATTR, M.PAGE_ATTR + 0x1000)
  core.bytes.fill(0, M.CODE_MARKS, M.CODE_MARKS + 0x8000)
  table = new PageTable(core, 0x100000)
  for (let i = 0; i < PAGES; i++) table.map(BASE + i * 0x1000, frameOf(i))
  core.answer = () => 0
  core.bytes.fill(0, p + S.SEG_BASE, p + S.SEG_BASE + 48)
  enterLongMode(core, table)
})

const how = (repeat: number, width = 2, seg = DS): number => repeat | (width << 2) | (seg << 4)
const register = (name: 'RAX' | 'RCX' | 'RSI' | 'RDI' | 'RDX'): bigint => core.view.getBigUint64(p + S[name], true)
const hostOf = (linear: number): number => M.RAM + frameOf((linear - BASE) >>> 12) + (linear & 0xfff)
const peek = (linear: number): number => core.bytes[hostOf(linear)]!
const poke = (linear: number, ...bytes: number[]): void =>
  bytes.forEach((byte, i) => {
    core.bytes[hostOf(linear + i)] = byte
  })

/** CF and ZF as FLAGS_KIND SUB says. */
function flags(): { kind: number; size: number; zero: boolean; carry: boolean } {
  const kind = core.view.getInt32(p + S.FLAGS_KIND, true)
  const b = core.view.getBigInt64(p + S.FLAGS_B, true)
  const res = core.view.getBigInt64(p + S.FLAGS_RES, true)
  const bits = 8 << (kind & 3)
  const a = BigInt.asUintN(bits, res + b)
  return { kind: kind >> 2, size: 1 << (kind & 3), zero: res === 0n, carry: a < BigInt.asUintN(bits, b) }
}

/** What the random test starts from. */
const FLAGS_BEFORE = { kind: FlagsKind.LOGIC, size: 1, zero: false, carry: false }

let seed = 1
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return Math.floor((seed / 2 ** 32) * n)
}

/** The instruction as the SDM describes it, one element at a time on an array of bytes; page indices in `bad` fault. */
interface Model {
  memory: Uint8Array
  rax: bigint
  rcx: bigint
  rsi: bigint
  rdi: bigint
  compared?: { a: bigint; b: bigint }
  fault?: bigint
}
function model(
  m: Model,
  op: number,
  size: number,
  repeat: number,
  down: boolean,
  unreadable: (page: number) => boolean,
  unwritable: (page: number) => boolean,
): void {
  const by = BigInt(down ? -size : size)
  const mask = (1n << BigInt(size * 8)) - 1n
  const check = (linear: bigint, write: boolean): boolean => {
    for (const byte of [linear, linear + BigInt(size - 1)]) {
      const page = Math.floor((Number(byte) - BASE) / 0x1000)
      if (page < 0 || page >= PAGES || unreadable(page) || (write && unwritable(page))) {
        m.fault = byte === linear ? linear : byte & ~0xfffn
        return false
      }
    }
    return true
  }
  const get = (linear: bigint): bigint => {
    let value = 0n
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(m.memory[Number(linear) - BASE + i]!)
    return value
  }
  let last: Model['compared']
  const elements = repeat === 0 ? 1n : m.rcx
  for (let n = 0n; n < elements; n++) {
    const usesSource = op === MOVS || op === LODS || op === CMPS
    // CMPS reads its second operand first (seen on hardware).
    if (op === CMPS && !check(m.rdi, false)) return
    if (usesSource && !check(m.rsi, false)) return
    const source = usesSource ? get(m.rsi) : m.rax & mask
    if (op === LODS) m.rax = size === 4 ? source : (m.rax & ~mask) | source
    else {
      if (!check(m.rdi, op === MOVS || op === STOS)) return
      if (op === CMPS || op === SCAS) last = { a: source, b: get(m.rdi) }
      else for (let i = 0; i < size; i++) m.memory[Number(m.rdi) - BASE + i] = Number((source >> BigInt(8 * i)) & 255n)
      m.rdi += by
    }
    if (usesSource) m.rsi += by
    if (repeat !== 0) m.rcx--
    if (last && (last.a === last.b) !== (repeat === 1)) break
  }
  if (last) m.compared = last
}

test('random instructions, all sizes, directions and prefixes, with overlaps, faults and code marks', () => {
  for (let n = 0; n < 6000; n++) {
    const op = random(5)
    const size = 1 << random(4)
    const repeat = op >= CMPS ? random(3) : random(2)
    const down = random(3) === 0
    const bad = random(4) === 0 ? random(PAGES) : -1
    const readOnly = random(4) === 0 ? random(PAGES) : -1
    const alphabet = random(3) === 0 ? 1 : 2 + random(40)
    const memory = new Uint8Array(PAGES * 0x1000)
    for (let i = 0; i < memory.length; i++)
      memory[i] = alphabet === 1 ? 7 : i % 997 === 0 ? random(256) : (i * i) % alphabet
    const near = random(2) === 0
    const rsi = BigInt(BASE + random(PAGES * 0x1000))
    const rdi = near ? rsi + BigInt(random(40) - 20) : BigInt(BASE + random(PAGES * 0x1000))
    const rcx = BigInt([0, 1, 2, 3, random(20), random(3000), random(9000)][random(7)]!)
    const rax = alphabet === 1 ? 0x0707070707070707n : BigInt(random(2 ** 32)) * 0x100000001n
    for (let page = 0; page < PAGES; page++) {
      const linear = BASE + page * 0x1000
      if (page === bad) table.set(linear, 0n)
      else if (page === readOnly) table.map(linear, frameOf(page), PRESENT | USER)
      else table.map(linear, frameOf(page))
      core.bytes.set(memory.subarray(page * 0x1000, page * 0x1000 + 0x1000), M.RAM + frameOf(page))
      core.view.setBigUint64(
        M.CODE_MARKS + (frameOf(page) >>> 12) * 8,
        random(9) === 0 ? 1n << BigInt(random(64)) : 0n,
        true,
      )
    }
    enterLongMode(core, table, {
      RAX: rax,
      RCX: rcx,
      RSI: rsi,
      RDI: rdi,
      SYSFLAGS: 2 | (down ? DF : 0),
      FLAGS_KIND: FlagsKind.LOGIC << 2,
      FLAGS_RES: 0x45n,
      FLAGS_B: 0n,
    })
    const m: Model = { memory, rax, rcx, rsi, rdi }
    model(
      m,
      op,
      size,
      repeat,
      down,
      (page) => page === bad,
      (page) => page === readOnly,
    )

    const name = JSON.stringify({
      n,
      op,
      size,
      repeat,
      down,
      bad,
      readOnly,
      rsi: rsi.toString(16),
      rdi: rdi.toString(16),
      rcx: Number(rcx),
    })
    let answer: number
    do {
      setState(core, { LEAVE: 0 })
      answer = run.stringOp(p, op, size, how(repeat))
    } while (answer === AGAIN)
    const exception = takeException(core)
    expect(answer, name).toBe(m.fault === undefined ? DONE : FAULT)
    expect(exception?.vector, name).toBe(m.fault === undefined ? undefined : 14)
    expect(m.fault && core.view.getBigUint64(p + S.CR2, true), name).toBe(m.fault)
    expect([register('RCX'), register('RSI'), register('RDI'), register('RAX')], name).toEqual([
      m.rcx,
      m.rsi,
      m.rdi,
      m.rax,
    ])
    for (let page = 0; page < PAGES; page++)
      expect(
        Buffer.compare(
          core.bytes.subarray(M.RAM + frameOf(page), M.RAM + frameOf(page) + 0x1000),
          m.memory.subarray(page * 0x1000, page * 0x1000 + 0x1000),
        ),
        name,
      ).toBe(0)
    const compared = m.compared && {
      kind: FlagsKind.SUB,
      size,
      zero: m.compared.a === m.compared.b,
      carry: m.compared.a < m.compared.b,
    }
    expect(flags(), name).toEqual(compared ?? FLAGS_BEFORE)
  }
})

describe('address sizes', () => {
  test('32 bits in 64-bit mode: upper halves are cleared, even by a count of 0', () => {
    const upper = 0xdead00000000n
    const after = (op: number, count: bigint): bigint[] => {
      setState(core, { RCX: upper | count, RSI: upper | 0x10000n, RDI: upper | 0x11000n })
      expect(run.stringOp(p, op, 1, how(1, 1))).toBe(DONE)
      return [register('RCX'), register('RSI'), register('RDI')]
    }
    expect(after(MOVS, 0n)).toEqual([0n, 0x10000n, 0x11000n])
    expect(after(STOS, 0n)).toEqual([0n, upper | 0x10000n, 0x11000n])
    expect(after(LODS, 0n)).toEqual([0n, upper | 0x10000n, upper | 0x11000n])
    expect(after(CMPS, 0n)).toEqual([0n, upper | 0x10000n, upper | 0x11000n])
    expect(after(MOVS, 5n)).toEqual([0n, 0x10005n, 0x11005n])
  })

  test('16 bits wrap around in the segment and leave the upper parts', () => {
    setState(core, { MODE: Mode.D | Mode.B, EFER: 0n, CR0: 1n, RCX: 0xaaaa0004n, RDI: 0xbbbbfffen, RAX: 0x55n })
    run.flushAll(p)
    run.setBank(p)
    setState(core, { LEAVE: 0 })
    core.view.setBigUint64(p + S.SEG_BASE, 0x50000n, true)
    core.view.setUint32(p + S.SEG_LIMIT, 0xffff, true)
    core.view.setUint32(p + S.SEG_ATTR, Attr.P | Attr.S | 2, true)
    expect(run.stringOp(p, STOS, 1, how(1, 0))).toBe(DONE)
    expect([register('RCX'), register('RDI')]).toEqual([0xaaaa0000n, 0xbbbb0002n])
    for (const pa of [0x5fffe, 0x5ffff, 0x50000, 0x50001]) expect(core.bytes[M.RAM + pa]).toBe(0x55)
    setState(core, { RCX: 2n, RDI: 0xfffen })
    expect(run.stringOp(p, STOS, 2, how(1, 0))).toBe(DONE)
    setState(core, { RCX: 2n, RDI: 0xffffn })
    expect(run.stringOp(p, STOS, 2, how(1, 0))).toBe(FAULT)
    expect(takeException(core)).toEqual({ vector: 13, error: 0 })
  })

  test('the source has the segment of the prefix, the target ES', () => {
    core.view.setBigUint64(p + S.SEG_BASE + 4 * 8, BigInt(BASE), true)
    poke(BASE + 5, 1, 2, 3, 4)
    setState(core, { RCX: 4n, RSI: 5n, RDI: BigInt(BASE + 0x100) })
    expect(run.stringOp(p, MOVS, 1, how(1, 2, 4))).toBe(DONE)
    expect([0, 1, 2, 3].map((i) => peek(BASE + 0x100 + i))).toEqual([1, 2, 3, 4])
  })

  test('non-canonical: #GP(0), with an SS prefix #SS(0)', () => {
    for (const [seg, vector] of [
      [DS, 13],
      [2, 12],
    ] as const) {
      setState(core, { RCX: 4n, RSI: 0x800000000000n, RDI: BigInt(BASE) })
      expect(run.stringOp(p, MOVS, 1, how(1, 2, seg))).toBe(FAULT)
      expect(takeException(core)).toEqual({ vector, error: 0 })
    }
  })
})

describe('long repetitions', () => {
  test('a slice at most, and the registers say how far', () => {
    core.bytes.fill(0, M.RAM + 0x200000, M.RAM + 0x240000)
    setState(core, {
      CR0: 1n,
      EFER: 0n,
      MODE: Mode.D | Mode.B | Mode.FLAT,
      RCX: 0x8000n,
      RDI: 0x200004n,
      RAX: 0x11223344n,
    })
    run.flushAll(p)
    run.setBank(p)
    core.view.setUint32(p + S.SEG_LIMIT, 0xffffffff, true)
    core.view.setUint32(p + S.SEG_ATTR, Attr.P | Attr.S | 2 | Attr.DB, true)
    setState(core, { LEAVE: 0 })
    expect(run.stringOp(p, STOS, 4, how(1, 1))).toBe(AGAIN)
    expect([register('RCX'), register('RDI')]).toEqual([0x4000n, 0x210004n])
    expect(run.stringOp(p, STOS, 4, how(1, 1))).toBe(DONE)
    expect(core.view.getUint32(M.RAM + 0x220000, true)).toBe(0x11223344)
    expect(core.view.getUint32(M.RAM + 0x220004, true)).toBe(0)
  })

  test('stops where a write met decoded code, or something else set LEAVE', () => {
    core.view.setBigUint64(M.CODE_MARKS + (frameOf(1) >>> 12) * 8, 1n, true)
    setState(core, { RCX: 0x3000n, RDI: BigInt(BASE) })
    expect(run.stringOp(p, STOS, 1, how(1))).toBe(AGAIN)
    expect(core.view.getInt32(p + S.LEAVE, true)).toBe(Leave.CODE)
    expect(register('RCX')).toBe(0x1000n)
    setState(core, { LEAVE: 0 })
    expect(run.stringOp(p, STOS, 1, how(1))).toBe(DONE)
  })

  test('single steps take one element', () => {
    setState(core, { RCX: 3n, RDI: BigInt(BASE), SYSFLAGS: 2 | TF })
    expect([1, 2, 3].map(() => run.stringOp(p, STOS, 1, how(1)))).toEqual([AGAIN, AGAIN, DONE])
  })
})

describe('memory that is not RAM', () => {
  test('MMIO is read and written element by element, ROM is not written', () => {
    core.view.setUint8(M.PAGE_ATTR + (frameOf(0) >>> 12), PageAttr.MMIO)
    core.view.setUint8(M.PAGE_ATTR + (frameOf(1) >>> 12), PageAttr.ROM)
    core.answer = (address) => address & 0xffff
    const pa = frameOf(0)
    setState(core, { RCX: 3n, RSI: BigInt(BASE), RDI: BigInt(BASE + 0x2000) })
    expect(run.stringOp(p, MOVS, 2, how(1))).toBe(DONE)
    setState(core, { RCX: 2n, RDI: BigInt(BASE), RAX: 0x1234n })
    expect(run.stringOp(p, STOS, 4, how(1))).toBe(DONE)
    expect(core.calls).toEqual([
      ['mmioRead', pa, 2],
      ['mmioRead', pa + 2, 2],
      ['mmioRead', pa + 4, 2],
      ['mmioWrite', pa, 4, 0x1234],
      ['mmioWrite', pa + 4, 4, 0x1234],
    ])
    poke(BASE + 0x1000, 1, 2, 3)
    setState(core, { RCX: 3n, RDI: BigInt(BASE + 0x1000), RAX: 9n })
    expect(run.stringOp(p, STOS, 1, how(1))).toBe(DONE)
    expect([0, 1, 2].map((i) => peek(BASE + 0x1000 + i))).toEqual([1, 2, 3])
  })
})

describe('ports', () => {
  test('INS and OUTS', () => {
    let next = 0x41
    core.answer = () => next++
    setState(core, { RCX: 3n, RDI: BigInt(BASE + 0xffe), RDX: 0x12340060n })
    expect(run.stringOp(p, INS, 2, how(1))).toBe(DONE)
    expect([0, 1, 2, 3, 4, 5].map((i) => peek(BASE + 0xffe + i))).toEqual([0x41, 0, 0x42, 0, 0x43, 0])
    setState(core, { RCX: 2n, RSI: BigInt(BASE + 0xffe) })
    core.calls.length = 0
    expect(run.stringOp(p, OUTS, 2, how(1))).toBe(DONE)
    expect(core.calls).toEqual([
      ['portOut', 0x60, 2, 0x41],
      ['portOut', 0x60, 2, 0x42],
    ])
  })

  test('INS reads no port before its store is sure', () => {
    table.map(BASE + 0x1000, frameOf(1), PRESENT)
    run.flushAll(p)
    setState(core, { RCX: 3n, RDI: BigInt(BASE + 0xffe), RDX: 0x60n, LEAVE: 0 })
    expect(run.stringOp(p, INS, 1, how(1))).toBe(FAULT)
    expect(takeException(core)).toEqual({ vector: 14, error: 3 })
    expect(core.calls).toEqual([
      ['portIn', 0x60, 1],
      ['portIn', 0x60, 1],
    ])
    expect(register('RCX')).toBe(1n)
  })

  test('IOPL and the bitmap of the TSS', () => {
    const TSS = BASE + 0x800
    const set = (cpl: number, iopl: number, vm = false): void => {
      setState(core, { CPL: cpl, SYSFLAGS: 2 | (iopl << 12) | (vm ? 1 << 17 : 0), TR_BASE: BigInt(TSS) })
      run.setBank(p)
    }
    const tss = (attr: number, limit: number): void => {
      core.view.setUint32(p + S.SEG_ATTR + 7 * 4, attr, true)
      core.view.setUint32(p + S.SEG_LIMIT + 7 * 4, limit, true)
    }
    const allowed = (port: number, size = 1): boolean => {
      const ok = run.checkIo(p, port, size) === 0
      expect(takeException(core)).toEqual(ok ? undefined : { vector: 13, error: 0 })
      return ok
    }
    poke(TSS + 0x66, 0x68, 0)
    for (let i = 0; i < 0x2000; i++) poke(TSS + 0x68 + i, 0xff)
    poke(TSS + 0x68 + 4, 0xf0) // ports 0x20-0x23
    tss(Attr.P | 11, 0x67 + 0x2001)
    for (let cpl = 0; cpl < 4; cpl++)
      for (let iopl = 0; iopl < 4; iopl++) {
        set(cpl, iopl)
        expect(allowed(0x80)).toBe(cpl <= iopl)
        expect(allowed(0x20)).toBe(true)
      }
    set(3, 3, true)
    expect(allowed(0x80)).toBe(false)
    core.view.setUint32(p + S.OPEN_PORTS, 0x5658 | (2 << 16), true)
    core.view.setUint32(p + S.OPEN_KEY, 0x564d5868, true)
    for (const [eax, open] of [
      [0x564d5868n, true],
      [1n, false],
    ] as const) {
      core.view.setBigUint64(p + S.RAX, 0x7_0000_0000n | eax, true)
      expect([0x5657, 0x5658, 0x5659, 0x565a].map((port) => allowed(port, 4))).toEqual([false, open, open, false])
    }
    core.view.setUint32(p + S.OPEN_PORTS, 0, true)
    expect(allowed(0)).toBe(false)
    set(3, 0)
    expect([0x1f, 0x20, 0x22, 0x23].map((port) => allowed(port, 2))).toEqual([false, true, true, false])
    expect([0x20, 0x21].map((port) => allowed(port, 4))).toEqual([true, false])
    tss(Attr.P | 11, 0x68 + 4)
    expect(allowed(0x20)).toBe(false)
    tss(Attr.P | 11, 0x68 + 5)
    expect(allowed(0x20)).toBe(true)
    tss(Attr.P | 3, 0xffff)
    expect(allowed(0x20)).toBe(false)
    setState(core, { CR0: 0n, EFER: 0n })
    expect(allowed(0x80)).toBe(true)
  })
})

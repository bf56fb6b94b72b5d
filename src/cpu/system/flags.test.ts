/** Lazy flags against a model that computes them bit by bit, and the rules of who may change which flag. */
import { beforeAll, describe, expect, test } from 'vitest'
import { FlagsKind, Leave, S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine } from '../testing/machine.ts'

const CF = 1
const PF = 4
const AF = 0x10
const ZF = 0x40
const SF = 0x80
const OF = 0x800
const IF = 0x200

let m: Machine

beforeAll(async () => {
  m = await Machine.make()
  m.enter('64')
})

/** a + b + carry by full adders: the result and its flags. */
function addBits(a: bigint, b: bigint, carry: number, bits: number): { res: bigint; flags: number } {
  let res = 0n
  let c = carry
  let flags = 0
  let ones = 0
  for (let i = 0; i < bits; i++) {
    const x = Number((a >> BigInt(i)) & 1n)
    const y = Number((b >> BigInt(i)) & 1n)
    const sum = x ^ y ^ c
    const next = (x & y) | (c & (x | y))
    if (i === 3 && next) flags |= AF
    if (i === bits - 1) {
      if (sum) flags |= SF
      if (next) flags |= CF
      if (next !== c) flags |= OF
    }
    if (i < 8) ones += sum
    res |= BigInt(sum) << BigInt(i)
    c = next
  }
  if (ones % 2 === 0) flags |= PF
  if (res === 0n) flags |= ZF
  return { res, flags }
}

/** a - b - borrow: an addition of the complement, with carries inverted. */
function subBits(a: bigint, b: bigint, borrow: number, bits: number): { res: bigint; flags: number } {
  const { res, flags } = addBits(a, BigInt.asUintN(bits, ~b), 1 - borrow, bits)
  return { res, flags: flags ^ (CF | AF) }
}

function lazy(kind: number, bits: number, b: bigint, res: bigint): number {
  const wide = kind === FlagsKind.INC || kind === FlagsKind.DEC || kind === FlagsKind.RES ? b : BigInt.asIntN(bits, b)
  m.core.view.setInt32(p + S.FLAGS_KIND, (kind << 2) | Math.log2(bits / 8), true)
  m.core.view.setBigInt64(p + S.FLAGS_B, wide, true)
  m.core.view.setBigInt64(p + S.FLAGS_RES, BigInt.asIntN(bits, res), true)
  return m.run.getFlags(p)
}

function compare(a: bigint, b: bigint, bits: number): string[] {
  const wrong: string[] = []
  const check = (name: string, kind: number, stored: bigint, { res, flags }: { res: bigint; flags: number }): void => {
    const got = lazy(kind, bits, stored, res)
    if (got !== flags) wrong.push(`${name} ${a} ${b}: ${got.toString(16)} not ${flags.toString(16)}`)
  }
  check('add', FlagsKind.ADD, b, addBits(a, b, 0, bits))
  check('adc', FlagsKind.ADC1, b, addBits(a, b, 1, bits))
  check('sub', FlagsKind.SUB, b, subBits(a, b, 0, bits))
  check('sbb', FlagsKind.SBB1, b, subBits(a, b, 1, bits))
  const logic = addBits(a & b, 0n, 0, bits)
  check('and', FlagsKind.LOGIC, 0n, logic)
  const carry = Number(b & 1n)
  const inc = addBits(a, 1n, 0, bits)
  check('inc', FlagsKind.INC, BigInt(carry), { res: inc.res, flags: (inc.flags & ~CF) | carry })
  const dec = subBits(a, 1n, 0, bits)
  check('dec', FlagsKind.DEC, BigInt(carry), { res: dec.res, flags: (dec.flags & ~CF) | carry })
  const kept = Number(b & 0x811n)
  check('res', FlagsKind.RES, BigInt(kept), { res: a, flags: (addBits(a, 0n, 0, bits).flags & ~(CF | AF | OF)) | kept })
  return wrong
}

describe('lazy flags', () => {
  test('8 bits: every pair of operands, every kind', () => {
    const wrong: string[] = []
    for (let a = 0n; a < 256n; a++) for (let b = 0n; b < 256n; b++) wrong.push(...compare(a, b, 8))
    expect(wrong).toEqual([])
  })

  for (const bits of [16, 32, 64])
    test(`${bits} bits: boundary values and random ones`, () => {
      const top = 1n << BigInt(bits - 1)
      const values = [
        0n,
        1n,
        2n,
        0xfn,
        0x10n,
        0x7fn,
        0x80n,
        0xffn,
        top - 1n,
        top,
        top + 1n,
        2n * top - 1n,
        2n * top - 2n,
      ]
      let seed = 1n
      for (let i = 0; i < 60; i++) {
        seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n)
        values.push(BigInt.asUintN(bits, seed ^ (seed >> 29n)))
      }
      const wrong: string[] = []
      for (const a of values) for (const b of values) wrong.push(...compare(a, b, bits))
      expect(wrong).toEqual([])
    })

  test('explicit flags are what was set', () => {
    for (const bits of [0, CF, PF, AF, ZF, SF, OF, 0x8d5]) {
      m.run.setFlags(p, bits | 0x702)
      expect(m.run.getFlags(p)).toBe(bits)
    }
  })
})

describe('who may change which flag', () => {
  const all = 0xffffffffn
  test.each([
    [0, 0, 2, 0x7fd5],
    [0, 0, 4, 0x247fd5],
    [0, 0, 8, 0x247fd5],
    [3, 0, 4, 0x244dd5],
    [3, 3, 4, 0x244fd5],
    [3, 2, 2, 0x4dd5],
    [3, 3, 2, 0x4fd5],
  ])('POPF at CPL %i, IOPL %i, size %i changes %x', (cpl, iopl, size, mask) => {
    m.enter('64', cpl)
    const old = 2 | (iopl << 12)
    m.set32('SYSFLAGS', old)
    expect(m.run.popf(p, all, size)).toBe(0)
    expect(m.run.readEflags(p)).toBe(old | mask)
    m.run.setFlags(p, 0x8d5)
    const every = 0x244702 | (iopl << 12)
    m.set32('SYSFLAGS', every)
    m.run.popf(p, 0n, size)
    expect(m.run.readEflags(p)).toBe((every | 0x8d5) & ~mask)
  })

  test('what asks for attention: TF, and IF when an interrupt waits', () => {
    m.enter('64')
    m.run.popf(p, 0x100n, 8)
    expect(m.get32('LEAVE')).toBe(Leave.EVENT)
    m.enter('64')
    m.set32('SYSFLAGS', 2)
    m.run.popf(p, BigInt(IF), 8)
    expect(m.get32('LEAVE')).toBe(0)
    m.set32('SYSFLAGS', 2)
    m.set32('IRQ_PENDING', 1)
    m.run.popf(p, BigInt(IF), 8)
    expect(m.get32('LEAVE')).toBe(Leave.EVENT)
  })

  test('PUSHF hides RF and VM', () => {
    m.enter('64')
    m.run.setFlags(p, 0x8d5)
    m.set32('SYSFLAGS', 0x30202)
    expect(m.run.pushfImage(p)).toBe(0xad7)
  })

  test('CLI and STI by IOPL; STI shadows the next instruction only if IF was clear', () => {
    for (const [cpl, iopl] of [
      [0, 0],
      [3, 0],
      [3, 2],
      [3, 3],
    ] as const) {
      m.enter('32', cpl)
      m.set32('SYSFLAGS', 2 | IF | (iopl << 12))
      const allowed = cpl <= iopl
      expect(m.run.cli(p)).toBe(allowed ? 0 : 1)
      expect(m.exception()).toBe(allowed ? '' : '13(0)')
      expect(m.get32('SYSFLAGS') & IF).toBe(allowed ? 0 : IF)
      m.set32('SYSFLAGS', 2 | (iopl << 12))
      expect(m.run.sti(p)).toBe(allowed ? 0 : 1)
      expect(m.exception()).toBe(allowed ? '' : '13(0)')
      expect(m.get32('SYSFLAGS') & IF).toBe(allowed ? IF : 0)
      expect(m.get32('SHADOW')).toBe(allowed ? 1 : 0)
      m.set32('SHADOW', 0)
      m.run.sti(p)
      expect(m.get32('SHADOW')).toBe(0)
      m.exception()
    }
  })

  test('STAC and CLAC change AC and the TLB bank; #UD above CPL 0', () => {
    m.enter('64')
    m.run.movToCr(p, 4, 0x200020n)
    const part = m.get32('TLB_READ')
    expect(m.run.stac(p)).toBe(0)
    expect(m.get32('SYSFLAGS')).toBe(0x40202)
    expect(m.get32('TLB_READ')).not.toBe(part)
    expect(m.run.clac(p)).toBe(0)
    expect(m.get32('TLB_READ')).toBe(part)
    m.enter('64', 3)
    expect(m.run.stac(p)).toBe(1)
    expect(m.exception()).toBe('6')
    expect(m.run.clac(p)).toBe(1)
    expect(m.exception()).toBe('6')
  })
})

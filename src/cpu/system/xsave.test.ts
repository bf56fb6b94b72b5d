/** XSAVE and XRSTOR: what of the area each component owns, and what is refused (SDM Vol. 1 13.6-13.8). */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { M, S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine } from '../testing/machine.ts'

const AREA = 0x60fc0 // crosses a page
const area = () => m.core.bytes.subarray(M.RAM + AREA, M.RAM + AREA + 576)
const header = () => [0, 8, 16].map((at) => m.ram.read64(AREA + 512 + at))

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

beforeEach(() => {
  m.enter('64')
  m.set('CR4', 0x40220n)
  m.set('XCR0', 3)
  m.set('RAX', 7)
  m.set('RDX', 0)
  m.core.bytes.fill(0xcc, M.RAM + AREA, M.RAM + AREA + 576)
  for (let i = 0; i < 3; i++) m.ram.write64(AREA + 512 + i * 8, i === 0 ? 4n : 0n)
  m.set32('FCW', 0x27f)
  m.set32('FTW', 0x81)
  m.set32('MXCSR', 0x1fa0)
  m.core.view.setBigUint64(p + S.FPR, 0x8000000000000001n, true)
  for (let i = 0; i < 256; i++) m.core.bytes[p + S.VEC0 + i] = i
})

/** Offsets of the bytes that are not as they were before. */
function written(): string {
  const runs: string[] = []
  let start = -1
  for (let i = 0; i <= 512; i++) {
    const changed = i < 512 && area()[i] !== 0xcc
    if (changed && start < 0) start = i
    if (!changed && start >= 0) {
      runs.push(`${start}-${i - 1}`)
      start = -1
    }
  }
  return runs.join(' ')
}

describe('XSAVE', () => {
  test.each([
    ['64', 3, '0-415', 7n],
    ['64', 1, '0-23 32-159', 5n],
    ['64', 2, '24-31 160-415', 6n],
    ['64', 0, '', 4n],
    ['compat', 2, '24-31 160-287', 6n],
  ] as const)('%s, components %i: bytes %s', (mode, components, bytes, bits) => {
    m.run.farJump(p, mode === '64' ? 0x08 : 0x18, 0x5000n, 4)
    m.core.bytes.fill(0x11, p + S.VEC0, p + S.VEC0 + 256)
    m.set('RAX', components)
    expect(m.run.xsave(p, BigInt(AREA), 1)).toBe(0)
    expect(written()).toBe(bytes)
    expect(header()).toEqual([bits, 0n, 0n])
  })

  test('only components that XCR0 enables', () => {
    m.set('XCR0', 1)
    m.run.xsave(p, BigInt(AREA), 0)
    expect([written(), header()[0]]).toEqual(['0-23 32-159', 5n])
  })

  test('a fault in the second page writes nothing', () => {
    const before = m.snapshot()
    m.ram.write64(0x1000, 0n) // no page is mapped any more
    m.run.flushAll(p)
    expect([m.run.xsave(p, BigInt(AREA), 0), m.exception()]).toEqual([1, '14(0)'])
    expect(written()).toBe('')
    expect(m.snapshot()).toBe(before)
  })
})

describe('XRSTOR', () => {
  test('brings back what was saved', () => {
    m.run.xsave(p, BigInt(AREA), 1)
    m.ram.write64(AREA + 512, 3n)
    m.core.bytes.fill(0xee, p + S.VEC0, p + S.VEC0 + 256)
    m.core.bytes.fill(0xee, p + S.FPR, p + S.FPR + 10)
    m.set32('FCW', 0x37f)
    m.set32('FTW', 0)
    m.set32('MXCSR', 0x1f80)
    expect(m.run.xrstor(p, BigInt(AREA), 1)).toBe(0)
    expect(m.core.bytes.slice(p + S.VEC0, p + S.VEC0 + 256)).toEqual(Uint8Array.from({ length: 256 }, (_, i) => i))
    expect([m.get32('FCW'), m.get32('FTW'), m.get32('MXCSR'), m.get('FPR')]).toEqual([
      0x27f,
      0x81,
      0x1fa0,
      0x8000000000000001n,
    ])
  })

  test('initializes what the header does not have; MXCSR comes from memory all the same', () => {
    m.ram.write64(AREA + 512, 0n)
    m.ram.write32(AREA + 24, 0x1f00)
    expect(m.run.xrstor(p, BigInt(AREA), 0)).toBe(0)
    expect([m.get32('FCW'), m.get32('FTW'), m.get32('MXCSR'), m.get('FPR'), m.get('VEC0')]).toEqual([
      0x37f,
      0,
      0x1f00,
      0n,
      0n,
    ])
  })

  test('leaves what is not asked for', () => {
    m.ram.write64(AREA + 512, 0n)
    m.set('RAX', 1)
    m.run.xrstor(p, BigInt(AREA), 0)
    expect([m.get32('MXCSR'), m.get32('FCW'), m.core.bytes[p + S.VEC0 + 5]]).toEqual([0x1fa0, 0x37f, 5])
  })

  test.each([
    ['a component that XCR0 does not enable', 512, 4n],
    ['the compacted format', 520, 1n << 63n],
    ['reserved header bytes', 528, 1n],
    ['reserved bits of MXCSR', 24, 0x10000n],
  ])('refuses %s', (_name, offset, value) => {
    m.ram.write64(AREA + 512, 3n)
    m.ram.write64(AREA + 24, 0x1f80n)
    m.ram.write64(AREA + offset, value)
    const before = m.snapshot()
    expect([m.run.xrstor(p, BigInt(AREA), 0), m.exception()]).toEqual([1, '13(0)'])
    expect(m.snapshot()).toBe(before)
  })
})

test('alignment, CR4.OSXSAVE, CR0.TS', () => {
  expect([m.run.xsave(p, BigInt(AREA + 32), 0), m.exception()]).toEqual([1, '13(0)'])
  expect([m.run.xrstor(p, BigInt(AREA + 32), 0), m.exception()]).toEqual([1, '13(0)'])
  expect(m.run.checkXsave(p)).toBe(0)
  m.set('CR0', m.get('CR0') | 8n)
  expect([m.run.checkXsave(p), m.exception()]).toEqual([1, '7'])
  m.set('CR4', 0x220n)
  expect([m.run.checkXsave(p), m.exception()]).toEqual([1, '6'])
})

/** State after RESET, INIT and a start-up IPI (SDM Vol. 3A table 10-1). */
import { beforeAll, expect, test } from 'vitest'
import { S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const common = () => ({
  registers: Array.from({ length: 16 }, (_, i) => m.core.view.getBigUint64(p + S.RAX + i * 8, true)),
  rip: m.get('RIP'),
  eflags: m.run.readEflags(p),
  control: [m.get('CR2'), m.get('CR3'), m.get('CR4'), m.get('EFER'), m.get('DR0'), m.get('DR6'), m.get('DR7')],
  selectors: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => m.selector(i)),
  bases: [0, 1, 2, 3, 4, 5].map((i) => m.base(i)),
  limits: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => m.get32('SEG_LIMIT', i)),
  attributes: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => m.attr(i)),
  tables: [
    m.get('GDTR_BASE'),
    m.get32('GDTR_LIMIT'),
    m.get('IDTR_BASE'),
    m.get32('IDTR_LIMIT'),
    m.get('LDTR_BASE'),
    m.get('TR_BASE'),
  ],
  execution: [m.get32('CPL'), m.get32('MODE'), m.get32('SHADOW'), m.get32('EXC')],
})

const expected = {
  registers: Array.from({ length: 16 }, (_, i) => (i === 2 ? 0x806c1n : 0n)),
  rip: 0xfff0n,
  eflags: 2,
  control: [0n, 0n, 0n, 0n, 0n, 0xffff0ff0n, 0x400n],
  selectors: [0, 0xf000, 0, 0, 0, 0, 0, 0],
  bases: [0n, 0xffff0000n, 0n, 0n, 0n, 0n],
  limits: Array.from({ length: 8 }, () => 0xffff),
  attributes: [0x93, 0x93, 0x93, 0x93, 0x93, 0x93, 0x82, 0x8b],
  tables: [0n, 0xffff, 0n, 0xffff, 0n, 0n],
  execution: [0, 0, 0, 0xffffffff],
}

function disturb(): void {
  m.enter('64', 3)
  for (let i = 0; i < 16; i++) m.core.view.setBigInt64(p + S.RAX + i * 8, -1n, true)
  m.set('DR0', 5)
  m.set('LSTAR', 6)
  m.set('PAT', 7)
  m.set('XCR0', 3)
  m.set('TSC_OFFSET', 8)
  m.set32('FCW', 0x37f)
  m.set32('MXCSR', 0x9fc0)
  m.set32('SHADOW', 1)
  m.set32('EXC', 13)
  m.set('VEC0', 99)
  m.set32('INDEX', 3)
  m.run.setFlags(p, 0x8d5)
}

test('RESET', () => {
  disturb()
  m.run.resetVcpu(p, 0x806c1)
  expect(common()).toEqual(expected)
  expect([m.get('CR0'), m.get('LSTAR'), m.get('PAT'), m.get('XCR0'), m.get('TSC_OFFSET')]).toEqual([
    0x60000010n,
    0n,
    0x0007040600070406n,
    1n,
    0n,
  ])
  expect([m.get32('FCW'), m.get32('FSW'), m.get32('FTW'), m.get32('MXCSR'), m.get('VEC0')]).toEqual([
    0x40,
    0,
    0xff,
    0x1f80,
    0n,
  ])
  expect([m.get32('SIMD_TRAP'), m.get32('FPU_TRAP'), m.get32('INDEX')]).toEqual([1, 0, 3])
})

test('INIT keeps MSRs, x87, SSE, XCR0, CD and NW', () => {
  disturb()
  m.set('CR0', m.get('CR0') | 0x60000000n)
  m.run.initVcpu(p, 0x806c1)
  expect(common()).toEqual(expected)
  expect([m.get('CR0'), m.get('LSTAR'), m.get('PAT'), m.get('XCR0'), m.get('TSC_OFFSET')]).toEqual([
    0x60000010n,
    6n,
    7n,
    3n,
    8n,
  ])
  expect([m.get32('FCW'), m.get32('MXCSR'), m.get('VEC0')]).toEqual([0x37f, 0x9fc0, 99n])
  m.run.movToCr(p, 0, 0x10n)
  m.run.initVcpu(p, 0)
  expect(m.get('CR0')).toBe(0x10n)
})

test('a start-up IPI begins at its page', () => {
  disturb()
  m.run.initVcpu(p, 0)
  m.run.startVcpu(p, 0x9a)
  expect([m.get('RIP'), m.selector(1), m.base(1), m.get32('MODE')]).toEqual([0n, 0x9a00, 0x9a000n, 0])
})

test('64-bit mode keeps no TLB entry over INIT', () => {
  m.enter('64')
  m.ram.write64(0x3000, 0x2000e7n)
  m.run.flushAll(p)
  expect(m.run.slowLoad(p, 0x3000n, 8)).toBe(0n)
  m.run.initVcpu(p, 0)
  expect(m.run.slowLoad(p, 0x3000n, 8)).toBe(0x2000e7n)
})

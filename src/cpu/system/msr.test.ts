/** RDMSR and WRMSR, time, halt, random numbers, FS and GS bases. */
import { beforeAll, describe, expect, test } from 'vitest'
import { Exit, Leave, S } from '../layout.ts'
import { p } from '../testing/memory.ts'
import { Machine } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
})

const EFER = 0xc0000080

function write(index: number, value: bigint): string {
  m.set('RCX', index)
  m.set('RAX', (value & 0xffffffffn) | 0xdeadbeef_00000000n)
  m.set('RDX', (value >> 32n) | 0xdeadbeef_00000000n)
  return m.attempt(() => m.run.wrmsr(p))
}

function read(index: number): bigint | string {
  m.set('RCX', 0xdeadbeef_00000000n | BigInt(index))
  if (m.run.rdmsr(p) !== 0) return m.exception()
  expect(m.get('RAX') >> 32n).toBe(0n)
  expect(m.get('RDX') >> 32n).toBe(0n)
  return m.get('RAX') | (m.get('RDX') << 32n)
}

const NON_CANONICAL = 0x8000_0000_0000n
const CANONICAL = 0xffff_8000_1234_5678n

describe('MSRs of the core', () => {
  test.each([
    ['SYSENTER_CS', 0x174, 0xffff_ffff_8765_4321n, 0x8765_4321n],
    ['SYSENTER_ESP', 0x175, CANONICAL, CANONICAL],
    ['SYSENTER_EIP', 0x176, CANONICAL, CANONICAL],
    ['PAT', 0x277, 0x0706_0504_0100_0106n, 0x0706_0504_0100_0106n],
    ['STAR', 0xc0000081, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn],
    ['LSTAR', 0xc0000082, CANONICAL, CANONICAL],
    ['CSTAR', 0xc0000083, CANONICAL, CANONICAL],
    ['FMASK', 0xc0000084, 0xffff_ffffn, 0xffff_ffffn],
    ['FS_BASE', 0xc0000100, CANONICAL, CANONICAL],
    ['GS_BASE', 0xc0000101, CANONICAL, CANONICAL],
    ['KERNEL_GS_BASE', 0xc0000102, CANONICAL, CANONICAL],
    ['TSC_AUX', 0xc0000103, 0xffff_ffffn, 0xffff_ffffn],
  ])('%s is written and read', (_name, index, value, result) => {
    m.enter('64')
    expect(write(index, value)).toBe('')
    expect(read(index)).toBe(result)
  })

  test.each([
    ['SYSENTER_ESP', 0x175, NON_CANONICAL],
    ['SYSENTER_EIP', 0x176, NON_CANONICAL],
    ['LSTAR', 0xc0000082, NON_CANONICAL],
    ['CSTAR', 0xc0000083, NON_CANONICAL],
    ['FS_BASE', 0xc0000100, NON_CANONICAL],
    ['GS_BASE', 0xc0000101, NON_CANONICAL],
    ['KERNEL_GS_BASE', 0xc0000102, NON_CANONICAL],
    ['FMASK', 0xc0000084, 1n << 32n],
    ['TSC_AUX', 0xc0000103, 1n << 32n],
    ['PAT type 2', 0x277, 2n],
    ['PAT type 3', 0x277, 3n << 56n],
    ['PAT type 8', 0x277, 8n << 8n],
  ])('%s: #GP(0) for a value it cannot hold', (_name, index, value) => {
    m.enter('64')
    expect(write(index, value)).toBe('13(0)')
  })

  test('EFER: bits, LMA read-only, LME not while paging', () => {
    m.enter('64')
    expect(read(EFER)).toBe(0x501n)
    expect(write(EFER, 0x900n)).toBe('') // NXE, no SCE, LMA as it was
    expect(read(EFER)).toBe(0xd00n)
    expect(write(EFER, 0xc01n)).toBe('13(0)')
    for (let bit = 0n; bit < 64n; bit++)
      expect(write(EFER, 0x501n | (1n << bit)), `bit ${bit}`).toBe([0n, 8n, 10n, 11n].includes(bit) ? '' : '13(0)')
    m.enter('real')
    expect(write(EFER, 0x500n)).toBe('')
    expect(read(EFER)).toBe(0x100n)
  })

  test('EFER of AMD: automatic IBRS too', () => {
    m.enter('64')
    m.set32('AMD', 1)
    expect(write(EFER, 0x200501n)).toBe('')
    expect(read(EFER)).toBe(0x200501n)
    expect(write(EFER, 0x100501n)).toBe('13(0)')
    m.set32('AMD', 0)
  })

  test('time stamp counter and its adjustment', () => {
    m.enter('64')
    m.core.host['tsc'] = () => 2 ** 40 + 5
    expect(read(0x10)).toBe(2n ** 40n + 5n)
    expect(write(0x10, 7n)).toBe('')
    expect(read(0x10)).toBe(7n)
    expect(read(0x3b)).toBe(BigInt.asUintN(64, 2n - 2n ** 40n))
    expect(write(0x3b, 100n)).toBe('')
    expect(m.run.rdtsc(p)).toBe(0)
    expect([m.get('RAX'), m.get('RDX')]).toEqual([105n, 256n])
  })
})

describe('other MSRs', () => {
  test('the host answers, or #GP(0)', () => {
    m.enter('64')
    expect(read(0x1b)).toBe('13(0)')
    expect(write(0x1b, 5n)).toBe('13(0)')
    m.core.host['rdmsr'] = () => {
      m.set32('HOST_LO', 0x11111111)
      m.set32('HOST_HI', 0x22222222)
      return 1
    }
    m.core.host['wrmsr'] = () => 1
    expect(read(0x1b)).toBe(0x22222222_11111111n)
    expect(write(0x1b, 0x3333_4444_5555_6666n)).toBe('')
    expect([m.get32('HOST_LO'), m.get32('HOST_HI')]).toEqual([0x55556666, 0x33334444])
    expect(m.core.calls.at(-1)).toEqual(['wrmsr', 0x1b])
  })
})

describe('small instructions', () => {
  test('RDTSC and RDTSCP with CR4.TSD, RDPMC', () => {
    for (const [cpl, tsd, status] of [
      [0, 4n, 0],
      [3, 0n, 0],
      [3, 4n, 1],
    ] as const) {
      m.enter('64', cpl)
      m.core.host['tsc'] = () => 1
      m.set('CR4', 0x20n | tsd)
      m.set('TSC_AUX', 7)
      expect([m.run.rdtsc(p), m.exception()]).toEqual([status, status ? '13(0)' : ''])
      expect([m.run.rdtscp(p), m.exception()]).toEqual([status, status ? '13(0)' : ''])
      expect([m.get('RAX'), m.get('RCX')]).toEqual(status === 0 ? [1n, 7n] : [0n, 0n])
      expect([m.run.rdpmc(p), m.exception()]).toEqual([1, '13(0)'])
    }
  })

  test('RDPMC asks the host, whatever the privilege', () => {
    m.enter('64', 3)
    m.core.host['rdpmc'] = (index) => {
      m.set('HOST_LO', 0x1111_2222_ffff_fff0n)
      return index === 0x10001 ? 1 : 0
    }
    m.set('RCX', 0xffff_ffff_0001_0001n)
    expect([m.run.rdpmc(p), m.get('RAX'), m.get('RDX')]).toEqual([0, 0xffff_fff0n, 0x1111_2222n])
    m.set('RCX', 0n)
    expect([m.run.rdpmc(p), m.exception()]).toEqual([1, '13(0)'])
  })

  test('HLT returns to the host', () => {
    m.enter('64')
    expect(m.run.hlt(p)).toBe(0)
    expect([m.get32('EXIT'), m.get32('LEAVE') & Leave.HOST]).toEqual([Exit.HALT, Leave.HOST])
  })

  test('RDRAND: CF and nothing else', () => {
    m.enter('64')
    let next = 0x11111111
    m.core.host['random'] = () => (next += 0x11111111) | 0
    m.set('RBX', -1)
    m.run.setFlags(p, 0x8d5)
    m.run.rdrand(p, S.RBX, 2)
    expect([m.get('RBX'), m.run.getFlags(p)]).toEqual([0xffff_ffff_ffff_2222n, 1])
    m.run.rdrand(p, S.RBX, 4)
    expect(m.get('RBX')).toBe(0x33333333n)
    m.run.rdrand(p, S.RBX, 8)
    expect(m.get('RBX')).toBe(0x55555555_44444444n)
  })

  test('FS and GS bases', () => {
    m.enter('64', 3)
    expect([m.run.readBase(p, 4, S.RAX, 8), m.exception()]).toEqual([1, '6'])
    expect([m.run.writeBase(p, 4, 0n), m.exception()]).toEqual([1, '6'])
    m.set('CR4', 0x10020n)
    expect(m.run.writeBase(p, 5, CANONICAL)).toBe(0)
    m.run.readBase(p, 5, S.RAX, 8)
    expect(m.get('RAX')).toBe(CANONICAL)
    m.run.readBase(p, 5, S.RAX, 4)
    expect(m.get('RAX')).toBe(CANONICAL & 0xffffffffn)
    expect([m.run.writeBase(p, 5, NON_CANONICAL), m.exception()]).toEqual([1, '13(0)'])
    m.enter('compat', 3)
    m.set('CR4', 0x10020n)
    expect([m.run.readBase(p, 4, S.RAX, 4), m.exception()]).toEqual([1, '6'])
  })
})

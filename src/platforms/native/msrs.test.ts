import { describe, expect, test } from 'vitest'
import { ARCH_CAPABILITIES, cpuModel } from '../../cpu/models.ts'
import { NativeMsrs } from './msrs.ts'

const intel = () => new NativeMsrs(cpuModel('inorder'))
const amd = () => new NativeMsrs(cpuModel('amd'))

describe('MSRs', () => {
  test.each([
    ['MTRRcap is read-only', 0xfe, 0x508n, 0n],
    ['platform ID is read-only', 0x17, 0n, 0n],
    ['ARCH_CAPABILITIES is read-only', 0x10a, ARCH_CAPABILITIES, 0n],
    ['no feature control', 0x3a, undefined, 0n],
    ['an unknown one', 0x12345, undefined, 0n],
  ])('%s', (_name, index, value, written) => {
    expect(intel().read(index)).toBe(value)
    expect(intel().write(index, written)).toBe(false)
  })

  test('MTRRs take memory types and addresses, no other bits', () => {
    const msrs = intel()
    expect(msrs.write(0x2ff, 0xc00n)).toBe(true)
    expect(msrs.write(0x2ff, 0xc02n)).toBe(false)
    expect(msrs.write(0x250, 0x0605040100060606n)).toBe(true)
    expect(msrs.write(0x250, 0x0602040100060606n)).toBe(false)
    expect(msrs.write(0x202, 0x7f_ffff_f006n)).toBe(true)
    expect(msrs.write(0x202, 0x80_0000_0006n)).toBe(false)
    expect(msrs.write(0x203, 0x7f_ffff_f800n)).toBe(true)
    expect(msrs.write(0x203, 0x7f_ffff_f900n)).toBe(false)
    expect([0x2ff, 0x250, 0x202, 0x203].map((index) => msrs.read(index))).toEqual([
      0xc00n,
      0x0605040100060606n,
      0x7f_ffff_f006n,
      0x7f_ffff_f800n,
    ])
  })

  test('machine check banks can be cleared', () => {
    const msrs = intel()
    expect(msrs.write(0x400, ~0n)).toBe(true)
    expect(msrs.write(0x401, 0n)).toBe(true)
    expect(msrs.write(0x401, 1n)).toBe(false)
    expect(msrs.write(0x17a, 4n)).toBe(true)
    expect(msrs.write(0x17a, 16n)).toBe(false)
    expect(msrs.read(0x410)).toBe(undefined)
  })

  test('MISC_ENABLE of Intel: fast strings may be turned off', () => {
    const msrs = intel()
    expect(msrs.read(0x1a0)).toBe(0x1801n)
    expect(msrs.write(0x1a0, 0x1800n)).toBe(true)
    expect(msrs.read(0x1a0)).toBe(0x1800n)
    expect(msrs.write(0x1a0, 1n)).toBe(true)
    expect(msrs.read(0x1a0)).toBe(0x1801n)
    expect(msrs.write(0x1a0, 1n << 34n)).toBe(false)
    expect(amd().read(0x1a0)).toBe(undefined)
  })

  test('configuration words of AMD', () => {
    const msrs = amd()
    expect([0x10a, 0x17].map((index) => msrs.read(index))).toEqual([undefined, undefined])
    expect(msrs.read(0xc0010015)).toBe(1n << 24n)
    expect(msrs.write(0xc0010015, 1n << 30n)).toBe(true)
    expect(msrs.read(0xc0010015)).toBe((1n << 24n) | (1n << 30n))
    expect(msrs.write(0xc0010015, 1n << 40n)).toBe(false)
    expect(msrs.write(0xc001001f, 1n << 46n)).toBe(true)
    expect(msrs.read(0xc001001f)).toBe(1n << 46n)
    expect(msrs.write(0xc0011029, 0n)).toBe(true)
    expect(msrs.read(0xc0011029)).toBe(2n)
    for (const index of [0xc0010010, 0xc0010015, 0xc001001f, 0xc0011029]) {
      expect(intel().read(index)).toBe(undefined)
      expect(intel().write(index, 0n)).toBe(false)
    }
  })
})

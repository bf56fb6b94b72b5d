/** CPUID under Hyper-V, against the TLFS, "Feature and Interface Discovery". */
import { expect, test } from 'vitest'
import type { CpuidResult } from '../../cpu/models.ts'
import { features } from './features.ts'
import { setUp } from './testing.ts'

const own: CpuidResult = [1, 2, 3, 0xffff]
const hex = (words: readonly number[]) => words.map((word) => `0x${(word >>> 0).toString(16)}`)

test('the interface identifies itself', () => {
  const { platform } = setUp()
  const leaf = (number: number) => hex(platform.cpuid(0, number, 0, own))
  expect(leaf(1)).toEqual(['0x1', '0x2', '0x80000003', '0xffff'])
  expect(leaf(0x40000000)).toEqual(['0x40000005', '0x7263694d', '0x666f736f', '0x76482074'])
  expect(leaf(0x40000001)).toEqual(['0x31237648', '0x0', '0x0', '0x0'])
  expect(leaf(0x40000002)).toEqual(['0x4f7c', '0xa0000', '0x0', '0x0'])
  expect(leaf(0x40000005)).toEqual(['0xf0', '0x200', '0x0', '0x0'])
})

test('what it does not define is zero, also where another interface would have its leaves', () => {
  const { platform } = setUp()
  for (const leaf of [0x40000006, 0x40000081, 0x400000ff]) expect(platform.cpuid(0, leaf, 0, own)).toEqual([0, 0, 0, 0])
  expect(platform.cpuid(0, 0x40000100, 0, own)).toEqual(own)
})

test('privileges, features and recommendations', () => {
  const { platform } = setUp()
  expect(hex(platform.cpuid(0, 0x40000003, 0, own))).toEqual(['0x2eff', '0x120030', '0x0', '0xe0530'])
  expect(hex(platform.cpuid(0, 0x40000004, 0, own))).toEqual(['0xe2c', '0xfff', '0x27', '0x0'])
})

test('without features: hypercalls and the VP index only; never a root partition, never its own partition id', () => {
  const names = Object.keys(features)
  const { platform } = setUp({ features: names.map((name) => `no-${name}`) })
  expect(hex(platform.cpuid(0, 0x40000003, 0, own))).toEqual(['0x60', '0x0', '0x0', '0x40000'])
  expect(hex(platform.cpuid(0, 0x40000004, 0, own))[0]).toBe('0x220')
  const all = setUp({ features: names }).platform.cpuid(0, 0x40000003, 0, own)[1]
  expect(all & ((1 << 1) | (1 << 12))).toBe(0)
})

test('each feature has its bits', () => {
  const names = Object.keys(features)
  const bits = (on: string[]) => {
    const { platform } = setUp({ features: [...names.map((name) => `no-${name}`), ...on] })
    const [low, high, , misc] = platform.cpuid(0, 0x40000003, 0, own)
    return [low, high, misc, platform.cpuid(0, 0x40000004, 0, own)[0]]
  }
  const none = bits([])
  for (const name of names) {
    const changed = bits([name]).some((word, i) => word !== none[i])
    // Leaving out EOIs shows only in what the hypervisor writes.
    expect(changed, name).toBe(name !== 'eoi-assist')
  }
})

test('the TSC is shown as invariant when the feature is on and the guest asks', () => {
  const { platform, write, read } = setUp({ features: ['invtsc'] })
  expect(platform.cpuid(0, 0x40000003, 0, own)[0] & (1 << 15)).not.toBe(0)
  expect(platform.cpuid(0, 0x80000007, 0, own)[3]).toBe(0xfeff)
  expect(write(0x40000118, 2)).toBe(false)
  expect(write(0x40000118, 1)).toBe(true)
  expect(read(0x40000118)).toBe(1n)
  expect(platform.cpuid(0, 0x80000007, 0, own)[3]).toBe(0xffff)
  expect(write(0x40000118, 0)).toBe(false)

  const off = setUp()
  expect(off.write(0x40000118, 1)).toBe(false)
  expect(off.platform.cpuid(0, 0x80000007, 0, own)[3]).toBe(0xfeff)
})

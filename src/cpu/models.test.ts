import { describe, expect, test } from 'vitest'
import { cpuid, cpuModel, signature } from './models.ts'
import type { CpuidState } from './models.ts'

const state: CpuidState = { apicId: 0, vcpus: 1, osxsave: false, apicEnabled: true }
const intel = cpuModel('inorder')
const amd = cpuModel('amd')
const has = (word: number, bit: number) => ((word >> bit) & 1) === 1
const text = (...words: number[]) => Buffer.from(Int32Array.from(words).buffer).toString().replace(/\0+$/, '')

describe('CPUID', () => {
  test.each([intel, amd])('$vendor: vendor, brand, signature', (model) => {
    const [, b, c, d] = cpuid(model, 0, 0, state)
    expect(text(b, d, c)).toBe(model.vendor)
    const brand = [0x80000002, 0x80000003, 0x80000004].flatMap((leaf) => cpuid(model, leaf, 0, state))
    expect(text(...brand)).toBe(model.brand)
    expect(cpuid(model, 1, 0, state)[0]).toBe(signature(model))
    const [a, eb, ec, ed] = cpuid(model, 0x80000000, 0, state)
    expect(a >>> 0).toBe(model === intel ? 0x80000008 : 0x80000021)
    expect(text(eb, ed, ec)).toBe(model === intel ? '' : 'AuthenticAMD')
  })

  test('signatures', () => {
    expect(signature(intel)).toBe(0x30661)
    expect(signature(amd)).toBe(0xa00f11)
  })

  test('what is not there: Intel repeats the highest leaf, AMD says nothing', () => {
    expect(cpuid(intel, 0x40000000, 0, state)).toEqual(cpuid(intel, 0x16, 0, state))
    expect(cpuid(intel, 0x80000009, 0, state)).toEqual(cpuid(intel, 0x16, 0, state))
    expect(cpuid(amd, 0x40000000, 0, state)).toEqual([0, 0, 0, 0])
    expect(cpuid(amd, 0x15, 0, state)).toEqual([0, 0, 0, 0])
    expect(cpuid(amd, 0x80000022, 0, state)).toEqual([0, 0, 0, 0])
  })

  test('state that CPUID shows', () => {
    expect(has(cpuid(intel, 1, 0, state)[2], 27)).toBe(false)
    expect(has(cpuid(intel, 1, 0, { ...state, osxsave: true })[2], 27)).toBe(true)
    expect(has(cpuid(intel, 1, 0, state)[3], 9)).toBe(true)
    expect(has(cpuid(intel, 1, 0, { ...state, apicEnabled: false })[3], 9)).toBe(false)
    expect(cpuid(intel, 1, 0, { ...state, vcpus: 4, apicId: 3 })[1] >>> 16).toBe(0x304)
    expect(cpuid(intel, 0xb, 1, { ...state, vcpus: 4, apicId: 3 })).toEqual([2, 4, 0x201, 3])
  })

  test('no hypervisor, no AVX, no hyper-threads', () => {
    for (const model of [intel, amd]) {
      const [, , c, d] = cpuid(model, 1, 0, state)
      expect([has(c, 31), has(c, 28), has(d, 28)]).toEqual([false, false, false])
    }
  })

  test('AMD repeats bits of leaf 1 in its extended leaf; Intel does not', () => {
    const extended = (model: typeof intel | typeof amd) => cpuid(model, 0x80000001, 0, state)[3]
    expect([0, 6, 9, 24].map((bit) => has(extended(amd), bit))).toEqual([true, true, true, true])
    expect([0, 6, 9, 24].map((bit) => has(extended(intel), bit))).toEqual([false, false, false, false])
    expect([11, 20, 27, 29].map((bit) => has(extended(intel), bit) && has(extended(amd), bit))).not.toContain(false)
  })

  test('AMD: nothing to mitigate', () => {
    const [a, , c] = cpuid(amd, 0x80000021, 0, state)
    expect([2, 8, 29].map((bit) => has(a, bit))).toEqual([true, true, true])
    expect([1, 2].map((bit) => has(c, bit))).toEqual([true, true])
    expect(has(cpuid(amd, 0x80000008, 0, state)[1], 26)).toBe(true)
  })
})

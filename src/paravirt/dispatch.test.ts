import { describe, expect, it } from 'vitest'
import type { CpuidResult } from '../cpu/models.ts'
import { Dispatch, signatureWords } from './dispatch.ts'
import { Observer, type Event } from './observe.ts'
import type { Leaf, Msr } from './requests.ts'

interface Abi {
  value: bigint
}

const common = { args: [], errors: {}, ops: [], tier: 'call', source: 'test', summary: '' } as const
const leaf = (number: number, words: CpuidResult, feature?: string): Leaf<Abi> => ({
  ...common,
  kind: 'cpuid',
  number,
  name: `leaf ${number}`,
  value: () => words,
  ...(feature === undefined ? {} : { feature }),
})
const both: Msr<Abi> = {
  ...common,
  kind: 'msr',
  number: 0x10,
  name: 'both',
  read: (abi) => abi.value,
  write: (abi, _, value) => {
    if (value > 9n) return false
    abi.value = value
    return true
  },
}
const writeOnly: Msr<Abi> = { ...common, kind: 'msr', number: 0x11, name: 'write only', write: () => true }
const optional: Msr<Abi> = { ...both, number: 0x12, name: 'optional', feature: 'extra' }

function setUp(...features: string[]) {
  const observer = new Observer(() => 7)
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const dispatch = new Dispatch<Abi>({
    abi: { value: 5n },
    msrs: [both, writeOnly, optional],
    leaves: [
      leaf(0x40000000, [0x40000005, 1, 2, 3]),
      leaf(0x40000001, [4, 5, 6, -1]),
      leaf(0x40000003, [9, 9, 9, 9], 'extra'),
    ],
    features: new Set(features),
    observer,
    beneath: { cpuid: (_v, _l, _s, own) => own, rdmsr: () => 99n, wrmsr: () => false, transfer: () => {} },
  })
  return { dispatch, observer, events }
}

describe('dispatch', () => {
  const own: CpuidResult = [1, 2, 3, 4]

  it('answers CPUID: the declared leaves, zeros between them, the processor above', () => {
    const { dispatch } = setUp()
    expect(dispatch.cpuid(0, 0x40000000, 0, own)).toEqual([0x40000005, 1, 2, 3])
    expect(dispatch.cpuid(0, 0x40000001, 0, own)).toEqual([4, 5, 6, -1])
    expect(dispatch.cpuid(0, 0x40000003, 0, own)).toEqual([0, 0, 0, 0])
    expect(dispatch.cpuid(0, 0x40000005, 0, own)).toEqual([0, 0, 0, 0])
    expect(dispatch.cpuid(0, 0x40000006, 0, own)).toEqual(own)
    expect(dispatch.cpuid(0, 0x3fffffff, 0, own)).toEqual(own)
    expect(dispatch.cpuid(0, 0, 0, own)).toEqual(own)
  })

  it('says in leaf 1 that there is a hypervisor', () => {
    const [a, b, c, d] = setUp().dispatch.cpuid(0, 1, 0, own)
    expect([a, b, c >>> 0, d]).toEqual([1, 2, 0x80000003, 4])
  })

  it('reads and writes the declared MSRs, and leaves all others to the processor', () => {
    const { dispatch } = setUp()
    expect(dispatch.rdmsr(0, 0x10)).toBe(5n)
    expect(dispatch.wrmsr(0, 0x10, 6n)).toBe(true)
    expect(dispatch.rdmsr(0, 0x10)).toBe(6n)
    expect(dispatch.wrmsr(0, 0x10, 10n)).toBe(false)
    expect(dispatch.rdmsr(0, 0x11)).toBeUndefined()
    expect(dispatch.wrmsr(0, 0x11, 0n)).toBe(true)
    expect(dispatch.rdmsr(0, 0x13)).toBe(99n)
    expect(dispatch.wrmsr(0, 0x13, 0n)).toBe(false)
  })

  it('has no request whose feature is off', () => {
    const off = setUp().dispatch
    expect(off.rdmsr(0, 0x12)).toBeUndefined()
    expect(off.wrmsr(0, 0x12, 0n)).toBe(false)
    const on = setUp('extra').dispatch
    expect(on.rdmsr(0, 0x12)).toBe(5n)
    expect(on.cpuid(0, 0x40000003, 0, own)).toEqual([9, 9, 9, 9])
  })

  it('tells observers of every request, failed ones too', () => {
    const { dispatch, observer, events } = setUp()
    dispatch.wrmsr(1, 0x10, 6n)
    dispatch.wrmsr(1, 0x10, 10n)
    dispatch.rdmsr(2, 0x10)
    dispatch.cpuid(0, 0x40000001, 0, own)
    dispatch.rdmsr(0, 0x13)
    expect(
      events.map(({ t, vcpu, request, access, args, result }) => [t, vcpu, request.name, access, args, result]),
    ).toEqual([
      [7, 1, 'both', 'write', [6n], 0n],
      [7, 1, 'both', 'write', [10n], '#GP'],
      [7, 2, 'both', 'read', [], 6n],
      [7, 0, 'leaf 1073741825', 'call', [], '0x4 0x5 0x6 0xffffffff'],
    ])
    expect(observer.counts.get(both)).toBe(3)
  })

  it('makes words of a name', () => {
    expect(signatureWords('KVMKVMKVM')).toEqual([0x4b4d564b, 0x564b4d56, 0x4d])
  })
})

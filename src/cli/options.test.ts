import { describe, expect, test } from 'vitest'
import { InputError } from '../errors.ts'
import { distance, nearest, unknownName } from './nearest.ts'
import { parseCpus, parseMemory, parseName, parseTimeout } from './options.ts'

const GIB = 2 ** 30

describe('--memory', () => {
  test.each([
    ['512M', 512 << 20],
    ['512', 512 << 20],
    ['512m', 512 << 20],
    ['512MiB', 512 << 20],
    ['1G', GIB],
    ['1.5G', 1.5 * GIB],
    ['2.75G', 2.75 * GIB],
  ])('%s', (text, bytes) => expect(parseMemory(text, 8 * GIB)).toBe(bytes))

  test.each([
    ['', 'is not a size'],
    ['lots', 'is not a size'],
    ['-512M', 'is not a size'],
    ['512K', 'is not a size'],
    ['1e3M', 'is not a size'],
    ['0x200M', 'is not a size'],
    ['0.3M', 'not a whole number'],
    ['0', 'too small'],
    ['8M', 'too small'],
    ['4G', 'too large; at most 2816M'],
    ['99999999999999999999G', 'too large'],
  ])('%s is refused', (text, message) => {
    expect(() => parseMemory(text, 8 * GIB)).toThrow(InputError)
    expect(() => parseMemory(text, 8 * GIB)).toThrow(message)
  })

  test('more than the host has is refused', () => {
    expect(() => parseMemory('2G', GIB)).toThrow('more than this host has (1024M)')
  })
})

describe('--timeout', () => {
  test('seconds and fractions', () => {
    expect(parseTimeout('10')).toBe(10_000)
    expect(parseTimeout('0.5')).toBe(500)
  })

  test.each(['', '0', '-1', 'ten', '10s', 'Infinity', '1e9', '99999999'])('%s is refused', (text) => {
    expect(() => parseTimeout(text)).toThrow(InputError)
  })
})

describe('--cpus', () => {
  test('a whole number within what the core holds', () => {
    expect(parseCpus('1')).toBe(1)
    expect(parseCpus('32')).toBe(32)
    for (const bad of ['0', '33', '1.5', '-1', 'two', ''])
      expect(() => parseCpus(bad)).toThrow(`--cpus '${bad}' is not a number from 1 to 32`)
  })
})

describe('names', () => {
  test('distance counts inserts, deletes, changes and swaps', () => {
    expect(distance('', 'abc')).toBe(3)
    expect(distance('kitten', 'sitting')).toBe(3)
    expect(distance('ntaive', 'native')).toBe(1)
    expect(distance('native', 'native')).toBe(0)
  })

  test('nearest offers what is near or begins so, nearest first', () => {
    expect(nearest('natve', ['kvm', 'native', 'xen'])).toEqual(['native'])
    expect(nearest('xem', ['kvm', 'native', 'xen'])).toEqual(['xen', 'kvm'])
    expect(nearest('nat', ['kvm', 'native'])).toEqual(['native'])
    expect(nearest('elephant', ['kvm', 'native'])).toEqual([])
  })

  test('an unknown name says what there is', () => {
    expect(parseName('platform', 'native', ['native', 'kvm'])).toBe('native')
    expect(() => parseName('platform', 'ntive', ['native', 'kvm'])).toThrow(
      "unknown platform 'ntive'; did you mean native?",
    )
    expect(unknownName('platform', 'elephant', ['native', 'kvm'])).toBe(
      "unknown platform 'elephant'; there are: native, kvm",
    )
  })
})

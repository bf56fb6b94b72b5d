/** Values, lines and descriptions of requests, from a declaration with every kind of argument. */
import { describe, expect, test } from 'vitest'
import { coverage, explainPlatform, explainRequest } from './explain.ts'
import { formatValue } from './format.ts'
import { Observer } from './observe.ts'
import type { Event } from './observe.ts'
import { chosenFeatures, type PlatformDefinition } from './platform.ts'
import type { Declaration } from './requests.ts'
import { byNumber } from './requests.ts'
import { traceJson, traceLine } from './trace.ts'

const send: Declaration = {
  kind: 'hypercall',
  number: 10,
  name: 'SEND_IPI',
  summary: 'Interrupts for many vCPUs.',
  args: [
    { name: 'mask', type: { kind: 'u64' } },
    {
      name: 'icr',
      type: {
        kind: 'fields',
        fields: [
          ['vector', 0, 8],
          ['mode', 8, 3],
        ],
      },
    }, // prettier-ignore
    { name: 'to', type: { kind: 'vcpu' } },
  ],
  errors: { ENOSYS: 'never' },
  feature: 'pv-ipi',
  ops: ['apic.send_ipi'],
  tier: 'call',
  source: 'a | b',
}
const msr: Declaration = {
  ...send,
  kind: 'msr',
  number: 0x40000021,
  name: 'PAGE',
  args: [{ name: 'value', type: { kind: 'flags', bits: { enable: 0, lazy: 3 } } }],
}
const platform: PlatformDefinition = {
  name: 'toy',
  title: 'a toy',
  features: { 'pv-ipi': { summary: 'IPIs', default: true }, invtsc: { summary: 'TSC', default: false } },
  requests: [send, msr],
  create: () => {
    throw new Error('never')
  },
}

describe('values', () => {
  test.each<[Parameters<typeof formatValue>[0], bigint, string]>([
    [{ kind: 'u32' }, 17n, '17'],
    [{ kind: 'u64' }, 0x12345n, '0x12345'],
    [{ kind: 's64' }, 0xffff_ffff_ffff_fc18n, '-1000'],
    [{ kind: 'gpa', length: 8, align: 8 }, 16n, '0x10'],
    [{ kind: 'flags', bits: { a: 0, b: 4 } }, 0x11n, 'a|b'],
    [{ kind: 'flags', bits: { a: 0 } }, 0x41n, '0x40|a'],
    [{ kind: 'flags', bits: { a: 0 } }, 0n, '0x0'],
    [{ kind: 'choice', values: { off: 0, on: 1 } }, 1n, 'on'],
    [{ kind: 'choice', values: { off: 0, on: 1 } }, 7n, '0x7'],
    [
      {
        kind: 'fields',
        fields: [
          ['low', 0, 4],
          ['high', 4, 60],
        ],
      },
      0x1235n,
      '{low=5, high=291}',
    ], // prettier-ignore
  ])('%o %s', (type, value, text) => expect(formatValue(type, value)).toBe(text))
})

describe('trace', () => {
  const event: Event = { t: 12_345_678, vcpu: 1, request: send, access: 'call', args: [2n, 0x4fdn, 1n], result: 1n }

  test('a line for people', () => {
    expect(traceLine(event)).toBe('    0.012345678  1  SEND_IPI(mask=2, icr={vector=253, mode=4}, to=1) = 1')
    expect(traceLine({ ...event, request: msr, access: 'write', args: [9n], result: 0n })).toBe(
      '    0.012345678  1  wrmsr PAGE(value=enable|lazy)',
    )
    expect(traceLine({ ...event, request: msr, access: 'read', args: [], result: '#GP' })).toBe(
      '    0.012345678  1  rdmsr PAGE = #GP',
    )
  })

  test('a line of JSON', () => {
    expect(JSON.parse(traceJson(event))).toEqual({
      t: 12_345_678,
      vcpu: 1,
      kind: 'hypercall',
      number: 10,
      name: 'SEND_IPI',
      access: 'call',
      args: { mask: '0x2', icr: '0x4fd', to: '0x1' },
      result: '0x1',
    })
  })

  test('counters count always, listeners hear until they stop', () => {
    const observer = new Observer(() => 5)
    const heard: Event[] = []
    let asked = 0
    const args = () => {
      asked++
      return [1n]
    }
    observer.note(0, send, 'call', args, 0n)
    expect(asked).toBe(0)
    const stop = observer.listen((e) => heard.push(e))
    observer.note(0, send, 'call', args, 0n)
    stop()
    observer.note(0, send, 'call', args, 0n)
    expect(heard).toEqual([{ t: 5, vcpu: 0, request: send, access: 'call', args: [1n], result: 0n }])
    expect(observer.counts.get(send)).toBe(3)
  })
})

describe('descriptions', () => {
  test('a request', () => {
    expect(explainRequest(platform, send)).toEqual([
      'SEND_IPI: toy hypercall 0xa',
      '  Interrupts for many vCPUs.',
      '  mask: u64',
      '  icr: 7:0 vector, 10:8 mode',
      '  to: APIC id',
      '  ENOSYS: never',
      '  only with feature pv-ipi',
      '  serves apic.send_ipi',
      '  done as: call',
      '  source: a | b',
    ])
  })

  test('a platform, and the table', () => {
    expect(explainPlatform(platform)).toContain('  feature invtsc (off): TSC')
    expect(explainPlatform(platform)).toContain('  msr 0x40000021 PAGE')
    expect(coverage([platform])).toContain(
      '| hypercall SEND_IPI | 0xa | mask, icr, to | ENOSYS | pv-ipi | apic.send_ipi | call | a \\| b |',
    )
  })
})

test('features are the defaults and their changes', () => {
  expect([...chosenFeatures(platform, [])]).toEqual(['pv-ipi'])
  expect([...chosenFeatures(platform, ['invtsc', 'no-pv-ipi'])]).toEqual(['invtsc'])
  expect(() => chosenFeatures(platform, ['no-such'])).toThrow("toy has no feature 'such'")
})

test('two requests of one kind cannot have one number', () => {
  expect(byNumber([send]).get(10)).toBe(send)
  expect(() => byNumber([send, { ...send, name: 'OTHER' }])).toThrow('OTHER and SEND_IPI have the same number')
})

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { expectationsSchema, judge, readExpectations } from './expectations.ts'
import type { Cell } from './report.ts'
import { exampleReport } from './testing.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-expect-'))
afterAll(() => rmSync(folder, { recursive: true }))
const requests = { native: [], kvm: ['KVM_HC_KICK_CPU', 'MSR_KVM_SYSTEM_TIME_NEW'] }

function read(content: unknown) {
  const path = join(folder, 'expect.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return readExpectations(path, requests)
}

test.each<[string, unknown, RegExp]>([
  ['no JSON', '{', /expect\.json: .*JSON/],
  ['an unknown word', { all: { lgo: [] } }, /expect\.json: all: Unrecognized key: "lgo"$/],
  ['a wrong type', { all: { log: 'x' } }, /expect\.json: all\.log: Invalid input: expected array, received string$/],
  ['an empty range', { all: { requests: { KVM_HC_KICK_CPU: {} } } }, /KVM_HC_KICK_CPU: give min, max or both$/],
  ['an unknown platform', { platforms: { kmv: {} } }, /unknown platform 'kmv'; did you mean kvm\?$/],
  [
    'an unknown request',
    { platforms: { kvm: { requests: { KVM_HC_KICK_CPUS: { min: 1 } } } } },
    /unknown request 'KVM_HC_KICK_CPUS'; did you mean KVM_HC_KICK_CPU\?$/,
  ],
  ['a bad expression', { all: { log: ['/(/'] } }, /Invalid regular expression/],
])('%s is refused', (_, content, message) => expect(() => read(content)).toThrow(message))

test('a missing file is refused', () => {
  expect(() => readExpectations(join(folder, 'none'), requests)).toThrow(/none: no such file$/)
})

const [native, kvm, hyperv, xen] = exampleReport().cells as [Cell, Cell, Cell, Cell]

test('what is met is good, even a panic that was wanted', () => {
  const expectations = read({
    all: { noLog: ['/oops/i'] },
    platforms: {
      kvm: {
        log: ['kvm-clock', '/^kvm-.*using$/'],
        requests: { MSR_KVM_SYSTEM_TIME_NEW: { min: 1, max: 3 }, KVM_HC_KICK_CPU: { max: 0 } },
        userSpaceWithin: 2,
        instructions: { max: 1_100_000_000 },
        divergence: false,
        errors: false,
      },
    },
  })
  expect(judge(kvm, native, expectations)).toEqual(kvm)
  expect(judge(hyperv, native, { all: { outcome: 'panic' } })).toMatchObject({ verdict: 'good' })
})

test('each that is not met is told', () => {
  const judged = judge(hyperv, native, {
    all: { log: ['kvm-clock'], noLog: ['/panic/i'], output: ['x'], userSpaceWithin: 9, detected: 'KVM' },
    platforms: {
      hyperv: {
        requests: { HV_X64_MSR_HYPERCALL: { min: 3 } },
        instructions: { min: 1 },
        divergence: false,
        errors: false,
      },
    },
  })
  expect(judged.verdict).toBe('bad')
  expect(judged.unmet).toEqual([
    'outcome: panic instead of ok',
    'detected: nothing instead of KVM',
    'log: no line with kvm-clock',
    'noLog: Kernel panic - not syncing: <why>',
    'output: nothing with x',
    'userSpaceWithin: never instead of 9 s',
    'instructions: no user space, not at least 1',
    'requests: 2 of HV_X64_MSR_HYPERCALL, not at least 3',
    'divergence: Kernel panic - not syncing: <why>',
    expect.stringMatching(/^errors: .*HV_X64_MSR_SCONTROL/),
  ])
})

test('a platform that cannot be entered is not judged', () => {
  expect(judge(xen, native, { all: { log: ['never'] } })).toEqual(xen)
})

test('docs/expect.schema.json is this schema', () => {
  const document: unknown = JSON.parse(readFileSync(new URL('../../docs/expect.schema.json', import.meta.url), 'utf8'))
  expect(document).toEqual(z.toJSONSchema(expectationsSchema))
})

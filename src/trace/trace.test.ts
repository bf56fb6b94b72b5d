import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { traceFile } from '../cli/trace-file.ts'
import { traceJson, traceLine } from '../paravirt/trace.ts'
import { definitions } from '../platforms/index.ts'
import type { Event } from '../paravirt/observe.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-trace-'))
afterAll(() => rmSync(folder, { recursive: true }))

const declared = definitions.kvm.requests.find(({ name }) => name === 'MSR_KVM_SYSTEM_TIME_NEW')!
const hypercall = definitions.kvm.requests.find(({ name }) => name === 'KVM_HC_KICK_CPU')!
const write = (t: number, value: bigint, result: bigint | string = 0n): Event => {
  return { t, vcpu: 0, request: declared, access: 'write', args: [value], result }
}
const kick = (t: number, to: bigint, result: bigint | string = 0n): Event => {
  return { t, vcpu: 1, request: hypercall, access: 'call', args: [0n, to], result }
}

function file(name: string, events: readonly Event[]): string {
  const path = join(folder, name)
  writeFileSync(path, events.map((event) => `${traceJson(event)}\n`).join(''))
  return path
}

const events = [write(1e8, 0x1001n), kick(2e8, 1n), kick(3e8, 1n), kick(4e8, 9n, 'KVM_ENOSYS')]
const a = file('a', events)

test('texts are read back as they are, known or not', () => {
  const read = definitions['xen-pv'].requests.find(({ name }) => name === 'XS_READ')!
  const unknown = { ...read, name: 'XS_OTHER' }
  const told = [read, unknown].map((request): Event => {
    const args = [0n, 'a "b"\0', request === read ? '0x10' : 'one']
    return { t: 5e8, vcpu: -1, request, access: 'call', args, result: 'ENOENT' }
  })
  expect(traceFile(file('texts', told), undefined, {}).lines).toEqual([
    String.raw`    0.500000000  -  XS_READ(tx_id=0, path="a \"b\"\u0000", value="0x10") = ENOENT`,
    String.raw`    0.500000000  -  XS_OTHER(tx_id=0, path="a \"b\"\u0000", value="one") = ENOENT`,
  ])
})

test('a trace read back is printed as --trace prints it', () => {
  expect(traceFile(a, undefined, {}).lines).toEqual(events.map(traceLine))
})

test.each([
  [{ name: '^KVM_HC' }, 3],
  [{ kind: 'msr' }, 1],
  [{ kind: 'msr,hypercall' }, 4],
  [{ vcpu: '0' }, 1],
  [{ from: '0.2', to: '0.3' }, 2],
  [{ errors: true }, 1],
] as const)('filter %j', (filter, count) => {
  expect(traceFile(a, undefined, filter).lines).toHaveLength(count)
})

test('the summary', () => {
  expect(traceFile(a, undefined, { summary: true }).lines.map((line) => line.trim().split(/\s+/))).toEqual([
    ['requests', 'errors', 'first', 'last'],
    ['3', '1', '0.200000', '0.400000', 'hypercall', 'KVM_HC_KICK_CPU'],
    ['1', '0.100000', '0.100000', 'msr', 'MSR_KVM_SYSTEM_TIME_NEW'],
  ])
})

describe('two boots', () => {
  test('that ask for the same in the same order do not differ, whatever times, addresses and repetitions', () => {
    const b = file('b', [write(5e8, 0x1001n), kick(6e8, 1n), kick(7e8, 1n), kick(8e8, 1n), kick(9e8, 9n, 'KVM_ENOSYS')])
    expect(traceFile(a, b, {})).toEqual({ lines: [], differ: false })
    const far = file('far', [write(1e8, 0x7ffff001n), ...events.slice(1)])
    const other = file('other', [write(1e8, 0x12345001n), ...events.slice(1)])
    expect(traceFile(far, other, {}).differ).toBe(false)
  })

  test('what only one of them asks for', () => {
    const b = file('c', [write(1e8, 0x1001n), kick(2e8, 2n), kick(3e8, 2n), kick(4e8, 9n, 'KVM_ENOSYS')])
    const { lines, differ } = traceFile(a, b, {})
    expect(differ).toBe(true)
    expect(lines).toEqual([
      expect.stringMatching(/^- .*KVM_HC_KICK_CPU\(.*1\) = 0 \(2 times\)$/),
      expect.stringMatching(/^\+ .*KVM_HC_KICK_CPU\(.*2\) = 0 \(2 times\)$/),
    ])
  })
})

test.each<[string, string, object, RegExp]>([
  ['no JSON', 'x', {}, /bad: line 1 is not from --trace-file: no JSON$/],
  ['another JSON', `${traceJson(events[0]!)}\n{"t":1}`, {}, /bad: line 2 is not from --trace-file: vcpu: /],
  ['a bad expression', '', { name: '(' }, /--name: Invalid regular expression/],
  ['no number', '', { from: 'x' }, /--from 'x' is not a number/],
  ['an unknown kind', '', { kind: 'msrs' }, /unknown kind of request 'msrs'; did you mean msr\?/],
])('%s is refused', (_, content, options, message) => {
  const path = join(folder, 'bad')
  writeFileSync(path, content)
  expect(() => traceFile(path, undefined, options)).toThrow(message)
})

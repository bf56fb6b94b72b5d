import { beforeEach, describe, expect, test } from 'vitest'
import type { CoreHost } from '../cpu/core.ts'
import { ringRequest } from '../paravirt/requests.ts'
import { Hooks } from './hooks.ts'

let hooks: Hooks
let host: CoreHost
let done: string[]
const state = { u64: new BigUint64Array(64), vcpus: [0, 256] }

beforeEach(() => {
  hooks = new Hooks()
  hooks.attach(state)
  done = []
  state.u64.fill(0n)
  const own: Partial<CoreHost> = {
    cpuid: (_, leaf) => [leaf, 2, 3, 4],
    rdmsr: (_, index) => (index === 0x10 ? 5n : undefined),
    wrmsr: (_, index, value) => {
      done.push(`wrmsr ${index} ${value}`)
      return index === 0x10
    },
    portIn: (_, port) => port,
    portOut: (_, port, size, value) => void done.push(`out ${port} ${size} ${value}`),
    hypercall: () => {
      state.u64[0] = 77n
      return true
    },
  }
  host = hooks.over(own as CoreHost)
})

describe('hooks', () => {
  test('without one the machine answers', () => {
    expect(host.cpuid(0, 1, 0)).toEqual([1, 2, 3, 4])
    expect([host.rdmsr(0, 0x10), host.rdmsr(0, 0x11)]).toEqual([5n, undefined])
    expect([host.wrmsr(0, 0x10, 1n), host.wrmsr(0, 0x11, 1n)]).toEqual([true, false])
    expect(host.portIn(0, 0x80, 1)).toBe(0x80)
  })

  test('CPUID: heard, changed, and only where it is wanted', () => {
    const leaves: number[] = []
    hooks.add(
      'cpuid',
      (leaf) => leaf === 1,
      (call) => {
        leaves.push(call.leaf)
        const [a, b, c, d] = call.proceed()
        return [a, b, c | 0x80000000, d]
      },
    )
    expect(host.cpuid(0, 1, 0)).toEqual([1, 2, 3 | 0x80000000, 4])
    expect(host.cpuid(0, 2, 0)).toEqual([2, 2, 3, 4])
    expect(leaves).toEqual([1])
  })

  test('MSR: faults and values of the hook’s', () => {
    const stop = hooks.add(
      'msr',
      () => true,
      (call) => (call.access === 'read' ? 9n : '#GP'),
    )
    expect([host.rdmsr(0, 0x99), host.wrmsr(0, 0x10, 1n)]).toEqual([9n, false])
    expect(done).toEqual([])
    stop()
    expect(host.rdmsr(0, 0x99)).toBe(undefined)
  })

  test('MSR: a write goes through changed, or is only heard', () => {
    const heard: bigint[] = []
    hooks.add(
      'msr',
      () => true,
      (call) => {
        if (call.access === 'write' && call.index === 0x10) call.proceed(call.value + 1n)
        else if (call.access === 'write') heard.push(call.value)
        return undefined
      },
    )
    expect([host.wrmsr(0, 0x10, 1n), host.wrmsr(0, 0x11, 3n)]).toEqual([true, false])
    expect([done, heard]).toEqual([['wrmsr 16 2', 'wrmsr 17 3'], [3n]])
  })

  test('ports: read and write', () => {
    hooks.add(
      'port',
      (port) => port === 0x80,
      (call) => (call.access === 'read' ? 0x55 : 'done'),
    )
    host.portOut(0, 0x80, 1, 7)
    host.portOut(0, 0x81, 2, 8)
    expect([host.portIn(0, 0x80, 1), host.portIn(0, 0x81, 1)]).toEqual([0x55, 0x81])
    expect(done).toEqual(['out 129 2 8'])
  })

  test('hypercalls: by number, with registers, in place of the machine or after it', () => {
    const results: bigint[] = []
    hooks.add(
      'hypercall',
      (number) => number === 5,
      (call) => (call.register('rbx') === 1n ? -22n : '#UD'),
    )
    hooks.add(
      'hypercall',
      (number) => number === 6,
      (call) => {
        call.proceed()
        results.push(call.register('rax'))
        return undefined
      },
    )
    state.u64[0] = 5n
    expect(host.hypercall(0, 0)).toBe(false)
    state.u64[3] = 1n
    expect(host.hypercall(0, 0)).toBe(true)
    expect(state.u64[0]).toBe(BigInt.asUintN(64, -22n))
    state.u64[0] = 6n
    expect(host.hypercall(0, 0)).toBe(true)
    expect(results).toEqual([77n])
  })

  test('the one that came last is asked first, and proceeds to the others', () => {
    hooks.add(
      'port',
      () => true,
      (call) => (call.access === 'read' ? call.proceed() + 1 : undefined),
    )
    hooks.add(
      'port',
      () => true,
      (call) => (call.access === 'read' ? call.proceed() * 2 : undefined),
    )
    expect(host.portIn(0, 10, 1)).toBe(22)
  })

  test('requests on rings: heard by name, refused with an error that they have', () => {
    const request = ringRequest({
      number: 1,
      name: 'READ',
      summary: '',
      args: [{ name: 'path', type: { kind: 'text' } }],
      errors: { ENOENT: 'it is not there' },
      source: '',
    })
    const heard: unknown[] = []
    expect(hooks.refusal(request, () => ['a'])).toBeUndefined()
    const stop = hooks.addRing(request, ({ args }) => {
      heard.push(args)
      return args['path'] === 'b' ? 'ENOENT' : args['path'] === 'c' ? 'EIO' : undefined
    })
    expect(hooks.refusal(request, () => ['a'])).toBeUndefined()
    expect(hooks.refusal(request, () => ['b'])).toBe('ENOENT')
    expect(() => hooks.refusal(request, () => ['c'])).toThrow("READ has no error 'EIO'; it has ENOENT")
    expect(hooks.refusal({ ...request }, () => ['b'])).toBeUndefined()
    stop()
    expect(hooks.refusal(request, () => ['b'])).toBeUndefined()
    expect(heard).toEqual([{ path: 'a' }, { path: 'b' }, { path: 'c' }])
  })
})

import { expect, test } from 'vitest'
import { definitions } from '../platforms/index.ts'
import { explain } from './explain.ts'

test('by name, whatever its case', () => {
  expect(explain('msr_kvm_steal_time')[0]).toMatch(/^MSR_KVM_STEAL_TIME: kvm msr 0x4b564d03$/)
})

test('by number, on every platform that has it', () => {
  expect(explain('0x40000020')[0]).toMatch(/^HV_X64_MSR_TIME_REF_COUNT: hyperv msr 0x40000020$/)
  const first = explain('0x40000000').filter((line) => line.endsWith(' cpuid 0x40000000'))
  expect(first.length).toBeGreaterThan(3)
})

test('a sub-command by both its numbers', () => {
  const request = definitions['xen-pv'].requests.find(({ command }) => command !== undefined)!
  const lines = explain(`${request.number}.${request.command}`)
  expect(lines[0]).toContain(`${request.name}: xen-`)
  expect(explain(String(request.number)).length).toBeGreaterThan(lines.length)
})

test('what is not there', () => {
  expect(() => explain('0x12345678')).toThrow('no platform has a request of number 0x12345678')
  expect(() => explain('MSR_KVM_STEEL_TIME')).toThrow(/did you mean MSR_KVM_STEAL_TIME\b/)
  expect(() => explain('xennet')).toThrow('paravirt explain PLATFORM lists what it has')
  expect(() => explain('EVTCHNOP_bind_virk')).toThrow('did you mean EVTCHNOP_bind_virq or EVTCHNOP_bind_pirq')
})

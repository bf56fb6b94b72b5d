/** Hyper-V's interface with values that nobody would send, overlays on top of each other: the host is unmoved. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { cpuModel } from '../../src/cpu/models.ts'
import { Mock, type MockVcpu } from '../../src/paravirt/mock.ts'
import { Observer } from '../../src/paravirt/observe.ts'
import { features } from '../../src/platforms/hyperv/features.ts'
import { HypervPlatform } from '../../src/platforms/hyperv/index.ts'
import { msrs } from '../../src/platforms/hyperv/msrs/index.ts'

const PAGES = 16
const VCPUS = 2
const GUEST_OS_ID = 0x40000000
const REFERENCE_TSC = 0x40000021

const any = fc.bigInt(0n, (1n << 64n) - 1n)
/** A page that exists or just does not, enabled. */
const pages = fc.nat(PAGES + 1).map((number) => (BigInt(number) << 12n) | 1n)
const vcpu = fc.nat(VCPUS - 1)
const step = fc.oneof(
  fc.tuple(fc.constant('write' as const), vcpu, fc.constantFrom(...msrs), fc.oneof(pages, any, fc.constant(0n))),
  fc.tuple(fc.constant('read' as const), vcpu, fc.constantFrom(...msrs), any),
  fc.tuple(fc.constant('call' as const), vcpu, fc.constantFrom(0x02, 0x03, 0x13, 0x14, 0x15, 0x51), any),
  fc.tuple(fc.constant('time' as const), vcpu, fc.nat(1e6), any),
)

test('no host exception, and memory is what it was when every overlay is gone', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 100, maxLength: 150 }), (steps) => {
      const mock = new Mock({ vcpus: VCPUS, pages: PAGES })
      const { effects, ram, vcpus } = mock
      for (let page = 0; page < PAGES; page++) ram.fill(page + 1, page << 12, (page + 1) << 12)
      const before = ram.slice()
      const observer = new Observer(() => 0)
      const on = new Set(Object.keys(features))
      const platform = new HypervPlatform({ effects, model: cpuModel('inorder'), features: on, observer })
      for (const [kind, cpu, what, value] of steps) {
        if (kind === 'read') platform.rdmsr(cpu, what.number)
        else if (kind === 'write') platform.wrmsr(cpu, what.number, value)
        else if (kind === 'call') {
          const { registers } = vcpus[cpu] as MockVcpu
          registers.set('rcx', BigInt(what) | (value & 0x3_0000_0001_0000n))
          registers.set('rdx', value & 0xfff8n)
          platform.hypercall(cpu, 'vmcall')
        } else mock.advance(what)
      }
      platform.wrmsr(0, GUEST_OS_ID, 0n)
      platform.wrmsr(0, REFERENCE_TSC, 0n)
      for (let i = 0; i < VCPUS; i++) platform.init(i)
      expect(Buffer.compare(ram, before)).toBe(0)
    }),
    { numRuns: 300, seed: 1 },
  )
})

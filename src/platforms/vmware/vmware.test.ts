/** VMware's requests, good and bad input, against open-vm-tools' headers and Linux's drivers. */
import { describe, expect, it } from 'vitest'
import { cpuModel, type CpuidResult, type CpuModelName } from '../../cpu/models.ts'
import type { Register } from '../../paravirt/effects.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { vmware, VmwarePlatform } from './index.ts'

const MAGIC = 0x564d5868
const PORT = 0x5658
const HIGH_PORT = 0x5659
const UPPER = 0xabcd_0000_0000_0000n

type Values = Partial<Record<Register, number | bigint>>

function setUp(options: { vcpus?: number; features?: readonly string[]; cpu?: CpuModelName } = {}) {
  const mock = new Mock({ vcpus: options.vcpus ?? 2 })
  const observer = new Observer(() => mock.effects.time.now())
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const platform = new VmwarePlatform({
    effects: mock.effects,
    model: cpuModel(options.cpu ?? 'inorder'),
    features: chosenFeatures(vmware, options.features ?? []),
    observer,
  })
  const set = (vcpu: number, values: Values) => {
    for (const [name, value] of Object.entries(values))
      (mock.vcpus[vcpu] as MockVcpu).registers.set(name as Register, BigInt(value))
  }
  const low = (vcpu: number, name: Register) => mock.effects.cpu.low(vcpu, name)
  /** IN EAX from the low-bandwidth port: the result, and the other registers' low halves. */
  const call = (ecx: number, values: Values = {}, vcpu = 0) => {
    set(vcpu, { rax: MAGIC, rdx: PORT, ...values, rcx: ecx })
    const eax = platform.portIn(vcpu, PORT, 4)
    const rest = { ebx: low(vcpu, 'rbx'), ecx: low(vcpu, 'rcx'), edx: low(vcpu, 'rdx') }
    return { eax, ...rest, esi: low(vcpu, 'rsi'), edi: low(vcpu, 'rdi') }
  }
  return { mock, ...mock, platform, observer, events, set, low, call, view: new DataView(mock.ram.buffer) }
}

const own: CpuidResult = [1, 2, 3, 0x100]

describe('CPUID', () => {
  it('has the signature, frequencies and the hypercall instruction of the processor', () => {
    const intel = setUp().platform
    expect(intel.cpuid(0, 0x40000000, 0, own)).toEqual([0x40000010, 0x61774d56, 0x4d566572, 0x65726177])
    expect(intel.cpuid(0, 0x40000010, 0, own)).toEqual([1_000_000, 25_000, 2, 0])
    expect(intel.cpuid(0, 0x40000001, 0, own)).toEqual([0, 0, 0, 0])
    expect(intel.cpuid(0, 1, 0, own)[2] >>> 0).toBe(0x80000003)
    expect(intel.cpuid(0, 0x80000007, 0, own)).toEqual(own)
    expect(setUp({ cpu: 'amd' }).platform.cpuid(0, 0x40000010, 0, own)[2]).toBe(1)
    expect(setUp({ features: ['no-hypercall'] }).platform.cpuid(0, 0x40000010, 0, own)[2]).toBe(0)
  })
})

describe('commands', () => {
  it('tell version, hardware, memory and frequencies', () => {
    const { call } = setUp()
    expect(call(10, { rbx: -1n })).toMatchObject({ eax: 6, ebx: MAGIC, ecx: 2 })
    expect(call(17).eax).toBe(19)
    expect(call(20).eax).toBe(0)
    expect(call(1).eax).toBe(1000)
    expect(call(45, { rbx: -1n })).toMatchObject({ eax: 1_000_000_000, ebx: 0, ecx: 25_000_000 })
    expect(call(68)).toMatchObject({ eax: 0b1010 })
  })

  it('tell the time', () => {
    const { mock, call } = setUp()
    const seconds = Date.UTC(2026, 0, 1) / 1000
    mock.advance(2_345_678_901)
    expect(call(23)).toMatchObject({ eax: seconds + 2, ebx: 345_678, ecx: 1_000_000, edx: 0 })
    const full = { eax: MAGIC, ebx: 345_678, ecx: 1_000_000, edx: seconds + 2, esi: 0 }
    expect(call(46, { rsi: 9, rdi: 9 })).toEqual({ ...full, edi: 9 })
    expect(call(55, { rsi: 9, rdi: 9 })).toEqual({ ...full, edi: 0 })
  })

  it('change the low halves of registers and no others', () => {
    const { call, vcpus } = setUp()
    const { registers } = vcpus[0] as MockVcpu
    call(10, { rbx: UPPER, rsi: UPPER | 7n, r8: 8 })
    expect([registers.get('rbx'), registers.get('rcx')]).toEqual([UPPER | BigInt(MAGIC), 2n])
    expect([registers.get('rdx'), registers.get('rsi'), registers.get('r8')]).toEqual([BigInt(PORT), UPPER | 7n, 8n])
  })

  it('ignore what the high half of ECX says', () => {
    expect(setUp().call(0x7777_000a).eax).toBe(6)
  })

  it('that are unknown, or switched off, give -1 and change nothing', () => {
    const { call, events } = setUp()
    for (const command of [0, 2, 7, 19, 30 | (7 << 16), 39, 41, 85, 97, 100, 0xfff]) {
      const { eax, ebx, edx } = call(command, { rbx: 0xdeadbeef })
      expect([eax, ebx, edx]).toEqual([0xffffffff, 0xdeadbeef, PORT])
    }
    expect(events).toEqual([])
    const off = setUp({ features: ['no-vcpu-info', 'no-steal-clock', 'no-messages'] })
    for (const command of [68, 91, 30]) expect(off.call(command, { rdi: 1 }).eax).toBe(0xffffffff)
  })

  it('tell observers their arguments and results', () => {
    const { call, events } = setUp()
    call(91, { rbx: 0, rsi: 0, rdi: 0x1040 })
    call(91, { rbx: 0, rsi: 0, rdi: 0x1041 })
    expect(events.map(({ request, args, result }) => [request.name, args, result])).toEqual([
      ['BDOOR_CMD_STEALCLOCK', [0n, 0n, 0x1040n], 1n],
      ['BDOOR_CMD_STEALCLOCK', [0n, 0n, 0x1041n], '-1'],
    ])
  })
})

describe('steal clock', () => {
  it('counts ticks of the TSC at every turn', () => {
    const { platform, call, view, vcpus } = setUp()
    const vcpu = vcpus[1] as MockVcpu
    vcpu.stolen = 500
    expect(call(91, { rdi: 0x1040 }, 1).eax).toBe(1)
    expect(view.getBigUint64(0x1040, true)).toBe(500n)
    vcpu.stolen = 800
    platform.enter(1)
    platform.enter(0)
    expect(view.getBigUint64(0x1040, true)).toBe(800n)
    expect(call(91, { rdi: 1 }, 1).eax).toBe(0)
    vcpu.stolen = 900
    platform.enter(1)
    expect(view.getBigUint64(0x1040, true)).toBe(800n)
  })

  it('refuses what is unaligned or no RAM, and user mode', () => {
    const { call, vcpus, ram } = setUp()
    for (const values of [{ rdi: 0x1020 }, { rdi: ram.length }, { rsi: 1, rdi: 0 }, { rbx: 1, rdi: 0x1040 }])
      expect(call(91, { rbx: 0, rsi: 0, ...values }).eax).toBe(0xffffffff)
    ;(vcpus[0] as MockVcpu).privilege = 3
    expect(call(91, { rbx: 0, rsi: 0, rdi: 0x1040 }).eax).toBe(0xffffffff)
    expect(call(10).eax).toBe(6)
  })

  it('INIT switches it off', () => {
    const { platform, call, view, vcpus } = setUp()
    call(91, { rdi: 0x1040 }, 1)
    platform.init(1)
    ;(vcpus[1] as MockVcpu).stolen = 5
    platform.enter(1)
    expect(view.getBigUint64(0x1040, true)).toBe(0n)
  })
})

describe('ports', () => {
  it('are open to all code that has the magic number', () => {
    expect(setUp().platform.openPorts).toEqual({ first: PORT, count: 2, key: MAGIC })
  })

  it('are ports like others without it', () => {
    const { platform, set } = setUp()
    set(0, { rax: MAGIC + 1, rcx: 10 })
    for (const port of [PORT, HIGH_PORT]) {
      expect(platform.portIn(0, port, 4)).toBeUndefined()
      expect(platform.portOut(0, port, 4, 0)).toBe(false)
    }
    set(0, { rax: MAGIC })
    for (const port of [PORT - 1, HIGH_PORT + 1, 0x5670]) {
      expect(platform.portIn(0, port, 4)).toBeUndefined()
      expect(platform.portOut(0, port, 4, 0)).toBe(false)
    }
    expect(platform.portIn(0, HIGH_PORT, 4)).toBeUndefined()
  })

  it('do the same when they are written', () => {
    const { platform, set, low } = setUp()
    set(0, { rax: MAGIC, rcx: 10 })
    expect(platform.portOut(0, PORT, 4, MAGIC)).toBe(true)
    expect([low(0, 'rax'), low(0, 'rbx')]).toEqual([6, MAGIC])
  })
})

describe('hypercalls', () => {
  it('have the same commands', () => {
    const { platform, set, low, vcpus } = setUp()
    set(0, { rax: UPPER | BigInt(MAGIC), rcx: 10, rdx: 0 })
    expect(platform.hypercall(0, 'vmcall')).toBe(true)
    expect([vcpus[0]?.registers.get('rax'), low(0, 'rbx'), low(0, 'rcx')]).toEqual([6n, MAGIC, 2])
    set(0, { rax: MAGIC, rcx: 0xfff })
    expect(platform.hypercall(0, 'vmcall')).toBe(true)
    expect(vcpus[0]?.registers.get('rax')).toBe(0xffffffffn)
  })

  it('are undefined without the magic number, by the other vendor’s instruction, or switched off', () => {
    const { platform, set } = setUp()
    set(0, { rax: 5, rcx: 10 })
    expect(platform.hypercall(0, 'vmcall')).toBe(false)
    set(0, { rax: MAGIC, rcx: 10 })
    expect(platform.hypercall(0, 'vmmcall')).toBe(false)
    const amd = setUp({ cpu: 'amd' })
    amd.set(0, { rax: MAGIC, rcx: 10 })
    expect([amd.platform.hypercall(0, 'vmcall'), amd.platform.hypercall(0, 'vmmcall')]).toEqual([false, true])
    const off = setUp({ features: ['no-hypercall'] })
    off.set(0, { rax: MAGIC, rcx: 10 })
    expect(off.platform.hypercall(0, 'vmcall')).toBe(false)
  })
})

describe('pseudo performance counters', () => {
  it('count time; others do not exist', () => {
    const { mock, platform, vcpus, events } = setUp()
    ;(vcpus[0] as MockVcpu).tscOffset = 77n
    mock.advance(1234)
    expect([0x10000, 0x10001, 0x10002].map((index) => platform.rdpmc(0, index))).toEqual([1234n, 1234n, 1234n])
    for (const index of [0, 0xfff, 0x10003, 0x20000]) expect(platform.rdpmc(0, index)).toBeUndefined()
    expect(events).toHaveLength(3)
    expect(setUp({ features: ['no-pseudo-counters'] }).platform.rdpmc(0, 0x10000)).toBeUndefined()
  })
})

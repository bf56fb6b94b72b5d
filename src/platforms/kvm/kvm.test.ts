/** KVM's requests, each with good and bad input, against Linux's Documentation/virt/kvm/x86. */
import { describe, expect, it } from 'vitest'
import { cpuModel, type CpuidResult } from '../../cpu/models.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { kvm, KvmPlatform } from './index.ts'

const SYSTEM_TIME = 0x4b564d01
const WALL_CLOCK = 0x4b564d00
const OLD_SYSTEM_TIME = 0x12
const OLD_WALL_CLOCK = 0x11
const ASYNC_PF_EN = 0x4b564d02
const STEAL_TIME = 0x4b564d03
const PV_EOI = 0x4b564d04
const POLL_CONTROL = 0x4b564d05
const ASYNC_PF_INT = 0x4b564d06
const ASYNC_PF_ACK = 0x4b564d07
const MIGRATION_CONTROL = 0x4b564d08

function setUp(options: { vcpus?: number; features?: readonly string[] } = {}) {
  const mock = new Mock({ vcpus: options.vcpus ?? 4 })
  const observer = new Observer(() => mock.effects.time.now())
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const features = chosenFeatures(kvm, options.features ?? [])
  const platform = new KvmPlatform({ effects: mock.effects, model: cpuModel('inorder'), features, observer })
  const view = new DataView(mock.ram.buffer)
  const call = (vcpu: number, number: number | bigint, ...args: (number | bigint)[]) => {
    const { registers } = mock.vcpus[vcpu] as MockVcpu
    registers.set('rax', BigInt(number))
    for (const [i, name] of (['rbx', 'rcx', 'rdx', 'rsi'] as const).entries()) registers.set(name, BigInt(args[i] ?? 0))
    expect(platform.hypercall(vcpu, 'vmcall')).toBe(true)
    const value = registers.get('rax') as bigint
    return mock.vcpus[vcpu]?.wide ? BigInt.asIntN(64, value) : value
  }
  const end = BigInt(mock.ram.length)
  return { mock, ...mock, platform, observer, events, view, call, end }
}

const own: CpuidResult = [1, 2, 3, 0xffff]

describe('CPUID', () => {
  it('has the signature, the features and the hypervisor bit', () => {
    const { platform } = setUp()
    expect(platform.cpuid(0, 0x40000000, 0, own)).toEqual([0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d])
    expect(platform.cpuid(0, 0x40000001, 0, own)).toEqual([0x0100fafb, 0, 0, 0])
    expect(platform.cpuid(0, 1, 0, own)[2] >>> 0).toBe(0x80000003)
    expect(platform.cpuid(0, 0x40000002, 0, own)).toEqual(own)
  })

  it('shows features one by one', () => {
    const bits = (...features: string[]) => setUp({ features }).platform.cpuid(0, 0x40000001, 0, own)
    expect(bits('no-kvmclock')[0]).toBe(0x0100faf3)
    expect(bits('no-stable-clock')[0]).toBe(0xfafb)
    expect(bits('migration-control')[0]).toBe(0x0102fafb)
    expect(bits('realtime')).toEqual([0x0100fafb, 0, 0, 1])
    expect(() => bits('nonsense')).toThrow(/no feature 'nonsense'/)
  })

  it('hides the invariant TSC unless it is asked for, and then gives the frequencies', () => {
    const off = setUp().platform
    expect(off.cpuid(0, 0x80000007, 0, own)).toEqual([1, 2, 3, 0xfeff])
    expect(off.cpuid(0, 0x40000010, 0, own)).toEqual(own)
    const on = setUp({ features: ['invtsc'] }).platform
    expect(on.cpuid(0, 0x80000007, 0, own)).toEqual(own)
    expect(on.cpuid(0, 0x40000000, 0, own)[0]).toBe(0x40000010)
    expect(on.cpuid(0, 0x40000010, 0, own)).toEqual([1_000_000, 25_000, 0, 0])
    expect(on.cpuid(0, 0x40000005, 0, own)).toEqual([0, 0, 0, 0])
  })
})

describe('clock', () => {
  const page = (view: DataView, at: number) => ({
    version: view.getUint32(at, true),
    tsc: view.getBigUint64(at + 8, true),
    time: view.getBigUint64(at + 16, true),
    mul: view.getUint32(at + 24, true),
    shift: view.getInt8(at + 28),
    flags: view.getUint8(at + 29),
  })

  it('writes the page before WRMSR is done', () => {
    const { mock, platform, view } = setUp()
    mock.advance(123_456)
    expect(platform.wrmsr(0, SYSTEM_TIME, 0x1001n)).toBe(true)
    expect(page(view, 0x1000)).toEqual({ version: 2, tsc: 123456n, time: 123456n, mul: 0x80000000, shift: 1, flags: 1 })
    expect(platform.rdmsr(0, SYSTEM_TIME)).toBe(0x1001n)
    expect(platform.rdmsr(1, SYSTEM_TIME)).toBe(0n)
  })

  it('writes nothing without the enable bit, outside RAM or across pages', () => {
    const { platform, mock, ram, end } = setUp()
    mock.advance(1)
    for (const value of [0x1000n, end + 1n, 0xffff_ffff_ffff_f001n, 0x2fe3n, end - 29n]) {
      expect(platform.wrmsr(0, SYSTEM_TIME, value)).toBe(true)
      expect(platform.rdmsr(0, SYSTEM_TIME)).toBe(value)
    }
    expect(ram.every((byte) => byte === 0)).toBe(true)
  })

  it('follows a TSC that the guest has set, and clocks that differ are not stable', () => {
    const { mock, platform, view, vcpus } = setUp({ vcpus: 2 })
    platform.wrmsr(0, SYSTEM_TIME, 0x1001n)
    platform.wrmsr(1, SYSTEM_TIME, 0x1041n)
    mock.advance(1000)
    ;(vcpus[1] as MockVcpu).tscOffset = -400n
    platform.enter(1)
    expect(page(view, 0x1040)).toMatchObject({ tsc: 600n, time: 1000n, flags: 0, version: 4 })
    expect(page(view, 0x1000)).toMatchObject({ tsc: 1000n, time: 1000n, flags: 0, version: 4 })
    platform.enter(1)
    expect(page(view, 0x1040).version).toBe(4)
    ;(vcpus[0] as MockVcpu).tscOffset = -400n
    platform.enter(0)
    expect(page(view, 0x1040)).toMatchObject({ tsc: 600n, flags: 1 })
  })

  it('has the old MSRs, which promise nothing about several vCPUs', () => {
    const { platform, view } = setUp({ features: ['no-kvmclock'] })
    expect(platform.wrmsr(0, SYSTEM_TIME, 0x1001n)).toBe(false)
    expect(platform.wrmsr(0, OLD_SYSTEM_TIME, 0x1001n)).toBe(true)
    expect(page(view, 0x1000)).toMatchObject({ version: 2, flags: 0 })
    expect(platform.rdmsr(0, OLD_SYSTEM_TIME)).toBe(0x1001n)
    expect(platform.rdmsr(0, SYSTEM_TIME)).toBeUndefined()
    const none = setUp({ features: ['no-old-kvmclock'] }).platform
    expect(none.wrmsr(0, OLD_SYSTEM_TIME, 0x1001n)).toBe(false)
    expect(none.wrmsr(0, OLD_WALL_CLOCK, 0x1000n)).toBe(false)
  })

  it('gives the time of day at power-on, the same for all vCPUs', () => {
    const { mock, platform, view } = setUp()
    mock.advance(5_000_000_123)
    expect(platform.wrmsr(2, WALL_CLOCK, 0x2000n)).toBe(true)
    const read = (at: number) => [0, 4, 8].map((offset) => view.getUint32(at + offset, true))
    expect(read(0x2000)).toEqual([2, Date.UTC(2026, 0, 1) / 1000, 0])
    expect(platform.rdmsr(0, WALL_CLOCK)).toBe(0x2000n)
    expect(platform.rdmsr(0, OLD_WALL_CLOCK)).toBe(0x2000n)
    expect(platform.wrmsr(0, OLD_WALL_CLOCK, 0x2100n)).toBe(true)
    expect(read(0x2100)).toEqual([2, Date.UTC(2026, 0, 1) / 1000, 0])
    expect(platform.wrmsr(0, WALL_CLOCK, 0n)).toBe(true)
    expect(view.getUint32(0, true)).toBe(0)
    expect(platform.wrmsr(0, WALL_CLOCK, 1n << 60n)).toBe(true)
  })

  it('pairs the time of day with the TSC', () => {
    const { mock, call, view, vcpus, end } = setUp()
    ;(vcpus[1] as MockVcpu).tscOffset = 7n
    mock.advance(1_500_000_000)
    expect(call(1, 9, 0x3000, 0)).toBe(0n)
    const words = [0, 8, 16].map((offset) => view.getBigInt64(0x3000 + offset, true))
    expect(words).toEqual([BigInt(Date.UTC(2026, 0, 1) / 1000 + 1), 500_000_000n, 1_500_000_007n])
    expect(view.getUint32(0x3018, true)).toBe(0)
    expect(call(1, 9, 0x3000, 1)).toBe(-95n)
    expect(call(1, 9, end - 63n, 0)).toBe(-14n)
  })
})

describe('steal time', () => {
  it('counts what was stolen, and says whether the vCPU runs', () => {
    const { platform, view, vcpus, ram } = setUp()
    const vcpu = vcpus[1] as MockVcpu
    vcpu.stolen = 1000
    expect(platform.wrmsr(1, STEAL_TIME, 0x1041n)).toBe(true)
    expect(view.getBigUint64(0x1040, true)).toBe(1000n)
    expect(view.getUint32(0x1048, true)).toBe(2)
    platform.leave(1)
    expect(ram[0x1050]).toBe(1)
    vcpu.stolen = 1250
    platform.enter(1)
    expect([view.getBigUint64(0x1040, true), view.getUint32(0x1048, true), ram[0x1050]]).toEqual([1250n, 4, 0])
    expect(platform.rdmsr(1, STEAL_TIME)).toBe(0x1041n)
    platform.leave(0)
    platform.wrmsr(1, STEAL_TIME, 0x1040n)
    platform.leave(1)
    expect(ram[0x1050]).toBe(0)
  })

  it('flushes the TLB that others left to be flushed, if it offers that', () => {
    for (const [features, flushed] of [
      [[], ['flush 0 all']],
      [['no-pv-tlb-flush'], []],
    ] as const) {
      const { platform, ram, log, observer } = setUp({ features })
      platform.wrmsr(0, STEAL_TIME, 0x1001n)
      platform.leave(0)
      platform.enter(0)
      expect(log).toEqual([])
      platform.leave(0)
      ram[0x1010] = 3
      platform.enter(0)
      expect(log).toEqual(flushed)
      expect(ram[0x1010]).toBe(0)
      const flushes = [...observer.counts].find(([{ name }]) => name === 'KVM_VCPU_FLUSH_TLB')?.[1] ?? 0
      expect(flushes).toBe(flushed.length)
    }
  })

  it('refuses reserved bits and is silent outside RAM', () => {
    const { platform, ram, end } = setUp()
    for (const bit of [1, 2, 3, 4, 5]) expect(platform.wrmsr(0, STEAL_TIME, 0x1001n | (1n << BigInt(bit)))).toBe(false)
    expect(platform.rdmsr(0, STEAL_TIME)).toBe(0n)
    expect(platform.wrmsr(0, STEAL_TIME, end | 1n)).toBe(true)
    platform.leave(0)
    platform.enter(0)
    expect(ram.every((byte) => byte === 0)).toBe(true)
    expect(setUp({ features: ['no-steal-time'] }).platform.wrmsr(0, STEAL_TIME, 0x1001n)).toBe(false)
  })
})

describe('PV EOI', () => {
  it('offers by setting the bit; the guest accepts by clearing it', () => {
    const { platform, vcpus, ram, observer } = setUp()
    expect(platform.wrmsr(0, PV_EOI, 0x1005n)).toBe(true)
    const { assist } = vcpus[0] as MockVcpu
    expect(assist?.offer()).toBe(true)
    expect(ram[0x1004]).toBe(1)
    expect(assist?.withdraw()).toBe(false)
    expect(ram[0x1004]).toBe(0)
    assist?.offer()
    ram[0x1004] = 0
    expect(assist?.withdraw()).toBe(true)
    const used = () => [...observer.counts].find(([{ name }]) => name === 'KVM_PV_EOI_ENABLED')?.[1]
    expect(used()).toBe(1)
    expect(platform.wrmsr(0, PV_EOI, 0n)).toBe(true)
    expect(vcpus[0]?.assist).toBeUndefined()
  })

  it('refuses bit 1 and what is no RAM', () => {
    const { platform, end } = setUp()
    expect(platform.wrmsr(0, PV_EOI, 0x1003n)).toBe(false)
    expect(platform.wrmsr(0, PV_EOI, 0x1002n)).toBe(false)
    expect(platform.wrmsr(0, PV_EOI, end | 1n)).toBe(false)
    expect(platform.wrmsr(0, PV_EOI, end)).toBe(true)
    expect(platform.rdmsr(0, PV_EOI)).toBe(end)
    expect(setUp({ features: ['no-pv-eoi'] }).platform.wrmsr(0, PV_EOI, 0n)).toBe(false)
  })
})

describe('asynchronous page faults', () => {
  it('wake everybody once when they are enabled', () => {
    const { platform, view, log } = setUp()
    expect(platform.wrmsr(0, ASYNC_PF_INT, 0xf3n)).toBe(true)
    expect(platform.wrmsr(0, ASYNC_PF_EN, 0x1049n)).toBe(true)
    expect(view.getUint32(0x1044, true)).toBe(0xffffffff)
    expect(log).toEqual(['post 0 0xf3'])
    view.setUint32(0x1044, 0, true)
    expect(platform.wrmsr(0, ASYNC_PF_ACK, 1n)).toBe(true)
    platform.enter(0)
    expect(log).toHaveLength(1)
    expect([ASYNC_PF_EN, ASYNC_PF_INT, ASYNC_PF_ACK].map((msr) => platform.rdmsr(0, msr))).toEqual([0x1049n, 0xf3n, 0n])
  })

  it('wait until the local APIC is on and the last token was read', () => {
    const { platform, view, log, vcpus } = setUp()
    const vcpu = vcpus[0] as MockVcpu
    vcpu.apicEnabled = false
    platform.wrmsr(0, ASYNC_PF_INT, 0xf3n)
    platform.wrmsr(0, ASYNC_PF_EN, 0x1049n)
    view.setUint32(0x1044, 9, true)
    vcpu.apicEnabled = true
    platform.enter(0)
    expect(log).toEqual([])
    view.setUint32(0x1044, 0, true)
    platform.wrmsr(0, ASYNC_PF_ACK, 0n)
    expect(log).toEqual([])
    platform.wrmsr(0, ASYNC_PF_ACK, 1n)
    expect(log).toEqual(['post 0 0xf3'])
  })

  it('are silent without interrupts or when they are switched off', () => {
    const { platform, log, vcpus } = setUp()
    expect(platform.wrmsr(0, ASYNC_PF_EN, 0x1041n)).toBe(true)
    ;(vcpus[0] as MockVcpu).apicEnabled = false
    expect(platform.wrmsr(0, ASYNC_PF_EN, 0x1049n)).toBe(true)
    expect(platform.wrmsr(0, ASYNC_PF_EN, 0n)).toBe(true)
    ;(vcpus[0] as MockVcpu).apicEnabled = true
    platform.enter(0)
    expect(log).toEqual([])
  })

  it('refuse reserved bits, nested exits, no RAM, vectors above 255', () => {
    const { platform, end } = setUp()
    for (const value of [0x1019n, 0x1029n, 0x1004n, end | 9n]) expect(platform.wrmsr(0, ASYNC_PF_EN, value)).toBe(false)
    expect(platform.wrmsr(0, ASYNC_PF_EN, end | 1n)).toBe(true)
    expect(platform.wrmsr(0, ASYNC_PF_INT, 0x100n)).toBe(false)
    const noInterrupt = setUp({ features: ['no-async-pf-int'] }).platform
    expect(noInterrupt.wrmsr(0, ASYNC_PF_EN, 0x1009n)).toBe(false)
    expect(noInterrupt.wrmsr(0, ASYNC_PF_EN, 0x1001n)).toBe(true)
    expect(noInterrupt.wrmsr(0, ASYNC_PF_INT, 1n)).toBe(false)
    expect(noInterrupt.rdmsr(0, ASYNC_PF_ACK)).toBeUndefined()
  })
})

describe('control MSRs', () => {
  it('hold one bit; unknown ones are #GP', () => {
    const { platform } = setUp({ features: ['migration-control'] })
    for (const msr of [POLL_CONTROL, MIGRATION_CONTROL]) {
      expect(platform.rdmsr(1, msr)).toBe(1n)
      expect(platform.wrmsr(1, msr, 0n)).toBe(true)
      expect(platform.rdmsr(1, msr)).toBe(0n)
      expect(platform.wrmsr(1, msr, 2n)).toBe(false)
    }
    expect(setUp().platform.rdmsr(0, MIGRATION_CONTROL)).toBeUndefined()
    for (let msr = 0x4b564d09; msr <= 0x4b564dff; msr++) {
      expect(platform.rdmsr(0, msr)).toBeUndefined()
      expect(platform.wrmsr(0, msr, 0n)).toBe(false)
    }
  })

  it('INIT takes the registrations away', () => {
    const { platform, vcpus } = setUp()
    const registered = [SYSTEM_TIME, STEAL_TIME, PV_EOI, ASYNC_PF_EN] as const
    for (const msr of registered) platform.wrmsr(1, msr, 0x1001n)
    platform.wrmsr(1, ASYNC_PF_INT, 0xf3n)
    platform.wrmsr(1, POLL_CONTROL, 0n)
    platform.init(1)
    for (const msr of [...registered, ASYNC_PF_INT]) expect(platform.rdmsr(1, msr)).toBe(0n)
    expect(platform.rdmsr(1, POLL_CONTROL)).toBe(0n)
    expect(vcpus[1]?.assist).toBeUndefined()
  })
})

describe('hypercalls', () => {
  it('kick a vCPU and let it go on', () => {
    const { call, log } = setUp()
    expect(call(0, 5, 0, 2)).toBe(0n)
    expect(log).toEqual(['wake 2', 'yield 2'])
    expect(call(0, 5, 0, 0)).toBe(0n)
    expect(call(0, 5, 0, 4)).toBe(0n)
    expect(log.slice(2)).toEqual(['wake 0'])
    // The id has 32 bits.
    expect(call(0, 5, 0, 0x1_0000_0001n)).toBe(0n)
    expect(log.slice(3)).toEqual(['wake 1', 'yield 1'])
  })

  it('yield to others, not to themselves or nobody', () => {
    const { call, log } = setUp()
    for (const target of [3, 0, 4, 0x1_0000_0001n]) expect(call(0, 11, target)).toBe(0n)
    expect(log).toEqual(['yield 3'])
  })

  it('send interrupts to a mask and count who took them', () => {
    const { call, log, vcpus } = setUp({ vcpus: 6 })
    ;(vcpus[4] as MockVcpu).apicEnabled = false
    expect(call(0, 10, 0b110010n, 0, 0, 0xfb)).toBe(2n)
    expect(log).toEqual(['message 1 0xfb', 'message 5 0xfb'])
    log.length = 0
    expect(call(0, 10, 0b11n, 0, 2, 0x400)).toBe(2n)
    expect(log).toEqual(['message 2 0x400', 'message 3 0x400'])
    log.length = 0
    // Absent ids are passed over, also by a mask that starts behind all of them.
    expect(call(0, 10, ~0n & 0xffff_ffff_ffff_ffffn, ~0n & 0xffff_ffff_ffff_ffffn, 5, 0xfb)).toBe(1n)
    expect(call(0, 10, 1, 1, 6, 0xfb)).toBe(0n)
    // The upper half starts 64 ids later; the sum has 32 bits.
    expect(call(0, 10, 0, 1, 0xffffffc0, 0xfb)).toBe(1n)
    expect(log).toEqual(['message 5 0xfb', 'message 0 0xfb'])
  })

  it('refuse logical destinations and shorthands, and deliver no mode that APICs do not send', () => {
    const { call, log } = setUp()
    for (const icr of [0x8fb, 0x400fb, 0x800fb, 0xc00fb]) expect(call(0, 10, 1, 0, 0, icr)).toBe(-22n)
    for (const icr of [0x2fb, 0x3fb, 0x7fb, 0x80fb]) expect(call(0, 10, 1, 0, 0, icr)).toBe(0n)
    expect(log).toEqual([])
    expect(call(0, 10, 1, 0, 0, 0xc0fb)).toBe(1n)
    expect(log).toEqual(['message 0 0xc0fb'])
  })

  it('do nothing for polling', () => {
    expect(setUp().call(0, 1)).toBe(0n)
  })

  it('have 32 bits outside 64-bit code', () => {
    const { call, log, vcpus } = setUp()
    ;(vcpus[0] as MockVcpu).wide = false
    expect(call(0, 0xffff_0000_0000_000an, 0xffffffff_00000002n, 0, 0, 0xfb)).toBe(1n)
    expect(log).toEqual(['message 1 0xfb'])
    expect(call(0, 10, 1, 0, 0, 0x8fb)).toBe(0xffffffean)
    // The upper half starts 32 ids later.
    expect(call(0, 10, 0, 1, 0xffffffe0, 0xfb)).toBe(1n)
  })

  it('from user mode are not permitted, whatever they are', () => {
    const { call, log, vcpus } = setUp()
    ;(vcpus[0] as MockVcpu).privilege = 3
    for (const number of [1, 5, 9, 10, 11, 99]) expect(call(0, number, 0, 1)).toBe(-1n)
    expect(log).toEqual([])
  })

  it('answer -1000 to the unknown and to what is switched off', () => {
    const { call } = setUp()
    for (const number of [0, 2, 3, 4, 6, 7, 8, 12, 13, 255, 256, 0x1_0000_0005n, -1n])
      expect(call(0, number)).toBe(-1000n)
    const off = setUp({ features: ['no-pv-unhalt', 'no-pv-send-ipi', 'no-pv-sched-yield'] })
    for (const number of [5, 10, 11]) expect(off.call(0, number, 1, 1)).toBe(-1000n)
    expect(off.log).toEqual([])
  })

  it('leave all other registers alone, with either instruction', () => {
    const { platform, vcpus } = setUp()
    const { registers } = vcpus[0] as MockVcpu
    let i = 0n
    for (const name of registers.keys()) registers.set(name, 0x1000n + i++)
    registers.set('rax', 1n)
    const before = new Map(registers)
    for (const instruction of ['vmcall', 'vmmcall'] as const) {
      registers.set('rax', 1n)
      expect(platform.hypercall(0, instruction)).toBe(true)
      expect(registers).toEqual(before.set('rax', 0n))
    }
  })

  it('are told to observers with their arguments and the error by name', () => {
    const { call, events } = setUp()
    call(0, 10, 1, 0, 0, 0x8fb)
    call(0, 11, 3)
    expect(events.map(({ request, args, result }) => [request.name, args, result])).toEqual([
      ['KVM_HC_SEND_IPI', [1n, 0n, 0n, 0x8fbn], 'KVM_EINVAL'],
      ['KVM_HC_SCHED_YIELD', [3n], 0n],
    ])
  })
})

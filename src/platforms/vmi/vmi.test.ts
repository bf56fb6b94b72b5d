/** What VMI's ROM asks of the host, good and bad input. */
import { describe, expect, it } from 'vitest'
import { cpuModel } from '../../cpu/models.ts'
import type { Register } from '../../paravirt/effects.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { vmi, VmiPlatform } from './index.ts'

const STACK = 0x8000
const UPPER = 0xabcd_0000_0000_0000n

function setUp(features: readonly string[] = []) {
  const mock = new Mock({ vcpus: 2, pages: 256 })
  for (const vcpu of mock.vcpus) vcpu.wide = false
  const observer = new Observer(() => mock.effects.time.now())
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const platform = new VmiPlatform({
    effects: mock.effects,
    model: cpuModel('inorder'),
    features: chosenFeatures(vmi, features),
    observer,
  })
  mock.log.length = 0
  const view = new DataView(mock.ram.buffer)
  /** As the ROM does it: the number pushed, above it the return address, then arguments. */
  const call = (number: number, registers: readonly number[] = [], stack: readonly number[] = [], vcpu = 0) => {
    const words = [number, 0x1000, ...stack]
    for (const [i, word] of words.entries()) view.setUint32(STACK + 4 * i, word, true)
    const target = mock.vcpus[vcpu] as MockVcpu
    for (const [i, name] of (['rax', 'rdx', 'rcx'] as const).entries())
      target.registers.set(name, UPPER | BigInt(registers[i] ?? 0))
    target.registers.set('rsp', BigInt(STACK))
    const done = platform.hypercall(vcpu, 'vmcall')
    const low = (name: Register) => mock.effects.cpu.low(vcpu, name)
    return { done, eax: low('rax'), edx: low('rdx'), ecx: low('rcx') }
  }
  return { ...mock, mock, platform, events, call, view }
}

describe('the host', () => {
  it('knows calls by the number on the stack, from ring 0 in 32-bit code', () => {
    const { call, platform, vcpus } = setUp()
    expect(call(66).done).toBe(true)
    expect(call(74).done).toBe(false)
    expect(call(0xffffffff).done).toBe(false)
    expect(platform.hypercall(0, 'vmmcall')).toBe(false)
    vcpus[0].privilege = 3
    expect(call(66).done).toBe(false)
    vcpus[0].privilege = 0
    vcpus[0].wide = true
    expect(call(66).done).toBe(false)
  })

  it('is told of every call by the counting ROM only', () => {
    expect(setUp().call(29).done).toBe(false)
    const { call, events } = setUp(['counting'])
    expect(call(29).done).toBe(true)
    expect(events.map(({ request }) => request.name)).toEqual(['VMI_CALL_EnableInterrupts'])
  })

  it('does nothing with a stack that is no memory', () => {
    const { platform, vcpus } = setUp()
    vcpus[0].registers.set('rsp', 0xfffffffen)
    expect(platform.hypercall(0, 'vmcall')).toBe(false)
  })

  it('resets the machine', () => {
    const { call, log } = setUp()
    call(36, [1])
    expect(log).toEqual(['reset'])
  })
})

describe('time', () => {
  it('has counters of all, available and stolen cycles', () => {
    const { call, mock, vcpus } = setUp()
    expect(call(66)).toMatchObject({ eax: 1_000_000_000, edx: 0 })
    mock.advance(5_000_000_000)
    vcpus[0].stolen = 1_000_000_000
    expect(call(67, [0])).toMatchObject({ eax: 5_000_000_000 % 2 ** 32, edx: 1 })
    expect(call(67, [1])).toMatchObject({ eax: 4_000_000_000, edx: 0 })
    expect(call(67, [2])).toMatchObject({ eax: 1_000_000_000, edx: 0 })
    expect(call(67, [3])).toMatchObject({ eax: 0, edx: 0 })
  })

  it('raises IRQ 0 once when the counter gets there', () => {
    const { call, mock, log } = setUp()
    call(68, [0, 1000, 0], [0, 0])
    mock.advance(999)
    expect(log).toEqual([])
    mock.advance(1)
    expect(log).toEqual(['isa 0'])
    mock.advance(100_000)
    expect(log).toEqual(['isa 0'])
    expect(call(69, [0]).eax).toBe(0)
  })

  it('raises the interrupt of the LVT timer register, unless it is masked', () => {
    const { call, mock, log, vcpus } = setUp()
    vcpus[1].apic.set(0x320, 0x31)
    call(68, [0x10000, 1000, 0], [0, 0], 1)
    mock.advance(1000)
    expect(log.splice(0)).toEqual(['post 1 0x31'])
    vcpus[1].apic.set(0x320, 0x10031)
    call(68, [0x10000, 0, 0], [0, 0], 1)
    mock.advance(1000)
    expect(log).toEqual([])
  })

  it('comes again and again; missed periods are one interrupt', () => {
    const { call, mock, log } = setUp()
    call(68, [0x100, 1_000_000, 0], [1_000_000, 0])
    mock.advance(3_000_000)
    expect(log.splice(0)).toEqual(['isa 0', 'isa 0', 'isa 0'])
    mock.stall(10_500_000)
    expect(log.splice(0)).toEqual(['isa 0'])
    mock.advance(500_000)
    expect(log.splice(0)).toEqual(['isa 0'])
    expect(call(69, [0x100]).eax).toBe(1)
    mock.advance(10_000_000)
    expect(log).toEqual([])
  })

  it('without a period is once, even if it says that it is periodic', () => {
    const { call, mock, log } = setUp()
    call(68, [0x100, 10, 0], [0, 0])
    mock.advance(100_000)
    expect(log).toEqual(['isa 0'])
  })

  it('waits for cycles that the vCPU could use', () => {
    const { call, mock, log, vcpus } = setUp()
    call(68, [1, 1_000_000, 0], [0, 0])
    vcpus[0].stolen = 400_000
    mock.advance(1_000_000)
    expect(log).toEqual([])
    mock.advance(400_000)
    expect(log).toEqual(['isa 0'])
  })

  it('has no alarm on other counters', () => {
    const { call, mock, log, events } = setUp()
    call(68, [2, 0, 0], [0, 0])
    mock.advance(1_000_000)
    expect(log).toEqual([])
    expect(events[0].result).toBe('no counter')
    expect(call(69, [2]).eax).toBe(0)
  })

  it('tells the time of day', () => {
    const { call } = setUp()
    const { eax, edx } = call(70)
    expect((BigInt(edx) << 32n) | BigInt(eax)).toBe(BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n)
    expect(call(71, [7]).eax).toBe(0)
  })
})

describe('page tables', () => {
  it.each([
    [[0x80, 0x51, 0], [0, 0], 0n],
    [[0x80, 0x72, 0x81], [512, 512], 0n],
    [[0x80, 0x72, 0x81], [512, 513], 'bad flags'],
    [[0x80, 0x72, 0x100], [512, 512], 'no page'],
    [[0x80, 0x50, 0], [0, 0], 'bad flags'],
    [[0x80, 0x53, 0], [0, 0], 'bad flags'],
    [[0x80, 0xd1, 0], [0, 0], 'bad flags'],
    [[0x100, 0x51, 0], [0, 0], 'no page'],
  ])('AllocatePage %j %j: %s', (registers, stack, result) => {
    const { call, events } = setUp()
    expect(call(44, registers, stack).done).toBe(true)
    expect(events[0].result).toBe(result)
  })

  it('are released once', () => {
    const { call, events } = setUp()
    call(44, [0x80, 0x51, 0], [0, 0])
    call(45, [0x80, 0x51])
    call(45, [0x80, 0x51])
    call(45, [0x80, 0])
    expect(events.map(({ result }) => result)).toEqual([0n, 0n, 'no table', 'bad flags'])
  })
})

describe('local APIC', () => {
  it('has registers by offset or by address', () => {
    const { call, vcpus } = setUp()
    call(63, [0xfee00080, 0x20], [], 1)
    expect(vcpus[1].apic.get(0x80)).toBe(0x20)
    expect(call(64, [0x80], [], 1).eax).toBe(0x20)
  })
})

describe('IRET', () => {
  it('stands at the call, and selectors that went well are native from then on', () => {
    const { call, log, vcpus, ram } = setUp()
    const before = ram.slice(0xc8000, 0xcb000)
    const changed = () => before.reduce((n, byte, i) => n + Number(byte !== ram[0xc8000 + i]), 0)
    expect(call(33).done).toBe('again')
    expect(log).toEqual(['iret 0 0xffb 0x8008'])
    expect(changed()).toBe(0)
    vcpus[0].iret?.(0x64, 0)
    expect(changed()).toBe(0)
    vcpus[0].iret?.(0x60, 0)
    expect(changed()).toBe(2)
    vcpus[0].iret?.(0x73, 0x7b)
    expect(changed()).toBe(6)
  })
})

describe('start of a processor', () => {
  const GDT = 0x3000
  const STATE = 0x4000
  function started(change: (state: DataView) => void = () => {}, from = STATE) {
    const { call, platform, view, log, mock } = setUp()
    const descriptors = [0n, 0x00cf9a000000ffffn, 0x00cf92000000ffffn, 0x1040921234560067n]
    for (const [i, descriptor] of descriptors.entries()) view.setBigUint64(GDT + 8 * i, descriptor, true)
    const state = new DataView(mock.ram.buffer, STATE, 92)
    state.setUint32(0, 0x80050023, true)
    state.setUint32(8, 0x1000, true)
    state.setUint32(24, 0xc0100000, true)
    for (const [offset, selector] of [
      [64, 8],
      [66, 16],
      [68, 16],
      [70, 16],
      [72, 24],
    ] as const)
      state.setUint16(offset, selector, true)
    state.setUint16(78, 31, true)
    state.setUint32(80, GDT, true)
    change(state)
    call(62, [from, 1])
    state.setUint32(24, 0, true) // it is on the caller's stack, which goes on
    return { began: platform.start(1), log, entered: mock.vcpus[1].entered }
  }

  it('begins in the state given', () => {
    const { began, log, entered } = started()
    expect(began).toBe(true)
    expect(log).toEqual(['enter 1 0xc0100000'])
    expect(entered?.segments?.fs).toEqual({ selector: 24, base: 0x10123456, limit: 0x67, attributes: 0x492 })
    expect(entered?.cs).toEqual({ selector: 8, base: 0, limit: 0xffffffff, attributes: 0xc9a })
  })

  it.each<[string, (state: DataView) => void, number?]>([
    ['real mode', (state) => state.setUint32(0, 0x60000010, true)],
    ['a selector past the table', (state) => state.setUint16(72, 32, true)],
    ['a selector of the LDT', (state) => state.setUint16(72, 28, true)],
    ['a table that is no memory', (state) => state.setUint32(80, 0xf0000000, true)],
    ['a state that is no memory', () => {}, 0xfffffff0],
  ])('in real mode after a bad state: %s', (_, change, from) => {
    const { began, log } = started(change, from)
    expect(began).toBe(false)
    expect(log).toEqual([])
  })

  it('in real mode without a state', () => {
    expect(setUp().platform.start(1)).toBe(false)
  })
})

/** Xen PV of 32 bits without a processor: hypercalls with their narrow structures, vcpu_guest_context, CPUID. */
import { beforeEach, describe, expect, test } from 'vitest'
import { cpuid, cpuModel } from '../../../cpu/models.ts'
import { Mock } from '../../../paravirt/mock.ts'
import { Observer } from '../../../paravirt/observe.ts'
import { pvFrames } from '../mm/create.ts'
import { ENTRIES, PRESENT } from '../mm/entries.ts'
import { TYPE, Type } from '../mm/frame-table.ts'
import { NARROW_CONTEXT_BYTES } from './context32.ts'
import { XenPvPlatform } from './index.ts'
import type { PvKind } from './kind.ts'

const MEMORY = 0x200000
const PAGE = 4096
const AREA = 0x1000
const HANDLER = 0xc100_0000
const XEN = 0xf580_0000

let mock: Mock
let platform: XenPvPlatform
let kind: PvKind
let own: number[]
const make = (model: 'inorder' | 'amd' = 'inorder') => {
  mock = new Mock({ vcpus: 2, pages: MEMORY / PAGE, frames: pvFrames(MEMORY) })
  for (const vcpu of mock.vcpus) {
    vcpu.wide = false
    vcpu.privilege = 1
  }
  platform = new XenPvPlatform(
    { effects: mock.effects, model: cpuModel(model), features: new Set(), observer: new Observer(() => 0) },
    true,
  )
  kind = platform.domain.kind as PvKind
  kind.mm.frames.maximum = 64
  own = Array.from({ length: 16 }, () => kind.mm.frames.allocate(0))
  mock.log.length = 0
}
beforeEach(() => make())

const pv = () => mock.effects.pv
const hypercall = (number: number, ...args: number[]): number => {
  const names = ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'] as const
  mock.effects.cpu.setRegister(0, 'rax', BigInt(number))
  names.forEach((name, i) => mock.effects.cpu.setRegister(0, name, BigInt((args[i] ?? 0) >>> 0)))
  expect(platform.pv.hypercall(0)).toBe('done')
  return Number(BigInt.asIntN(32, mock.effects.cpu.register(0, 'rax')))
}
const put = (at: number, ...values: number[]) =>
  values.forEach((value, i) => mock.view.setUint32(at + 4 * i, value, true))
const read = (at: number) => mock.view.getUint32(at, true)
const frame = (index: number): number => own[index] as number

describe('traps and callbacks', () => {
  test('set_trap_table has entries of 8 bytes, with selectors of ring 1 at least', () => {
    put(AREA, 14 | (4 << 8) | (0xe018 << 16), HANDLER, 3 | (3 << 8) | (0x73 << 16), 0x1000, 9, 0)
    expect(hypercall(0, AREA)).toBe(0)
    expect([14, 3, 9].map((vector) => pv().trap(0, vector))).toEqual([
      { flags: 4, cs: 0xe019, address: BigInt(HANDLER) },
      { flags: 3, cs: 0x73, address: 0x1000n },
      { flags: 0, cs: 0, address: 0n },
    ])
    expect(hypercall(0, XEN)).toBe(-14)
  })

  test('callbacks have a selector each', () => {
    const register = (type: number, cs = 0x60) => {
      put(AREA, type | (1 << 16), cs, HANDLER + type)
      return hypercall(30, 0, AREA)
    }
    expect([0, 1, 5, 7, 2, 3].map((type) => register(type))).toEqual([0, 0, 0, 0, -38, -38])
    expect((['event', 'failsafe', 'sysenter', 'syscall32'] as const).map((name) => pv().wide(0, name))).toEqual(
      [0, 1, 5, 7].map((type) => BigInt(HANDLER + type)),
    )
    const selectors = ['eventCs', 'failsafeCs', 'sysenterCs', 'syscall32Cs'] as const
    expect(selectors.map((name) => pv().word(0, name))).toEqual([0x61, 0x61, 0x61, 0x61])
    expect([register(4), pv().trap(0, 2)]).toEqual([0, { flags: 4, cs: 0xe019, address: BigInt(HANDLER + 4) }])
  })

  test('only the one for NMIs can be taken away; a command that there is none of is -EINVAL', () => {
    const unregister = (type: number) => {
      put(AREA, type)
      return hypercall(30, 1, AREA)
    }
    expect([4, 0, 1, 5, 7, 2, 9].map(unregister)).toEqual([0, -22, -22, -22, -22, -38, -38])
    expect([hypercall(30, 2, AREA), hypercall(28, 2, AREA)]).toEqual([-22, -38])
  })

  test('set_callbacks and nmi_op', () => {
    expect(hypercall(4, 0x61, HANDLER, 0x62, HANDLER + 1)).toBe(0)
    expect([pv().wide(0, 'event'), pv().word(0, 'failsafeCs'), pv().wide(0, 'failsafe')]).toEqual([
      BigInt(HANDLER),
      0x62,
      BigInt(HANDLER + 1),
    ])
    put(AREA, HANDLER, 0)
    expect([hypercall(28, 0, AREA), pv().trap(0, 2).cs]).toEqual([0, 0xe019])
  })
})

describe('descriptors and registers', () => {
  test('set_gdt has frames of 4 bytes', () => {
    put(AREA, frame(0), frame(1))
    expect(hypercall(2, AREA, 600)).toBe(0)
    expect(mock.log.at(-1)).toBe(`gdt 0 0x${frame(0).toString(16)} 0x${frame(1).toString(16)} 600`)
    expect((kind.mm.frames.types[frame(0)] as number) & TYPE).toBe(Type.SEG_DESC)
  })

  test('update_descriptor has address and descriptor in two words each', () => {
    const at = frame(3) * PAGE + 8
    expect(hypercall(10, at, 0, 0x0000ffff, 0x00cf9b00)).toBe(0)
    expect([read(at), read(at + 4)]).toEqual([0x0000ffff, 0x00cfbb00])
    expect([hypercall(10, at, 1, 0, 0), hypercall(10, at, 0, 0x67, 0x00008900)]).toEqual([-22, -22])
  })

  test('set_segment_base does not exist', () => expect(hypercall(25, 0, 0x1000)).toBe(-38))

  test('debug registers have 32 bits; Xen minds its 64-bit addresses only', () => {
    expect([hypercall(8, 0, XEN), hypercall(9, 0)]).toEqual([0, XEN | 0])
  })

  test('ports of user code: not by a bitmap in Xen', () => {
    put(AREA, XEN, 8)
    expect(hypercall(33, 7, AREA)).toBe(-22)
    put(AREA, 0x3000, 8)
    expect([hypercall(33, 7, AREA), pv().wide(0, 'iobmp')]).toEqual([0, 0x3000n])
  })
})

test('PHYSDEVOP_pirq_eoi_gmfn has a frame number of 4 bytes', () => {
  put(AREA, frame(2), 0xffffffff)
  expect([hypercall(33, 28, AREA), hypercall(33, 28, AREA)]).toEqual([0, -16])
})

describe('memory_op', () => {
  test('the machine-to-physical table, as entries of 4 bytes below 0xffe00000', () => {
    expect(hypercall(12, 12, AREA)).toBe(0)
    expect([read(AREA), read(AREA + 4), read(AREA + 8)]).toEqual([XEN, 0xffe00000, (0xffe00000 - XEN) / 4 - 1])
    put(AREA, 4, AREA + 64, 0)
    expect([hypercall(12, 5, AREA), read(AREA + 8), read(AREA + 64)]).toEqual([0, 1, kind.mm.frames.m2p])
  })

  test('lists of frames have 4 bytes each', () => {
    const [a, b] = [frame(4), frame(5)]
    put(AREA + 64, a, b)
    put(AREA, AREA + 64, 2, 0, 0, 0x7ff0)
    expect(hypercall(12, 1, AREA)).toBe(2)
    expect([kind.mm.frames.isOwn(a), kind.mm.frames.isOwn(b)]).toEqual([false, false])
    put(AREA + 64, 0x55, 0x56)
    expect(hypercall(12, 6, AREA)).toBe(2)
    const got = [read(AREA + 64), read(AREA + 68)]
    expect(got.map((mfn) => kind.mm.frames.pfnOf(mfn))).toEqual([0x55, 0x56])
  })

  test('exchange', () => {
    const a = frame(6)
    put(AREA + 64, a)
    put(AREA + 68, 0x77)
    // Two reservations of 20 bytes, and what is done.
    put(AREA, AREA + 64, 1, 0, 0, 0x7ff0, AREA + 68, 1, 0, 0, 0x7ff0, 0)
    expect(hypercall(12, 11, AREA)).toBe(0)
    expect([read(AREA + 40), kind.mm.frames.pfnOf(read(AREA + 68))]).toEqual([1, 0x77])
  })
})

test('multicall has entries of 32 bytes; vm_assist none above 31; capabilities name the interface', () => {
  put(AREA, 21, 0, 0, 4, 0, 0, 0, 0, 21, 0, 0, 32, 0, 0, 0, 0)
  expect(hypercall(13, AREA, 2)).toBe(0)
  expect([read(AREA + 4), read(AREA + 36) | 0, pv().word(0, 'assist')]).toEqual([0, -22, 16])
  expect(hypercall(17, 3, AREA)).toBe(0)
  expect(new TextDecoder().decode(mock.ram.subarray(AREA, AREA + 31))).toBe('xen-3.0-x86_64 xen-3.0-x86_32p ')
  expect([hypercall(17, 5, AREA), read(AREA)]).toEqual([0, XEN])
})

describe('VCPUOP_initialise', () => {
  const CONTEXT = 0x10000
  /** As Linux fills it, with an L3 table whose last L2 table is empty. */
  const fill = () => {
    for (let at = 0; at < NARROW_CONTEXT_BYTES; at += 4) put(CONTEXT + at, 0)
    put(CONTEXT + 0x224, HANDLER, 0xe018, 0x1000, 0x9000, 0xe021, 0x7b, 0x7b, 0xd8, 0)
    put(CONTEXT + 0xa50, frame(0))
    put(CONTEXT + 0xa90, 32, 0xe020, 0xa000, 8)
    put(CONTEXT + 0xaa8, frame(1) * PAGE)
    put(CONTEXT + 0x248 + 14 * 8, 14 | (4 << 8) | (0x60 << 16), HANDLER)
    put(CONTEXT + 0xadc, 0x60, HANDLER, 0x60, HANDLER + 1)
    for (let slot = 0; slot < ENTRIES; slot++) mock.effects.memory.storePair(frame(1) * 1024 + 2 * slot, 0, 0)
    mock.effects.memory.storePair(frame(1) * 1024 + 6, frame(2) * PAGE + PRESENT, 0)
  }
  const initialise = () => hypercall(24, 0, 1, CONTEXT)

  test('the vCPU begins as it says, in ring 1', () => {
    fill()
    mock.effects.cpu.park(1)
    expect([initialise(), hypercall(24, 3, 1)]).toEqual([0, 0])
    expect([pv().word(1, 'kernelSs'), pv().wide(1, 'kernelSp'), pv().word(1, 'eventCs')]).toEqual([
      0xe021,
      0xa000n,
      0x61,
    ])
    expect([pv().trap(1, 14), kind.mm.kernelRoots[1]]).toEqual([
      { flags: 4, cs: 0x61, address: BigInt(HANDLER) },
      frame(1),
    ])
    mock.log.length = 0
    expect(hypercall(24, 1, 1)).toBe(0)
    expect(mock.log[0]).toBe(`begin 1 0x${HANDLER.toString(16)}`)
  })

  test('an LDT in Xen is not refused, but never found', () => {
    fill()
    mock.effects.cpu.park(1)
    put(CONTEXT + 0xa48, XEN, 16)
    expect([initialise(), hypercall(24, 1, 1)]).toEqual([0, 0])
    expect(platform.pv.ldt(1, 0)).toBe(0)
  })

  test.each([
    ['an LDT that is not aligned', 0xa48, 8],
    ['an LDT that is too large', 0xa4c, 8193],
    ['a GDT that is too large', 0xa90, 8193],
    ['a GDT of another’s frames', 0xa50, 5],
    ['a page table that is none of its own', 0xaa8, 0x5000],
    ['a page table above 4 GiB that there is none of', 0xaa8, 0x5001],
  ])('refuses %s', (_name, offset, value) => {
    fill()
    mock.effects.cpu.park(1)
    put(CONTEXT + offset, value)
    expect(initialise()).toBe(-22)
    expect([kind.mm.frames.typeRefs[frame(0)], kind.mm.kernelRoots[1]]).toEqual([0, 0])
  })
})

test('CPUID: no long mode; SYSCALL only on AMD’s processor', () => {
  const extended = (model: 'inorder' | 'amd') => {
    make(model)
    const state = { apicId: 0, vcpus: 2, osxsave: false, apicEnabled: true }
    return platform.cpuid(0, 0x80000001, 0, cpuid(cpuModel(model), 0x80000001, 0, state))[3]
  }
  expect([(extended('inorder') >>> 29) & 1, (extended('inorder') >>> 11) & 1]).toEqual([0, 0])
  expect([(extended('amd') >>> 29) & 1, (extended('amd') >>> 11) & 1]).toEqual([0, 1])
})

test('shared_info has the layout of 32 bits', () => {
  expect([platform.domain.wideInfo, kind.mayAccess(XEN - 1, 0), kind.mayAccess(XEN, 0)]).toEqual([false, true, false])
})

test('hypercalls of older guests: the union follows the command at once', () => {
  put(AREA, 6, 0x7ff0, 0)
  expect([hypercall(16, AREA), read(AREA + 8)]).toEqual([0, 1])
  put(AREA, 6, 2)
  expect([hypercall(19, AREA), pv().word(0, 'iopl')]).toEqual([0, 0x2000])
  put(AREA, 7, 0x3000, 8)
  expect([hypercall(19, AREA), pv().wide(0, 'iobmp')]).toEqual([0, 0x3000n])
  const end = mock.ram.length
  put(end - 16, 6, 1)
  expect([hypercall(19, end - 16), hypercall(19, end - 12), hypercall(16, end - 24)]).toEqual([0, -14, -14])
})

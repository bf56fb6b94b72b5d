/** Hypercalls of a PVH guest: what each answers to good and to bad input. */
import { describe, expect, test } from 'vitest'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { BUFFER, LIST, NOWHERE, setUp } from '../testing.ts'

const SELF = DOMID.SELF
const UNKNOWN = 9
const PAGE = 4096
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))

describe('the call itself', () => {
  test('by the processor’s own instruction, in kernel mode', () => {
    const guest = setUp()
    expect(guest.platform.hypercall(0, 'vmmcall')).toBe(false)
    expect(setUp({ cpu: 'amd' }).raw(17, [0])).toBe(0x40011)
    guest.vcpu(0).privilege = 3
    expect(guest.raw(17, [0])).toBe('EPERM')
    guest.vcpu(0).protectedMode = false
    expect(guest.raw(17, [0])).toBe(0x40011)
  })

  test('numbers that are none, and PV’s', () => {
    const { raw } = setUp()
    for (const number of [0, 1, 2, 3, 4, 5, 8, 9, 10, 14, 22, 23, 25, 28, 30, 43, 64, 4000, 1n << 40n])
      expect([number, raw(number, [])]).toEqual([number, 'ENOSYS'])
  })

  test('32-bit code has its own registers and results of 32 bits', () => {
    const guest = setUp()
    guest.vcpu(0).wide = false
    expect(guest.raw(17, [0])).toBe(0x40011)
    expect(guest.op('XENVER_get_features', { submap_idx: 1 }).answer).toBe('EINVAL')
    expect(guest.vcpu(0).registers.get('rax')).toBe(0xffffffean)
  })
})

describe('xen_version', () => {
  test('texts', () => {
    const { op, bytes } = setUp()
    const at = (name: string, length: number, offset = 0) => {
      expect(op(name).answer).toBe(0)
      return text(bytes(BUFFER + offset, length))
    }
    expect(at('XENVER_extraversion', 16)).toBe('.7')
    expect(at('XENVER_capabilities', 1024)).toBe('xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ')
    expect(at('XENVER_changeset', 64)).toBe('')
    expect(at('XENVER_commandline', 10)).toBe('<denied>')
    expect(at('XENVER_compile_info', 32, 80)).toBe('lists.alioth.debian.org')
    expect(op('XENVER_extraversion', {}, { at: NOWHERE }).answer).toBe('EFAULT')
  })

  test('numbers', () => {
    const { op, raw, view, bytes, domain } = setUp()
    expect(op('XENVER_get_features', { submap_idx: 0 }).out['submap']).toBe(0x12305n)
    expect(op('XENVER_platform_parameters').answer).toBe(0)
    expect(view.getBigUint64(BUFFER, true)).toBe(0xffff800000000000n)
    expect([raw(17, [7, 0]), raw(17, [7, BUFFER]), raw(17, [10, BUFFER]), raw(17, [11, 0])]).toEqual([
      PAGE,
      'EINVAL',
      'EPERM',
      'ENOSYS',
    ])
    expect(op('XENVER_guest_handle').answer).toBe(0)
    expect(bytes(BUFFER, 16)).toEqual(domain.uuid)
  })
})

describe('memory_op', () => {
  test('numbers about the domain', () => {
    const { op } = setUp({ pages: 256 })
    const about = (name: string, domid: number) => op(name, { domid }).answer
    expect(about('XENMEM_current_reservation', SELF)).toBe(256)
    expect(about('XENMEM_maximum_reservation', DOMU)).toBe(256 + 288)
    expect(about('XENMEM_maximum_gpfn', SELF)).toBe(255)
    expect([about('XENMEM_maximum_gpfn', DOM0), about('XENMEM_maximum_gpfn', UNKNOWN)]).toEqual(['EPERM', 'ESRCH'])
    expect(op('XENMEM_maximum_ram_page').answer).toBe(512)
  })

  test('bits above the command are where long operations go on', () => {
    const { raw } = setUp()
    const answers = (number: number, at: number, commands: readonly number[]) =>
      commands.map((command) => raw(12, [number * 64 + command, at]))
    const all = (answer: string, count: number) => Array.from({ length: count }, () => answer)
    // Before the structure is looked at.
    expect(answers(1, NOWHERE, [2, 3, 4, 14, 15, 24, 26, 27])).toEqual(all('EINVAL', 8))
    expect(answers(2 ** 40, NOWHERE, [2, 3, 4, 14, 15, 24, 26, 27])).toEqual(all('EINVAL', 8))
    expect(answers(0x10000, NOWHERE, [7, 23])).toEqual(all('EDOM', 2))
    expect(answers(2 ** 26, NOWHERE, [7, 23])).toEqual(all('EDOM', 2))
    expect(answers(1, NOWHERE, [5, 9, 10, 12, 13, 16, 17, 18, 19, 25])).toEqual(all('ENOSYS', 10))
    expect(answers(1, NOWHERE, [21])).toEqual(['EFAULT'])
  })

  test('bits above the command of 32-bit guests', () => {
    const guest = setUp()
    guest.vcpu(0).wide = false
    const answers = (at: number, commands: readonly number[]) =>
      commands.map((command) => guest.raw(12, [0x20000 * 64 + command, at]))
    expect(answers(NOWHERE, [2, 3, 4, 14, 27])).toEqual(Array.from({ length: 5 }, () => 'EINVAL'))
    expect(answers(NOWHERE, [7, 15, 23, 26, 24, 5, 9, 13, 16, 18, 25])).toEqual([
      ...Array.from({ length: 4 }, () => 'EFAULT'),
      ...Array.from({ length: 7 }, () => 'ENOSYS'),
    ])
    guest.view.setUint16(BUFFER, SELF, true)
    expect(answers(BUFFER, [7, 15, 23, 26])).toEqual(['EDOM', 'EINVAL', 'EDOM', 'EINVAL'])
  })

  const reservation = (count: number, order = 0, domid: number = SELF) => ({
    extent_start: LIST,
    nr_extents: count,
    extent_order: order,
    domid,
  })
  const change = (guest: ReturnType<typeof setUp>, name: string, values: Record<string, number>, at = BUFFER) => {
    const f = { extent_start: 0, nr_extents: 8, extent_order: 16, mem_flags: 20, domid: 24 }
    for (const [key, offset] of Object.entries(f)) {
      if (offset < 16) guest.view.setBigUint64(BUFFER + offset, BigInt(values[key] ?? 0), true)
      else if (key === 'domid') guest.view.setUint16(BUFFER + offset, values[key] ?? 0, true)
      else guest.view.setUint32(BUFFER + offset, values[key] ?? 0, true)
    }
    const numbers: Record<string, number> = { increase: 0, decrease: 1, populate: 6 }
    return guest.raw(12, [numbers[name] as number, at])
  }

  test('pages go and come back empty', () => {
    const guest = setUp()
    const { words, mock, view, op } = guest
    words(LIST, 100, 101, 102)
    view.setUint32(101 * PAGE, 0x1234, true)
    expect(change(guest, 'decrease', reservation(3))).toBe(3)
    expect([100, 101, 102].map((frame) => mock.effects.memory.kind(frame))).toEqual(['none', 'none', 'none'])
    expect(op('XENMEM_current_reservation', { domid: SELF }).answer).toBe(253)
    expect(change(guest, 'decrease', reservation(3))).toBe(0)
    expect(change(guest, 'populate', reservation(2))).toBe(2)
    expect([mock.effects.memory.kind(101), view.getUint32(101 * PAGE, true)]).toEqual(['ram', 0])
    words(LIST, 300)
    expect(change(guest, 'populate', reservation(1))).toBe(1)
    expect(op('XENMEM_maximum_gpfn', { domid: SELF }).answer).toBe(300)
  })

  test('not more than there may be, nor where nothing can be', () => {
    const guest = setUp()
    guest.words(LIST, 300)
    expect(change(guest, 'populate', reservation(1, 10))).toBe(0)
    expect(change(guest, 'populate', reservation(1, 0, DOM0))).toBe(0)
    expect(change(guest, 'populate', reservation(1), NOWHERE)).toBe(0)
    guest.words(LIST, 511)
    expect(change(guest, 'populate', reservation(1))).toBe(0)
    guest.words(LIST, 1n << 60n)
    expect(change(guest, 'populate', reservation(1))).toBe(0)
    expect(change(guest, 'increase', { ...reservation(1, 8), extent_start: 0 })).toBe(1)
    expect(change(guest, 'increase', { ...reservation(1, 8), extent_start: 0 })).toBe(0)
  })

  test('a long list in slices', () => {
    const guest = setUp({ pages: 1024 })
    const { view, mock } = guest
    for (let i = 0; i < 700; i++) view.setBigUint64(0x10000 + 8 * i, BigInt(200 + i), true)
    expect(change(guest, 'decrease', { ...reservation(700), extent_start: 0x10000 })).toBe('again')
    expect(guest.again()).toBe(700)
    expect(mock.effects.memory.kind(899)).toBe('none')
  })

  test('the map', () => {
    const guest = setUp()
    guest.view.setBigUint64(LIST, 0x1000n, true)
    guest.view.setBigUint64(LIST + 8, 0x2000n, true)
    guest.view.setUint32(LIST + 16, 2, true)
    expect(guest.op('XENMEM_set_memory_map', { domid: SELF, nr_entries: 1, buffer: LIST }).answer).toBe(0)
    expect(guest.op('XENMEM_set_memory_map', { domid: DOM0, nr_entries: 1, buffer: LIST }).answer).toBe('EPERM')
    expect(guest.op('XENMEM_set_memory_map', { domid: SELF, nr_entries: 1025, buffer: LIST }).answer).toBe('EINVAL')
    expect(guest.op('XENMEM_memory_map', { nr_entries: 128, buffer: LIST + 0x100 })).toMatchObject({
      answer: 0,
      out: { nr_entries: 1n },
    })
    expect(guest.bytes(LIST + 0x100, 20)).toEqual(guest.bytes(LIST, 20))
    expect(guest.op('XENMEM_memory_map', { nr_entries: 1, buffer: NOWHERE }).answer).toBe('EFAULT')
    expect(guest.op('XENMEM_set_memory_map', { domid: SELF, nr_entries: 0, buffer: NOWHERE }).answer).toBe(0)
    expect(guest.op('XENMEM_memory_map', { nr_entries: 1, buffer: LIST }).answer).toBe('ENOSYS')
  })

  test('the guest-physical map', () => {
    const guest = setUp()
    const { op, domain, view, mock } = guest
    const add = (space: number, idx: number, gpfn: number | bigint, domid: number = SELF) =>
      op('XENMEM_add_to_physmap', { domid, space, idx, gpfn }).answer
    const before = op('XENMEM_current_reservation', { domid: SELF }).answer as number
    expect(add(0, 0, 50)).toBe(0)
    expect([domain.sharedInfo.frame, op('XENMEM_current_reservation', { domid: SELF }).answer]).toEqual([
      50,
      before - 1,
    ])
    expect(view.getUint32(50 * PAGE + 0xc00, true) % 2).toBe(0)
    view.setUint32(51 * PAGE, 0x77, true)
    expect(add(2, 51, 52)).toBe(0)
    expect([view.getUint32(52 * PAGE, true), mock.effects.memory.kind(51)]).toEqual([0x77, 'none'])
    expect([add(2, 51, 53), add(0, 1, 53), add(4, 0, 53), add(5, 0, 53), add(9, 0, 53)]).toEqual([
      'EINVAL',
      'EINVAL',
      'ENOSYS',
      'EACCES',
      'EINVAL',
    ])
    expect([add(0, 0, 53, DOM0), add(0, 0, 53, UNKNOWN), add(0, 0, (1n << 64n) - 1n), add(0, 0, 511)]).toEqual([
      'EACCES',
      'ESRCH',
      'EINVAL',
      'EINVAL',
    ])
    const remove = (gpfn: number, domid: number = SELF) => op('XENMEM_remove_from_physmap', { domid, gpfn }).answer
    expect([remove(50), remove(50), remove(54, DOM0), remove(54, UNKNOWN)]).toEqual([0, 'ENOENT', 'EACCES', 'ESRCH'])
    expect(domain.sharedInfo.frame).toBe(domain.sharedInfo.home)
    expect(op('XENMEM_add_to_physmap', { domid: SELF, space: 3, size: 2, idx: 60, gpfn: 70 }).answer).toBe(0)
    expect(['none', 'none', 'ram', 'ram']).toEqual([60, 61, 70, 71].map((frame) => mock.effects.memory.kind(frame)))
  })
})

describe('hvm_op', () => {
  const param = (guest: ReturnType<typeof setUp>, index: number, value?: number | bigint, domid: number = SELF) =>
    guest.op(value === undefined ? 'HVMOP_get_param' : 'HVMOP_set_param', { domid, index, value: value ?? 0 })

  test('parameters', () => {
    const guest = setUp()
    expect(param(guest, 34, 5).answer).toBe(0)
    expect(param(guest, 34).out['value']).toBe(5n)
    expect(
      [param(guest, 1, 5), param(guest, 5), param(guest, 4), param(guest, 39), param(guest, 19, 1)].map(
        (each) => each.answer,
      ),
    ).toEqual(['EPERM', 'EPERM', 'EINVAL', 'EINVAL', 'ENODEV'])
    expect([param(guest, 0, 5, DOM0).answer, param(guest, 0, undefined, UNKNOWN).answer]).toEqual(['EINVAL', 'ESRCH'])
    expect([param(guest, 36, 3).answer, param(guest, 36, 4).answer]).toEqual(['EINVAL', 0])
  })

  test('a bad task state segment is the guest’s end', () => {
    const guest = setUp()
    expect(param(guest, 37, 5n).answer).toBe('EINVAL')
    expect(guest.done()).toEqual(['crash HVMOP_set_param: a bad task state segment (0x5)'])
    expect(param(guest, 15, 0x3000).answer).toBe(0)
    expect(param(guest, 37).out['value']).toBe((128n << 32n) | 0x3000n)
    expect(param(guest, 15).out['value']).toBe(0x3000n)
  })

  test('the callback by vector comes past the local APIC, as long as something is pending', () => {
    const guest = setUp()
    guest.op('VCPUOP_register_vcpu_info', { mfn: 30, offset: 64 }, { args: [0, BUFFER] })
    guest.words(BUFFER, 30, 64)
    guest.raw(24, [10, 0, BUFFER])
    guest.done()
    expect(param(guest, 0, (2n << 56n) | 0xf3n).answer).toBe(0)
    expect(guest.done()).toEqual(['pull 0'])
    expect(guest.vcpu(0).line?.()).toBe(0xf3)
    guest.view.setUint8(guest.info(0), 0)
    expect(guest.vcpu(0).line?.()).toBe(-1)
  })

  test('the upcall’s vector, now and when the local APIC comes on', () => {
    const guest = setUp()
    const set = (vcpu: number, vector: number) => guest.op('HVMOP_set_evtchn_upcall_vector', { vcpu, vector }).answer
    expect([set(0, 15), set(4, 16)]).toEqual(['EINVAL', 'ENOENT'])
    expect(set(1, 0xf3)).toBe(0)
    expect(guest.done()).toEqual(['post 1 0xf3'])
    guest.vcpu(1).apicEnabled = false
    guest.op('EVTCHNOP_bind_ipi', { vcpu: 1 })
    guest.op('EVTCHNOP_send', { port: 1 })
    expect(guest.done()).toEqual([])
    guest.vcpu(1).onEnabled?.()
    expect(guest.done()).toEqual(['post 1 0xf3'])
  })

  test('others', () => {
    const { op, raw, mock, done } = setUp()
    expect([raw(34, [24, 0]), raw(34, [24, BUFFER]), raw(34, [25, NOWHERE]), raw(34, [(1n << 32n) | 24n, 0])]).toEqual([
      0,
      'EINVAL',
      'EOPNOTSUPP',
      'ENOSYS',
    ])
    const trace = (event: number, extra_bytes: number) => op('HVMOP_xentrace', { event, extra_bytes }).answer
    expect([trace(0xfff, 28), trace(1, 29), trace(0x1000, 0)]).toEqual([0, 'EINVAL', 'EINVAL'])
    expect([raw(34, [5, 0]), raw(34, [5, BUFFER]), raw(34, [2, BUFFER])]).toEqual([0, 'EINVAL', 'ENOSYS'])
    expect(done().filter((line) => line.startsWith('flush'))).toHaveLength(4)
    mock.advance(1234)
    expect(op('HVMOP_get_time').out['now']).toBe(1234n)
    expect(op('HVMOP_get_mem_type', { domid: SELF, pfn: 5 }).out['mem_type']).toBe(0n)
    expect(op('HVMOP_get_mem_type', { domid: SELF, pfn: 5000 }).out['mem_type']).toBe(2n)
    const dying = (domid: number) => op('HVMOP_pagetable_dying', { domid }).answer
    expect([dying(SELF), dying(DOM0), dying(UNKNOWN)]).toEqual(['EINVAL', 'EOPNOTSUPP', 'ESRCH'])
  })
})

describe('sched_op', () => {
  test('yield, block, ends', () => {
    const { op, raw, done } = setUp()
    expect([raw(29, [0]), raw(29, [1]), raw(29, [7]), raw(29, [8])]).toEqual([0, 0, 'EPERM', 'ENOSYS'])
    expect(done()).toEqual(['yield 1', 'sti 0', 'block 0'])
    for (const [reason, line] of [
      [0, 'power-off'],
      [1, 'reset'],
      [3, 'crash it reported its own crash'],
      [4, 'crash its watchdog timer ran out'],
      [9, 'crash it shut down for reason 9'],
    ] as const) {
      op('SCHEDOP_shutdown', { reason })
      expect(done()).toEqual([line])
    }
    expect(op('SCHEDOP_shutdown', {}, { at: NOWHERE }).answer).toBe('EFAULT')
    const remote = (domain_id: number) => op('SCHEDOP_remote_shutdown', { domain_id }).answer
    expect([remote(DOM0), remote(UNKNOWN)]).toEqual(['EPERM', 'ESRCH'])
  })

  test('the reason can be set before', () => {
    const { op, done } = setUp()
    op('SCHEDOP_shutdown_code', { reason: 1 })
    op('SCHEDOP_shutdown_code', { reason: 3 })
    op('SCHEDOP_shutdown', { reason: 0 })
    expect(done()).toEqual(['reset'])
  })

  test('watchdogs', () => {
    const { op, mock, done } = setUp()
    const set = (id: number, timeout: number) => op('SCHEDOP_watchdog', { id, timeout }).answer
    expect([set(1, 5), set(3, 5), set(0, 5), set(0, 9), set(0, 1)]).toEqual(['EINVAL', 'EINVAL', 1, 2, 'ENOSPC'])
    mock.advance(4e9)
    expect([set(1, 5), set(2, 0), set(2, 1)]).toEqual([0, 0, 'EINVAL'])
    mock.advance(4.9e9)
    expect(done()).toEqual([])
    mock.advance(0.2e9)
    expect(done()).toEqual(['crash its watchdog timer ran out'])
  })
})

describe('vcpu_op', () => {
  const at = (guest: ReturnType<typeof setUp>, command: number, vcpu: number, ...words: (number | bigint)[]) => {
    guest.words(BUFFER, ...words)
    return guest.raw(24, [command, vcpu, BUFFER])
  }

  test('vCPUs are counted by asking', () => {
    const { raw } = setUp()
    expect([0, 1, 3, 4, 8191].map((id) => raw(24, [3, id]))).toEqual([1, 0, 0, 'ENOENT', 'ENOENT'])
    expect([0, 8191].map((id) => raw(24, [99, id]))).toEqual(['ENOSYS', 'ENOENT'])
  })

  test('one that was taken down can be brought up again, unless INIT has reset it', () => {
    const { raw, vcpu, platform } = setUp()
    vcpu(1).running = true
    expect([raw(24, [1, 2]), raw(24, [2, 1]), raw(24, [3, 1]), raw(24, [1, 1]), raw(24, [3, 1])]).toEqual([
      'EINVAL',
      0,
      0,
      0,
      1,
    ])
    raw(24, [2, 1])
    platform.init(1)
    expect(raw(24, [1, 1])).toBe('EINVAL')
  })

  test('a place for vcpu_info, once', () => {
    const guest = setUp()
    const { view, domain, done } = guest
    domain.events.bindIpi(0)
    expect([at(guest, 10, 0, 30, 4033), at(guest, 10, 0, 30, 4), at(guest, 10, 0, 3000, 64)]).toEqual([
      'ENXIO',
      'ENXIO',
      'EINVAL',
    ])
    done()
    expect(at(guest, 10, 0, 30, 64)).toBe(0)
    expect([view.getUint8(30 * PAGE + 64), view.getBigUint64(30 * PAGE + 72, true)]).toEqual([1, (1n << 64n) - 1n])
    expect(view.getUint32(30 * PAGE + 64 + 0x20 + 24, true)).toBeGreaterThan(0)
    expect([at(guest, 10, 0, 30, 128), at(guest, 10, 1, 30, 128)]).toEqual(['EINVAL', 0])
    guest.vcpu(2).running = true
    expect(at(guest, 10, 2, 30, 192)).toBe('EINVAL')
  })

  test('one shot, of one’s own', () => {
    const guest = setUp()
    const { mock, domain, op } = guest
    op('EVTCHNOP_bind_virq', { virq: 0, vcpu: 0 })
    const fired = () => {
      const was = domain.events.isPending(1)
      guest.view.setUint8(domain.sharedInfo.address + 0x800, 0)
      return was
    }
    expect([at(guest, 8, 1, 100), at(guest, 9, 1)]).toEqual(['EINVAL', 'EINVAL'])
    expect([at(guest, 8, 0, 100), fired()]).toEqual([0, false])
    mock.advance(100)
    expect(fired()).toBe(true)
    expect([at(guest, 8, 0, 50), fired()]).toEqual([0, true])
    at(guest, 8, 0, 500)
    at(guest, 9, 0)
    mock.advance(1000)
    expect(fired()).toBe(false)
    expect([guest.raw(15, [2000]), guest.raw(15, [0])]).toEqual([0, 0])
    mock.advance(2000)
    expect(fired()).toBe(false)
    guest.raw(15, [-5])
    mock.advance(99e6)
    expect(fired()).toBe(false)
    mock.advance(2e6)
    expect(fired()).toBe(true)
  })

  test('again and again', () => {
    const guest = setUp()
    guest.op('EVTCHNOP_bind_virq', { virq: 0, vcpu: 1 })
    let count = 0
    const look = (nanoseconds: number) => {
      guest.mock.advance(nanoseconds)
      if (guest.domain.events.isPending(1)) count++
      guest.view.setUint8(guest.domain.sharedInfo.address + 0x800, 0)
    }
    expect([at(guest, 6, 1, 999_999), at(guest, 6, 1, 1n << 63n), at(guest, 6, 1, 1_000_000)]).toEqual([
      'EINVAL',
      'EINVAL',
      0,
    ])
    for (let i = 0; i < 10; i++) look(1_000_000)
    expect(count).toBe(10)
    at(guest, 7, 1)
    look(5_000_000)
    expect(count).toBe(10)
  })

  test('run states', () => {
    const guest = setUp()
    const { platform, mock, view } = guest
    guest.vcpu(0).running = true
    const state = () => {
      expect(at(guest, 4, 0)).toBe(0)
      return [0, 16, 24, 32, 40].map((offset) => Number(view.getBigUint64(BUFFER + offset, true) & 0xffffffffffffn))
    }
    platform.enter(0)
    mock.advance(100)
    platform.leave(0, true)
    mock.advance(1000)
    guest.vcpu(0).stolen = 300
    platform.enter(0)
    mock.advance(10)
    expect(state()).toEqual([0, 110, 300, 700, 0])
    expect(at(guest, 5, 0, LIST)).toBe(0)
    expect([view.getInt32(LIST, true), view.getBigUint64(LIST + 32, true)]).toEqual([0, 700n])
    platform.leave(0, false)
    expect(view.getInt32(LIST, true)).toBe(1)
    expect(guest.raw(24, [4, 0, NOWHERE])).toBe('EFAULT')
  })

  test('a second copy of the time', () => {
    const guest = setUp()
    guest.mock.advance(5000)
    expect(at(guest, 13, 0, LIST)).toBe(0)
    expect([guest.view.getBigUint64(LIST + 16, true), guest.view.getUint8(LIST + 29)]).toEqual([5000n, 1])
  })

  test('vCPUs that begin and end', () => {
    const guest = setUp()
    const { done } = guest
    const context = (rip: bigint, cr0: bigint, cr4: bigint, efer: bigint) => {
      guest.words(LIST, 1, ...Array.from({ length: 8 }, () => 0), rip, 2, cr0, 0x5000, cr4, efer, 0, 0, 0, 0, 0)
      return guest.raw(24, [0, 1, LIST])
    }
    expect(guest.raw(24, [1, 1])).toBe('EINVAL')
    expect([
      context(1n << 50n, 0x80000011n, 0x20n, 0x100n),
      context(0x1000n, 0x11n, 0x20n, 0x100n),
      context(0x1000n, 0x80000011n, 0n, 0x100n),
      context(0x1000n, 0x80000011n, 0x20n, 0n),
      context(0x1000n, 0x80000011n, 1n << 30n, 0x100n),
    ]).toEqual(Array.from({ length: 5 }, () => 'EINVAL'))
    done()
    expect(context(0xffffffff81000000n, 0x80000011n, 0x20n, 0x100n)).toBe(0)
    expect(context(0x1000n, 0x80000011n, 0x20n, 0x100n)).toBe('EEXIST')
    expect([guest.raw(24, [1, 1]), done()]).toEqual([0, ['enter 1 0xffffffff81000000']])
    expect([guest.raw(24, [2, 1]), done()]).toEqual([0, ['park 1']])
    expect([guest.raw(24, [1, 1]), done()]).toEqual([0, ['unpark 1']])
    expect([guest.raw(24, [2, 1]), done()]).toEqual([0, ['park 1']])
    expect([guest.raw(24, [2, 0]), done()]).toEqual([0, ['power-off']])
    expect(guest.raw(24, [0, 2, NOWHERE])).toBe('EFAULT')
  })

  test('HLT with interrupts off is the end, unless it polls', () => {
    const guest = setUp()
    const { platform, done } = guest
    guest.vcpu(1).running = true
    guest.vcpu(1).interruptFlag = false
    guest.vcpu(0).interruptFlag = false
    guest.op('EVTCHNOP_bind_ipi', { vcpu: 1 })
    guest.words(LIST, 1)
    guest.op('SCHEDOP_poll', { ports: LIST, nr_ports: 1 }, { vcpu: 1 })
    platform.leave(1, true)
    platform.enter(1)
    platform.leave(1, false)
    expect(done()).toEqual(['block 1'])
    platform.leave(1, true)
    expect(done()).toEqual(['park 1'])
    platform.leave(0, true)
    expect(done()).toEqual(['park 0', 'power-off'])
  })

  test('NMI, physical ids', () => {
    const { raw, done } = setUp()
    expect([raw(24, [11, 2, 0]), raw(24, [11, 2, 8]), raw(24, [12, 0, BUFFER])]).toEqual([0, 'EINVAL', 'EINVAL'])
    expect(done()).toEqual(['nmi 2'])
  })
})

describe('multicall', () => {
  const entry = (guest: ReturnType<typeof setUp>, index: number, op: number, ...args: number[]) =>
    guest.words(0x10000 + 64 * index, op, 77, ...args)
  const result = (guest: ReturnType<typeof setUp>, index: number) =>
    guest.view.getBigInt64(0x10000 + 64 * index + 8, true)

  test('each has its result', () => {
    const guest = setUp()
    entry(guest, 0, 17, 0)
    entry(guest, 1, 999)
    entry(guest, 2, 13, 0, 0)
    entry(guest, 3, 24, 3, 0)
    expect(guest.raw(13, [0x10000, 4])).toBe(0)
    expect([0, 1, 2, 3].map((i) => result(guest, i))).toEqual([0x40011n, -38n, -22n, 1n])
    expect(guest.raw(13, [NOWHERE, 1])).toBe('EFAULT')
  })

  test('long ones go on', () => {
    const guest = setUp({ pages: 1024 })
    for (let i = 0; i < 600; i++) entry(guest, i, 17, 0)
    expect([guest.raw(13, [0x10000, 600]), guest.again(), guest.again()]).toEqual(['again', 'again', 0])
    expect([result(guest, 0), result(guest, 599)]).toEqual([0x40011n, 0x40011n])
    for (let i = 0; i < 700; i++) guest.view.setBigUint64(0x40000 + 8 * i, BigInt(200 + i), true)
    guest.words(BUFFER, 0x40000, 700, 0, SELF)
    entry(guest, 0, 12, 1, BUFFER)
    entry(guest, 1, 17, 0)
    expect([guest.raw(13, [0x10000, 2]), guest.again()]).toEqual(['again', 0])
    expect([result(guest, 0), result(guest, 1)]).toEqual([700n, 0x40011n])
  })
})

describe('what a domU gets', () => {
  test('refusals', () => {
    const { raw, view } = setUp()
    const versioned = (version: number, domain = 0) => {
      view.setUint32(BUFFER + 4, version, true)
      view.setUint16(BUFFER + 8, domain, true)
    }
    versioned(0x15)
    expect([raw(35, [BUFFER]), raw(36, [BUFFER]), raw(7, [BUFFER]), raw(35, [NOWHERE])]).toEqual([
      'EPERM',
      'EPERM',
      'EACCES',
      'EFAULT',
    ])
    versioned(0x15, UNKNOWN)
    expect(raw(36, [BUFFER])).toBe('ESRCH')
    expect([27, 39, 40, 42, 37, 48].map((number) => raw(number, [0]))).toEqual([
      'ENOSYS',
      'ENOSYS',
      'EOPNOTSUPP',
      'EPERM',
      'ENOSYS',
      'ENOSYS',
    ])
    expect([SELF, DOM0, UNKNOWN].map((dom) => raw(26, [0, 0, 0, dom]))).toEqual(['EINVAL', 'EPERM', 'ESRCH'])
    expect([0, 3, 1].map((count) => raw(41, [UNKNOWN, count, BUFFER]))).toEqual(['ESRCH', 'E2BIG', 'ESRCH'])
    expect([SELF, DOMU, DOM0].map((dom) => raw(41, [dom, 1, BUFFER]))).toEqual(['ESRCH', 'EPERM', 'EINVAL'])
    expect(raw(41, [UNKNOWN, 1, NOWHERE])).toBe('EFAULT')
    expect([raw(33, [6, BUFFER])]).toEqual(['ENOSYS'])
  })

  test('domctl’s shadow_op where it goes on', () => {
    const { raw, view, vcpu } = setUp()
    const ask = (command: number, version: number, dom: number, at = BUFFER) => {
      view.setUint32(BUFFER, command, true)
      view.setUint32(BUFFER + 4, version, true)
      view.setUint16(BUFFER + 8, dom, true)
      return raw(49, [at])
    }
    expect([ask(10, 0x15, DOM0), ask(10, 0x15, UNKNOWN), ask(11, 0x15, DOM0), ask(10, 9, DOM0)]).toEqual([
      'EPERM',
      'ESRCH',
      'EOPNOTSUPP',
      'EOPNOTSUPP',
    ])
    expect(ask(10, 0x15, DOM0, NOWHERE)).toBe('EFAULT')
    vcpu(0).wide = false
    expect(ask(10, 0x15, DOM0)).toBe('EPERM')
  })

  test('what device models say, from 32-bit guests, has half as long a list', () => {
    const { raw, vcpu, mock } = setUp({ pages: 256 })
    const end = 256 * PAGE
    expect(mock.effects.memory.kind(256)).toBe('none')
    expect([raw(41, [UNKNOWN, 2, end - 32]), raw(41, [UNKNOWN, 2, end - 16])]).toEqual(['ESRCH', 'EFAULT'])
    vcpu(0).wide = false
    expect([raw(41, [UNKNOWN, 2, end - 16]), raw(41, [UNKNOWN, 2, end - 8])]).toEqual(['ESRCH', 'EFAULT'])
  })

  test('assists', () => {
    const { raw, domain } = setUp()
    expect([raw(21, [0, 5]), raw(21, [2, 5]), raw(21, [0, 2]), raw(21, [0, 99])]).toEqual([
      0,
      'ENOSYS',
      'EINVAL',
      'EINVAL',
    ])
    expect([...domain.assists]).toEqual([5])
    raw(21, [1, 5])
    expect([...domain.assists]).toEqual([])
  })

  test('Xen’s console', () => {
    const { raw } = setUp()
    expect([raw(18, [0, 3, BUFFER]), raw(18, [1, 3, BUFFER])]).toEqual(['EPERM', 'EPERM'])
    const guest = setUp({ features: ['verbose-debug'] })
    guest.mock.ram.set(new TextEncoder().encode('hi\nyou'), BUFFER)
    expect(guest.raw(18, [0, 6, BUFFER])).toBe(0)
    expect(guest.done()).toEqual(['report (d1) hi'])
    expect(guest.raw(18, [0, 6, NOWHERE])).toBe('EFAULT')
    expect([guest.raw(18, [0, 9000, BUFFER]), guest.again(), guest.again()]).toEqual(['again', 'again', 0])
  })
})

test('the hypercall page', () => {
  const { platform, bytes } = setUp()
  expect(platform.wrmsr(0, 0x40000000, 0x3001n)).toBe(false)
  expect(platform.wrmsr(0, 0x40000000, 1n << 40n)).toBe(false)
  expect(platform.wrmsr(0, 0x40000000, 0x3000n)).toBe(true)
  expect([...bytes(0x3000 + 17 * 32, 9)]).toEqual([0xb8, 17, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xc3])
  expect([...bytes(0x3000 + 23 * 32, 2)]).toEqual([0x0f, 0x0b])
})

test('leaves', () => {
  const { platform } = setUp()
  const leaf = (index: number, sub = 0) => platform.cpuid(2, 0x40000000 + index, sub, [0, 0, 0, 0])
  expect(leaf(0)).toEqual([0x40000005, 0x566e6558, 0x65584d4d, 0x4d4d566e])
  expect(leaf(1)[0]).toBe(0x40011)
  expect(leaf(2).slice(0, 3)).toEqual([1, 0x40000000, 0])
  expect([leaf(3)[2], leaf(3, 2)[0]]).toEqual([1_000_000, 1_000_000])
  expect(leaf(4)).toEqual([0x5c, 2, 1, 0])
  expect(leaf(5)).toEqual([0, 0, 0, 0])
  expect(platform.cpuid(0, 1, 0, [0, 0, 0, 0])[2] >>> 31).toBe(1)
})

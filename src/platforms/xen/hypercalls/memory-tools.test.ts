/** Commands of memory_op that are toolstacks', and XENMEM_add_to_physmap_batch, from PVH guests of 64 and 32 bits and PV guests. */
import { describe, expect, test } from 'vitest'
import { cpuModel } from '../../../cpu/models.ts'
import { Mock } from '../../../paravirt/mock.ts'
import { Observer } from '../../../paravirt/observe.ts'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { errorName } from '../errno.ts'
import { pvFrames } from '../mm/create.ts'
import { XenPvPlatform } from '../pv/index.ts'
import { BUFFER, LIST, NOWHERE, setUp, type Value } from '../testing.ts'

const SELF = DOMID.SELF
const UNKNOWN = 9
const NO_GFN = (1n << 64n) - 1n

const pvh = (wide: boolean) => {
  const guest = setUp()
  guest.vcpu(0).wide = wide
  return guest
}

/** A PV guest: `op` puts 32-bit words at BUFFER. */
function pv(narrow: boolean) {
  const mock = new Mock({ vcpus: 1, pages: 512, frames: pvFrames(512 * 4096) })
  for (const vcpu of mock.vcpus) Object.assign(vcpu, narrow ? { wide: false, privilege: 1 } : { privilege: 3 })
  const platform = new XenPvPlatform(
    { effects: mock.effects, model: cpuModel('inorder'), features: new Set(), observer: new Observer(() => 0) },
    narrow,
  )
  const op = (command: number, words: readonly number[], at = BUFFER) => {
    for (let i = 0; i < 16; i++) mock.view.setUint32(BUFFER + 4 * i, words[i] ?? 0, true)
    const { cpu } = mock.effects
    const values = [12, command, at]
    for (const [i, name] of (['rax', narrow ? 'rbx' : 'rdi', narrow ? 'rcx' : 'rsi'] as const).entries())
      cpu.setRegister(0, name, BigInt(values[i] as number))
    expect(platform.pv.hypercall(0)).toBe('done')
    const answer = Number(BigInt.asIntN(narrow ? 32 : 64, cpu.register(0, 'rax')))
    return errorName(answer) ?? answer
  }
  return { op, view: mock.view }
}

describe('of PVH guests', () => {
  const domains = [SELF, DOMU, DOM0, UNKNOWN]
  const askAll = (guest: ReturnType<typeof setUp>, name: string, values: Readonly<Record<string, Value>> = {}) =>
    domains.map((domid) => guest.op(name, { ...values, domid }).answer)

  test.for([true, false])('wide: %s', (wide) => {
    const guest = pvh(wide)
    for (const name of ['XENMEM_set_pod_target', 'XENMEM_get_pod_target'])
      expect(askAll(guest, name)).toEqual(['EPERM', 'EPERM', 'EINVAL', 'ESRCH'])
    expect(askAll(guest, 'XENMEM_access_op')).toEqual(['ESRCH', 'EPERM', 'EINVAL', 'ESRCH'])
    expect(askAll(guest, 'XENMEM_get_vnumainfo')).toEqual(['EOPNOTSUPP', 'EOPNOTSUPP', 'EPERM', 'ESRCH'])
    expect(askAll(guest, 'XENMEM_get_vnumainfo', { pad: 1 })).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'])
    expect(askAll(guest, 'XENMEM_claim_pages')).toEqual(
      wide ? ['EINVAL', 'EPERM', 'EPERM', 'EINVAL'] : ['ENOSYS', 'ENOSYS', 'ENOSYS', 'ENOSYS'],
    )
    expect([18, 19, 10, 12, 20, 22].map((command) => guest.raw(12, [command, NOWHERE]))).toEqual([
      0,
      0,
      'ENOSYS',
      'ENOSYS',
      'ENOSYS',
      'ENOSYS',
    ])
  })

  test('frames reserved for devices', () => {
    const guest = pvh(true)
    const ask = (flags: number, buffer: number) =>
      guest.op('XENMEM_reserved_device_memory_map', { flags, nr_entries: 7, buffer })
    expect(ask(1, NOWHERE)).toMatchObject({ answer: 0, out: { nr_entries: 0n } })
    expect(ask(2, LIST).answer).toBe('EINVAL')
    expect(guest.raw(12, [27, NOWHERE])).toBe('EFAULT')
  })

  test('pages of others are not for translated guests; lists of 32-bit ones are read first', () => {
    expect(pvh(true).raw(12, [28 + 64, NOWHERE])).toBe('EACCES')
    const guest = pvh(false)
    const ask = (frame_list: number, nr_frames: number, start = 0) => {
      guest.op('XENMEM_acquire_resource', { domid: DOM0, nr_frames, frame_list })
      return guest.raw(12, [28 + 64 * start, BUFFER])
    }
    expect([ask(LIST, 1), ask(0, 1), ask(NOWHERE, 0), ask(NOWHERE, 1), ask(LIST, 1, 1)]).toEqual([
      'EACCES',
      'EACCES',
      'EACCES',
      'EFAULT',
      'EINVAL',
    ])
    expect(guest.raw(12, [28, NOWHERE])).toBe('EFAULT')
  })

  test('the machine-to-physical table is only for 64-bit ones', () => {
    const guest = pvh(true)
    const name = 'XENMEM_machphys_mfn_list'
    expect(guest.op(name, { max_extents: 9, extent_start: LIST })).toMatchObject({ answer: 0, out: { nr_extents: 1n } })
    expect(guest.op(name, { max_extents: 9, extent_start: NOWHERE }).answer).toBe('EFAULT')
    expect(guest.raw(12, [25, NOWHERE])).toBe('EOPNOTSUPP')
    guest.vcpu(0).wide = false
    expect([5, 25].map((command) => guest.raw(12, [command, NOWHERE]))).toEqual(['EOPNOTSUPP', 'EOPNOTSUPP'])
  })
})

describe('XENMEM_add_to_physmap_batch', () => {
  /** Lists of three at LIST: indices, frame numbers, answers. */
  const batch = (wide: boolean) => {
    const guest = pvh(wide)
    const word = wide ? 8 : 4
    const lists = { idxs: LIST, gpfns: LIST + 0x100, errs: LIST + 0x200 }
    const put = (at: number, values: readonly Value[]) => {
      for (const [i, value] of values.entries())
        if (wide) guest.view.setBigUint64(at + 8 * i, BigInt.asUintN(64, BigInt(value)), true)
        else guest.view.setUint32(at + 4 * i, Number(value), true)
    }
    const run = (
      indices: readonly Value[],
      frames: readonly Value[],
      values: Readonly<Record<string, number>> = {},
      start = 0,
    ) => {
      put(lists.idxs, indices)
      put(lists.gpfns, frames)
      for (let i = 0; i < 3; i++) guest.view.setInt32(lists.errs + 4 * i, 1, true)
      guest.op('XENMEM_add_to_physmap_batch', { domid: DOM0, space: 2, size: indices.length, ...lists, ...values })
      guest.view.setUint16(BUFFER, values['domid'] ?? SELF, true)
      const answer = guest.raw(12, [23 + 64 * start, BUFFER])
      return [answer, ...[0, 1, 2].map((i) => errorName(guest.view.getInt32(lists.errs + 4 * i, true)) ?? 1)]
    }
    return { guest, run, word }
  }

  test.for([true, false])('each page has its answer; wide: %s', (wide) => {
    const { guest, run } = batch(wide)
    const { memory } = guest.mock.effects
    guest.view.setUint32(60 * 4096, 0x77, true)
    guest.view.setInt32(LIST + 0x200, 1, true)
    run([60, 300, 61], [70, 71, 72])
    expect([0, 1, 2].map((i) => guest.view.getInt32(LIST + 0x200 + 4 * i, true))).toEqual([0, -22, 0])
    expect([60, 61, 70, 71, 72].map((frame) => memory.kind(frame))).toEqual(['none', 'none', 'ram', 'ram', 'ram'])
    expect(guest.view.getUint32(70 * 4096, true)).toBe(0x77)
    // It goes on at the second.
    expect(run([80, 81, 82], [90, 91, 92], { size: 2 }, 1)[0]).toBe(0)
    expect([80, 81, 82].map((frame) => memory.kind(frame))).toEqual(['ram', 'none', 'ram'])
    expect(run([1, 2, 3], [4, 5, 6], { space: 4, size: 2 })).toEqual([0, 'EPERM', 'EPERM', 1])
    expect(run([1, 2, 3], [4, 5, 6], { space: 9, size: 1 })).toEqual([0, 'EINVAL', 1, 1])
  })

  test.for([true, false])('what is refused as a whole; wide: %s', (wide) => {
    const { run } = batch(wide)
    const refused = (values: Readonly<Record<string, number>>, start = 0) => run([1], [2], values, start)[0]
    expect([
      refused({ space: 3 }),
      refused({ space: 5 }),
      refused({ domid: DOM0 }),
      refused({ domid: UNKNOWN }),
    ]).toEqual(['EOPNOTSUPP', 'EACCES', 'EACCES', 'ESRCH'])
    expect([refused({}, 1), refused({}, 2), refused({}, 0x10000), refused({ size: 0 })]).toEqual([
      'EILSEQ',
      'EILSEQ',
      'EDOM',
      0,
    ])
    // A 32-bit guest's lists are read before its structure is looked at.
    expect(refused({ space: 3, idxs: NOWHERE })).toBe(wide ? 'EOPNOTSUPP' : 'EFAULT')
    expect([refused({ idxs: NOWHERE }), refused({ gpfns: NOWHERE }), refused({ errs: NOWHERE })]).toEqual([
      'EFAULT',
      'EFAULT',
      'EFAULT',
    ])
    expect(run([1], [NO_GFN])[0]).toBe(wide ? 'EINVAL' : 0)
  })

  test('a long one in slices', () => {
    const { guest } = batch(true)
    const [idxs, gpfns, errs, size] = [0x10000, 0x14000, 0x18000, 700]
    for (let i = 0; i < size; i++) guest.view.setBigUint64(gpfns + 8 * i, BigInt(i), true)
    const values = { domid: SELF, space: 9, size, idxs, gpfns, errs }
    expect(guest.op('XENMEM_add_to_physmap_batch', values).answer).toBe('again')
    expect(guest.again()).toBe(0)
    expect([0, 511, 512, 699].map((i) => guest.view.getInt32(errs + 4 * i, true))).toEqual([-22, -22, -22, -22])
  })
})

describe('of PV guests', () => {
  test('64 bits', () => {
    const { op } = pv(false)
    const domains = (command: number, ...more: number[]) =>
      [SELF, DOMU, DOM0, UNKNOWN].map((domid) => op(command, [domid, ...more]))
    expect(domains(28)).toEqual(['ESRCH', 'EPERM', 'EPERM', 'ESRCH'])
    expect(domains(28, 0, 1, 1)).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'])
    expect(domains(28, 0, 1, 0, 0xffffffff)).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'])
    expect(domains(28, 0, 0, 0, 0xffffffff)).toEqual(['ESRCH', 'EPERM', 'EPERM', 'ESRCH'])
    expect(domains(28, 0, 0, 0, 0, 1)).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'])
    expect(domains(23)).toEqual(['EACCES', 'EACCES', 'EACCES', 'ESRCH'])
    expect(op(16, [0, 0, 0, 0, 0, 0, 0, 0, SELF])).toBe('EINVAL')
    expect([op(25, [1, 0, LIST]), op(10, [], NOWHERE), op(10 + 64, [])]).toEqual(['EOPNOTSUPP', 'EPERM', 'ENOSYS'])
    expect(op(27, [1, 3, 0, 0xffff8000])).toBe('EFAULT')
  })

  test('32 bits', () => {
    const { op, view } = pv(true)
    expect([SELF, DOMU, DOM0, UNKNOWN].map((domid) => op(28, [domid]))).toEqual(['ESRCH', 'EPERM', 'EPERM', 'ESRCH'])
    // Domain; type, frames; where.
    expect([op(28 + 64, [DOM0, 0, 1, 0, 0, 0, LIST]), op(28 + 64, [DOM0, 0, 1, 0, 0, 0, 0])]).toEqual([
      'EINVAL',
      'EPERM',
    ])
    expect([op(28 + 64, [DOM0, 0, 2, 0, 0xffffffff, 0, LIST]), op(28, [DOM0, 0, 1, 0, 0xfffffffe, 0, LIST])]).toEqual([
      'EINVAL',
      'EPERM',
    ])
    expect([op(10, []), op(10, [], NOWHERE), op(24, []), op(23, [SELF])]).toEqual([
      'EPERM',
      'EFAULT',
      'ENOSYS',
      'EACCES',
    ])
    expect(op(23, [SELF, 1, 0xf5900000])).toBe('EFAULT')
    for (const command of [5, 25]) {
      expect(op(command, [9, LIST])).toBe(0)
      expect([view.getUint32(BUFFER + 8, true), view.getUint32(LIST, true) > 0]).toEqual([1, true])
    }
  })
})

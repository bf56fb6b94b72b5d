/** grant_table_op, and grants as backends use them. */
import { describe, expect, test } from 'vitest'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { BUFFER, type Guest, LIST, NOWHERE, setUp } from '../testing.ts'
import { GntStatus } from './status.ts'

const SELF = DOMID.SELF
const TABLE = 60
const STATUS = 61
const PAGE = 4096
const PERMIT = 1
const READONLY = 4
const SUB_PAGE = 0x100

/** A guest that has mapped its first page of entries. */
function table(version: 1 | 2 = 1) {
  const guest = setUp()
  expect(guest.op('GNTTABOP_set_version', { version }, { args: [BUFFER, 1] }).answer).toBe(0)
  const map = (idx: number, gpfn: number) =>
    guest.op('XENMEM_add_to_physmap', { domid: SELF, space: 1, idx, gpfn }).answer
  expect(map(0, TABLE)).toBe(0)
  expect(map(2 ** 31, STATUS)).toBe(version === 2 ? 0 : 'EINVAL')
  const grant = (ref: number, flags: number, domid: number, frame: number, offset = 0, length = 0) => {
    const at = TABLE * PAGE + ref * (version === 1 ? 8 : 16)
    guest.view.setUint16(at, flags, true)
    guest.view.setUint16(at + 2, domid, true)
    if (version === 1) guest.view.setUint32(at + 4, frame, true)
    else {
      guest.view.setUint16(at + 4, offset, true)
      guest.view.setUint16(at + 6, length, true)
      guest.view.setBigUint64(at + 8, BigInt(frame), true)
    }
  }
  const used = (ref: number) =>
    version === 1
      ? guest.view.getUint16(TABLE * PAGE + 8 * ref, true) & 24
      : guest.view.getUint16(STATUS * PAGE + 2 * ref, true)
  return { ...guest, map, grant, used }
}

const array = ({ op }: Pick<Guest, 'op'>, name: string, values: Record<string, number>, count = 1) =>
  op(name, values, { args: [BUFFER, count] })

describe.each([1, 2] as const)('version %i', (version) => {
  test('the reading and writing bits last as long as the uses', () => {
    const { grant, used, domain } = table(version)
    grant(9, PERMIT, DOM0, 5)
    const reader = domain.grants.hold(9, false)
    if (typeof reader === 'number') throw new Error(`${reader}`)
    expect([reader.frame, reader.offset, reader.length, used(9)]).toEqual([5, 0, PAGE, 8])
    const writer = domain.grants.hold(9, true)
    if (typeof writer === 'number') throw new Error(`${writer}`)
    expect(used(9)).toBe(24)
    writer.release()
    expect(used(9)).toBe(8)
    reader.release()
    reader.release()
    expect(used(9)).toBe(0)
  })

  test.each([
    ['no such entry', 2000, false, PERMIT, DOM0, 5, GntStatus.BAD_GNTREF],
    ['an unused one', 9, false, 0, DOM0, 5, GntStatus.GENERAL_ERROR],
    ['for another domain', 9, false, PERMIT, 3, 5, GntStatus.GENERAL_ERROR],
    ['for reading only', 9, true, PERMIT | READONLY, DOM0, 5, GntStatus.GENERAL_ERROR],
    ['no memory', 9, false, PERMIT, DOM0, 100_000, GntStatus.BAD_PAGE],
    ['transfers', 9, false, 2, DOM0, 5, GntStatus.GENERAL_ERROR],
  ] as const)('%s', (_name, ref, writable, flags, dom, frame, answer) => {
    const { grant, domain, used } = table(version)
    grant(9, flags, dom, frame)
    expect(domain.grants.hold(ref, writable)).toBe(answer)
    expect(used(9)).toBe(0)
  })

  test('many uses, but not more than Xen can count', () => {
    const { grant, domain } = table(version)
    grant(9, PERMIT, DOM0, 5)
    for (let i = 0; i < 128; i++) expect(typeof domain.grants.hold(9, false)).toBe('object')
    expect(domain.grants.hold(9, false)).toBe(GntStatus.GENERAL_ERROR)
  })

  test('swapping entries, and not while they are used', () => {
    const guest = table(version)
    const { grant, domain } = guest
    grant(9, PERMIT, DOM0, 5)
    grant(10, PERMIT, DOM0, 6)
    const swap = (ref_a: number, ref_b: number) =>
      Number(array(guest, 'GNTTABOP_swap_grant_ref', { ref_a, ref_b }).out['status'])
    expect(swap(9, 10)).toBe(0)
    const held = domain.grants.hold(9, false)
    expect(held).toMatchObject({ frame: 6 })
    expect([swap(9, 10), swap(9, 9), swap(9, 5000)]).toEqual([GntStatus.EAGAIN, 0, GntStatus.BAD_GNTREF])
    expect(guest.op('GNTTABOP_set_version', { version: 3 - version }, { args: [BUFFER, 1] })).toMatchObject({
      answer: 'EBUSY',
      out: { version: BigInt(version) },
    })
  })
})

test('less than a page, in version 2, for copies only', () => {
  const { grant, domain } = table(2)
  grant(9, PERMIT | SUB_PAGE, DOM0, 5, 100, 20)
  expect(domain.grants.hold(9, false)).toBe(GntStatus.GENERAL_ERROR)
  expect(domain.grants.hold(9, false, true)).toMatchObject({ frame: 5, offset: 100, length: 20 })
})

test('the first eight entries survive a change of version', () => {
  const guest = table()
  const { grant, view, domain } = guest
  grant(3, PERMIT, DOM0, 5)
  grant(9, PERMIT, DOM0, 6)
  domain.grants.reserve(0, 40)
  expect(domain.grants.hold(0, true)).toMatchObject({ frame: 40 })
  expect(guest.op('GNTTABOP_set_version', { version: 2 }, { args: [BUFFER, 1] }).answer).toBe(0)
  expect([3, 9].map((ref) => view.getUint16(TABLE * PAGE + 16 * ref, true))).toEqual([PERMIT, 0])
  expect(view.getUint16(domain.grants.entries.status[0]?.address as number, true)).toBe(24)
  expect(guest.op('GNTTABOP_set_version', { version: 1 }, { args: [BUFFER, 1] }).answer).toBe(0)
  expect(view.getUint16(TABLE * PAGE, true)).toBe(PERMIT | 24)
  expect(guest.op('GNTTABOP_set_version', { version: 3 }, { args: [BUFFER, 1] })).toMatchObject({
    answer: 'EINVAL',
    out: { version: 1n },
  })
})

describe('the table', () => {
  test('grows where it is mapped, up to 64 pages', () => {
    const guest = table()
    expect(guest.map(3, 62)).toBe(0)
    const size = array(guest, 'GNTTABOP_query_size', { dom: SELF }).out
    expect([size['nr_frames'], size['max_nr_frames'], size['status']]).toEqual([4n, 64n, 0n])
    expect([guest.map(64, 63), guest.map(2 ** 31, 63)]).toEqual(['EINVAL', 'EINVAL'])
  })

  test('moves with its content', () => {
    const { grant, map, domain, bytes, mock } = table()
    grant(9, PERMIT, DOM0, 5)
    expect(map(0, 70)).toBe(0)
    expect(bytes(70 * PAGE + 72, 8)).toEqual(Uint8Array.from([1, 0, 0, 0, 5, 0, 0, 0]))
    expect(mock.effects.memory.kind(TABLE)).toBe('none')
    expect(domain.grants.hold(9, false)).toMatchObject({ frame: 5 })
  })

  test('setup tells where its pages are', () => {
    const guest = table()
    const setup = (nr_frames: number, dom: number = SELF) =>
      Number(array(guest, 'GNTTABOP_setup_table', { dom, nr_frames, frame_list: LIST }).out['status'])
    expect(setup(2)).toBe(0)
    expect([0, 8].map((at) => guest.view.getBigUint64(LIST + at, true))).toEqual([BigInt(TABLE), (1n << 64n) - 1n])
    expect([setup(65), setup(1, DOM0), setup(1, 9)]).toEqual([
      GntStatus.GENERAL_ERROR,
      GntStatus.PERMISSION_DENIED,
      GntStatus.BAD_DOMAIN,
    ])
    const nowhere = array(guest, 'GNTTABOP_setup_table', { dom: SELF, nr_frames: 1, frame_list: NOWHERE }).out
    expect(Number(nowhere['status'])).toBe(GntStatus.BAD_VIRT_ADDR)
  })

  test('counts, commands, versions', () => {
    const guest = table()
    expect(array(guest, 'GNTTABOP_query_size', { dom: SELF }, 2).answer).toBe('EINVAL')
    expect(array(guest, 'GNTTABOP_copy', {}, -1).answer).toBe('EINVAL')
    expect(array(guest, 'GNTTABOP_copy', {}, 0).answer).toBe(0)
    expect(guest.raw(20, [0x1005, BUFFER, 1])).toBe('EINVAL')
    expect(guest.raw(20, [9, BUFFER, 1])).toBe('ENOSYS')
    expect(guest.op('GNTTABOP_copy', {}, { args: [NOWHERE, 1] }).answer).toBe('EFAULT')
    const version = (dom: number) => guest.op('GNTTABOP_get_version', { dom }, { args: [BUFFER, 1] })
    expect(version(SELF).out['version']).toBe(1n)
    expect([version(DOM0).answer, version(9).answer]).toEqual(['EPERM', 'ESRCH'])
  })
})

describe('copies', () => {
  const one = (guest: Guest, values: Record<string, number>) =>
    Number(array(guest, 'GNTTABOP_copy', { source_domid: SELF, dest_domid: SELF, len: 4, ...values }).out['status'])

  test('between frames and grants', () => {
    const guest = table()
    const { grant, view, used } = guest
    grant(9, PERMIT, DOMU, 30)
    view.setUint32(31 * PAGE + 8, 0x12345678, true)
    expect(one(guest, { source: 31, source_offset: 8, dest: 9, dest_offset: 100, flags: 2 })).toBe(0)
    expect([view.getUint32(30 * PAGE + 100, true), used(9)]).toEqual([0x12345678, 0])
    expect(one(guest, { source: 9, source_offset: 100, dest: 32, flags: 1 })).toBe(0)
    expect(view.getUint32(32 * PAGE, true)).toBe(0x12345678)
  })

  test.each([
    ['a frame of dom0’s', { source: 31, source_domid: DOM0, dest: 32 }, GntStatus.PERMISSION_DENIED],
    ['a grant of nobody’s', { source: 1, source_domid: 9, dest: 32, flags: 1 }, GntStatus.BAD_DOMAIN],
    ['a grant of dom0’s', { source: 1, source_domid: DOM0, dest: 32, flags: 1 }, GntStatus.GENERAL_ERROR],
    ['a high one', { source: 512, source_domid: DOM0, dest: 32, flags: 1 }, GntStatus.BAD_GNTREF],
    ['a grant for dom0', { source: 9, dest: 32, flags: 1 }, GntStatus.GENERAL_ERROR],
    ['no frame', { source: 100_000, dest: 32 }, GntStatus.BAD_PAGE],
    ['beyond the page', { source: 31, source_offset: 4093, dest: 32 }, GntStatus.BAD_COPY_ARG],
  ])('%s', (_name, values, answer) => {
    const guest = table()
    guest.grant(9, PERMIT, DOM0, 30)
    expect(one(guest, values)).toBe(answer)
  })

  test('a long list goes on where it was', () => {
    const guest = table()
    const at = 100 * PAGE
    for (let i = 0; i < 600; i++) {
      guest.view.setBigUint64(at + 40 * i, BigInt(31), true)
      guest.view.setUint16(at + 40 * i + 8, SELF, true)
      guest.view.setBigUint64(at + 40 * i + 16, BigInt(32), true)
      guest.view.setUint16(at + 40 * i + 24, SELF, true)
      guest.view.setInt16(at + 40 * i + 36, 77, true)
    }
    expect([guest.raw(20, [5, at, 600]), guest.again(), guest.again()]).toEqual(['again', 'again', 0])
    const statuses = Array.from({ length: 600 }, (_, i) => guest.view.getInt16(at + 40 * i + 36, true))
    expect(statuses.every((each) => each === 0)).toBe(true)
  })
})

test('there is nothing to map', () => {
  const guest = table()
  const map = (values: Record<string, number>) => Number(array(guest, 'GNTTABOP_map_grant_ref', values).out['status'])
  expect([
    map({ flags: 0 }),
    map({ flags: 1, dom: DOM0 }),
    map({ flags: 2, dom: 9 }),
    map({ flags: 2, dom: DOM0, ref: 600 }),
    map({ flags: 2, dom: DOM0, ref: 6 }),
  ]).toEqual([
    GntStatus.BAD_GNTREF,
    GntStatus.GENERAL_ERROR,
    GntStatus.BAD_DOMAIN,
    GntStatus.BAD_GNTREF,
    GntStatus.GENERAL_ERROR,
  ])
  const unmapped = array(guest, 'GNTTABOP_unmap_grant_ref', { handle: 0 }).out
  expect(Number(unmapped['status'])).toBe(GntStatus.BAD_HANDLE)
})

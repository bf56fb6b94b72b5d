/**
 * grant_table_op (xen/grant_table.h), as the guest makes it. Commands on arrays do one element after the other, each
 * with its own status.
 *
 * dom0 gives out no grants, so that the guest can map its own ones only, if it is PV; they are the kind's to map.
 */
import type { ErrorName } from '../errno.ts'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { type Answer, command, commands } from '../hypercalls/declare.ts'
import { Block, type Field, type Struct, struct } from '../struct.ts'
import type { Reach } from './table.ts'
import { GntStatus } from './status.ts'

const header = 'xen/grant_table.h'
const PAGE = 4096
const COMMAND_MASK = 0xfff
/** Elements that are done before other vCPUs have their turn. */
const SLICE = 256
/** Refs that dom0 has: a page of them, all unused. */
const DOM0_REFS = 512

const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const status = { c: 's16', out: true } as const
const isSelf = (dom: number): boolean => dom === DOMID.SELF || dom === DOMU
/** The status for a command about another domain's table. */
const foreign = (dom: number): number => (dom === DOM0 ? GntStatus.PERMISSION_DENIED : GntStatus.BAD_DOMAIN)

const one = { EINVAL: 'not exactly one element', EFAULT: 'it cannot be read or written' } as const
const many = { EINVAL: 'a negative count', EFAULT: 'an element cannot be read or written' } as const

/** setup_table, query_size, get_status_frames. */
const singles = new Set([2, 6, 9])

/** One element, which goes back whole. */
const single = <Name extends string>(row: {
  readonly command: number
  readonly name: string
  readonly summary: string
  readonly struct: Struct<Name>
  readonly guest?: 'pv'
  readonly errors?: Readonly<Partial<Record<ErrorName, string>>>
  readonly run: (call: Call, block: Block, fields: Struct<Name>['fields']) => number
}) =>
  command({
    ...row,
    errors: { ...one, ...row.errors },
    source: header,
  })

const element = new Block(64)

/** Every element of an array; `each` fills in its outputs. */
const array = <Name extends string>(row: {
  readonly command: number
  readonly name: string
  readonly summary: string
  readonly struct: Struct<Name>
  readonly guest?: 'pv'
  readonly each: (domain: Domain, block: Block, fields: Struct<Name>['fields'], vcpu: number) => void
}) =>
  command({
    command: row.command,
    name: row.name,
    summary: row.summary,
    ...(row.guest ? { guest: row.guest } : {}),
    element: row.struct as Struct,
    args: [
      { name: 'list', type: { kind: 'linear' } },
      { name: 'count', type: { kind: 'u32' } },
    ],
    errors: many,
    source: header,
    run: (call): Answer => {
      const { list, fields } = row.struct
      element.wide = call.wide
      const size = element.size(row.struct)
      const count = call.arg(2)
      for (let i = 0; i < count; i++) {
        if (i === SLICE) {
          const low = call.arg(1) + i * size
          call.setArg(1, low >>> 0, (call.high(1) + Math.floor(low / 2 ** 32)) >>> 0)
          call.setArg(2, count - i)
          return 'continue'
        }
        if (!call.copyIn(1, element.bytes, size, i * size)) return Errno.EFAULT
        row.each(call.domain, element, fields, call.vcpu)
        for (const field of list) {
          if (!field.out) continue
          const at = element.at(field)
          const bytes = element.bytes.subarray(at, at + element.bytesOf(field))
          if (!call.copyOut(1, bytes, bytes.length, i * size + at)) return Errno.EFAULT
        }
      }
      return 0
    },
  })

const copyFlags = { source_gref: 0, dest_gref: 1 } as const
const SOURCE_GREF = 1
const DEST_GREF = 2

const copyStruct = struct({
  source: 'long',
  source_domid: domid,
  source_offset: 'u16',
  gap0: 'gap',
  dest: 'long',
  dest_domid: domid,
  dest_offset: 'u16',
  gap1: 'gap',
  len: 'u16',
  flags: { c: 'u16', type: { kind: 'flags', bits: copyFlags } },
  status,
})

/** One end of a copy: by grant, or a frame of the guest's own. A number is its GNTST_* error. */
function end(domain: Domain, dom: number, by: number, frame: number, ref: boolean, writable: boolean): Reach | number {
  if (ref) {
    if (isSelf(dom)) return domain.grants.acquire(DOMU, by, writable, true)
    return by < DOM0_REFS ? GntStatus.GENERAL_ERROR : GntStatus.BAD_GNTREF
  }
  const at = writable ? domain.kind.hold(frame) : domain.kind.frame(frame)
  if (at < 0) return domain.kind.frame(frame) < 0 ? GntStatus.BAD_PAGE : GntStatus.GENERAL_ERROR
  return { frame: at, offset: 0, length: PAGE, release: () => writable && domain.kind.release(at) }
}

/** Whom a copy's end may name. */
function refusal(dom: number, ref: boolean): number {
  if (dom !== DOMID.SELF && !ref) return GntStatus.PERMISSION_DENIED
  return isSelf(dom) || dom === DOM0 ? GntStatus.OKAY : GntStatus.BAD_DOMAIN
}

function copy(domain: Domain, block: Block, f: typeof copyStruct.fields): number {
  const flags = block.get(f.flags)
  const sourceDom = block.get(f.source_domid)
  const destDom = block.get(f.dest_domid)
  const refused = refusal(sourceDom, (flags & SOURCE_GREF) !== 0) || refusal(destDom, (flags & DEST_GREF) !== 0)
  if (refused !== GntStatus.OKAY) return refused
  const from = end(domain, sourceDom, block.get(f.source), block.whole(f.source), (flags & SOURCE_GREF) !== 0, false)
  if (typeof from === 'number') return from
  const to = end(domain, destDom, block.get(f.dest), block.whole(f.dest), (flags & DEST_GREF) !== 0, true)
  if (typeof to === 'number') {
    from.release()
    return to
  }
  const answer = move(domain, block, f, from, to)
  from.release()
  to.release()
  return answer
}

function move(domain: Domain, block: Block, f: typeof copyStruct.fields, from: Reach, to: Reach): number {
  const [start, dest, length] = [block.get(f.source_offset), block.get(f.dest_offset), block.get(f.len)]
  if (start + length > PAGE || dest + length > PAGE) return GntStatus.BAD_COPY_ARG
  const within = (at: number, { offset, length: most }: Reach) => at >= offset && at + length <= offset + most
  if (!within(start, from) || !within(dest, to)) return GntStatus.GENERAL_ERROR
  if (length === 0) return GntStatus.OKAY
  const { memory } = domain.effects
  const bytes = memory.bytes(from.frame * PAGE + start, length)
  memory.place(to.frame * PAGE + dest, bytes.slice())
  return GntStatus.OKAY
}

const MAP = { device: 1, host: 2, readonly: 4, application: 8, contains_pte: 16 } as const

/** An address that is given, or none. */
const given = (block: Block, field: Field): { low: number; high: number } | undefined => {
  const [low, high] = [block.get(field), block.high(field)]
  return low === 0 && high === 0 ? undefined : { low, high }
}

/** Frame numbers of pages to a list in the guest; a GNTST_*. */
function listFrames(
  call: Call,
  list: { low: number; high: number },
  numbers: readonly number[],
  wide: boolean,
): number {
  const size = wide ? 8 : 4
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let answer: number = GntStatus.OKAY
  for (const [i, number] of numbers.entries()) {
    // What a PVH guest has not mapped has no number.
    if (wide) view.setBigUint64(0, number < 0 ? (1n << 64n) - 1n : BigInt(number), true)
    else view.setUint32(0, number, true)
    const low = list.low + i * size
    const high = (list.high + Math.floor(low / 2 ** 32)) >>> 0
    if (!call.domain.guest.copyOut(call.vcpu, low >>> 0, high, bytes)) answer = GntStatus.BAD_VIRT_ADDR
  }
  return answer
}

export const grantTableOp = commands({
  number: 20,
  name: 'grant_table_op',
  summary: 'memory lent to other domains',
  source: header,
  commandMask: COMMAND_MASK,
  check: (call) => {
    const alone = singles.has(call.arg(0)) && call.arg(2) !== 1
    return alone || call.arg(2) >> 31 !== 0 || call.arg(0) > COMMAND_MASK ? Errno.EINVAL : 0
  },
  commands: [
    array({
      command: 0,
      name: 'GNTTABOP_map_grant_ref',
      summary: 'map memory that a domain lends: its own',
      struct: struct({
        host_addr: 'u64',
        flags: { c: 'u32', type: { kind: 'flags', bits: { device: 0, host: 1, readonly: 2, application: 3, pte: 4 } } },
        ref: 'u32',
        dom: domid,
        status,
        handle: { c: 'u32', out: true },
        dev_bus_addr: { c: 'u64', out: true },
      }),
      each: ({ kind, grants }, block, f, vcpu) => {
        const flags = block.get(f.flags)
        const dom = block.get(f.dom)
        const answer = (): number => {
          if (!(flags & (MAP.device | MAP.host))) return GntStatus.BAD_GNTREF
          const others = MAP.device | MAP.application | MAP.contains_pte
          if (kind.name === 'pvh' && flags & others) return GntStatus.GENERAL_ERROR
          if (dom !== DOM0 && dom !== DOMU) return GntStatus.BAD_DOMAIN
          if (dom === DOM0) return block.get(f.ref) >= DOM0_REFS ? GntStatus.BAD_GNTREF : GntStatus.GENERAL_ERROR
          const grant = grants.acquire(DOMU, block.get(f.ref), (flags & MAP.readonly) === 0, false)
          if (typeof grant === 'number') return grant
          const address = { low: block.get(f.host_addr), high: block.high(f.host_addr) }
          const handle = kind.grantMaps?.map(vcpu, grant, address, flags)
          if (handle === undefined) {
            grant.release()
            return GntStatus.GENERAL_ERROR
          }
          if (handle < 0) return handle
          block.set(f.handle, handle)
          block.set(f.dev_bus_addr, grant.frame * PAGE)
          return GntStatus.OKAY
        }
        block.set(f.status, answer())
      },
    }),
    array({
      command: 1,
      name: 'GNTTABOP_unmap_grant_ref',
      summary: 'unmap it',
      struct: struct({ host_addr: 'u64', dev_bus_addr: 'u64', handle: 'u32', status }),
      each: ({ kind }, block, f, vcpu) => {
        const device = block.whole(f.dev_bus_addr)
        const host = given(block, f.host_addr)
        const answer = kind.grantMaps?.unmap(vcpu, block.get(f.handle), host, device === 0 ? undefined : device)
        block.set(f.status, answer ?? GntStatus.BAD_HANDLE)
      },
    }),
    single({
      command: 2,
      name: 'GNTTABOP_setup_table',
      summary: 'how large the table shall be, and where it is',
      struct: struct({ dom: domid, nr_frames: 'u32', status, frame_list: 'pointer' }),
      run: (call, block, f) => {
        const { domain } = call
        const list = { low: block.get(f.frame_list), high: block.high(f.frame_list) }
        if (!domain.kind.mayAccess(list.low, list.high)) return Errno.EFAULT
        const dom = block.get(f.dom)
        const { entries } = domain.grants
        const count = block.get(f.nr_frames)
        if (!isSelf(dom)) block.set(f.status, foreign(dom))
        else if (!entries.grow(count)) block.set(f.status, GntStatus.GENERAL_ERROR)
        else {
          const numbers = entries.frames.slice(0, count).map((page) => domain.kind.numberOf(page))
          block.set(f.status, listFrames(call, list, numbers, call.wide))
        }
        return 0
      },
    }),
    array({
      command: 4,
      name: 'GNTTABOP_transfer',
      summary: 'give a frame away, which nobody here takes',
      guest: 'pv',
      struct: struct({ mfn: 'long', domid, ref: 'u32', status }),
      each: ({ kind }, block, f) => {
        const dom = block.get(f.domid)
        if (kind.frame(block.whole(f.mfn)) < 0) block.set(f.status, GntStatus.BAD_PAGE)
        else block.set(f.status, dom === DOM0 || dom === DOMU ? GntStatus.GENERAL_ERROR : GntStatus.BAD_DOMAIN)
      },
    }),
    array({
      command: 5,
      name: 'GNTTABOP_copy',
      summary: 'copy within a page, each end by grant or by frame',
      struct: copyStruct,
      each: (domain, block, f) => block.set(f.status, copy(domain, block, f)),
    }),
    single({
      command: 6,
      name: 'GNTTABOP_query_size',
      summary: 'how large the table is and can be',
      struct: struct({
        dom: domid,
        nr_frames: { c: 'u32', out: true },
        max_nr_frames: { c: 'u32', out: true },
        status,
      }),
      run: ({ domain }, block, f) => {
        const dom = block.get(f.dom)
        if (!isSelf(dom)) block.set(f.status, foreign(dom))
        else {
          block.set(f.nr_frames, domain.grants.entries.frames.length)
          block.set(f.max_nr_frames, domain.grants.entries.maxFrames)
          block.set(f.status, GntStatus.OKAY)
        }
        return 0
      },
    }),
    array({
      command: 7,
      name: 'GNTTABOP_unmap_and_replace',
      summary: 'unmap it and map something else there',
      guest: 'pv',
      struct: struct({ host_addr: 'u64', new_addr: 'u64', handle: 'u32', status }),
      each: ({ kind }, block, f, vcpu) => {
        const addresses = [given(block, f.host_addr), undefined, given(block, f.new_addr)] as const
        block.set(f.status, kind.grantMaps?.unmap(vcpu, block.get(f.handle), ...addresses) ?? GntStatus.BAD_HANDLE)
      },
    }),
    command({
      command: 8,
      name: 'GNTTABOP_set_version',
      summary: 'the format of entries: 1 or 2',
      struct: struct({ version: { c: 'u32', back: true } }),
      errors: {
        EINVAL: 'another one',
        EBUSY: 'entries are in use',
        ERANGE: 'a reserved entry cannot be told in version 1',
        EFAULT: 'the structure cannot be read or written',
      },
      source: header,
      run: (call, block, f) => {
        const { grants } = call.domain
        const answer = grants.setVersion(block.get(f.version))
        block.set(f.version, grants.entries.version)
        // It goes back after an error too.
        return call.copyOut(1, block.bytes, 4) ? answer : Errno.EFAULT
      },
    }),
    single({
      command: 9,
      name: 'GNTTABOP_get_status_frames',
      summary: 'where version 2 has its status words',
      guest: 'pv',
      struct: struct({ nr_frames: 'u32', dom: domid, status, frame_list: 'pointer' }),
      run: (call, block, f) => {
        const { domain } = call
        const list = { low: block.get(f.frame_list), high: block.high(f.frame_list) }
        if (!domain.kind.mayAccess(list.low, list.high)) return Errno.EFAULT
        const dom = block.get(f.dom)
        const frames = domain.grants.entries.status
        const count = block.get(f.nr_frames)
        if (!isSelf(dom)) block.set(f.status, foreign(dom))
        else if (count > frames.length) block.set(f.status, GntStatus.GENERAL_ERROR)
        else {
          const numbers = frames.slice(0, count).map((page) => domain.kind.numberOf(page))
          block.set(f.status, listFrames(call, list, numbers, true))
        }
        return 0
      },
    }),
    command({
      command: 10,
      name: 'GNTTABOP_get_version',
      summary: 'the format of entries',
      struct: struct({ dom: domid, pad: 'u16', version: { c: 'u32', out: true } }),
      errors: { ESRCH: 'no such domain', EPERM: 'another domain', EFAULT: 'the structure cannot be read or written' },
      source: header,
      run: ({ domain }, block, f) => {
        const dom = block.get(f.dom)
        if (!isSelf(dom)) return dom === DOM0 ? Errno.EPERM : Errno.ESRCH
        block.set(f.version, domain.grants.entries.version)
        return 0
      },
    }),
    array({
      command: 11,
      name: 'GNTTABOP_swap_grant_ref',
      summary: 'exchange two entries that nobody uses',
      struct: struct({ ref_a: 'u32', ref_b: 'u32', status }),
      each: ({ grants }, block, f) => block.set(f.status, grants.swap(block.get(f.ref_a), block.get(f.ref_b))),
    }),
  ],
})

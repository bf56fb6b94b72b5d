/**
 * grant_table_op (xen/grant_table.h), as the guest makes it. Commands on arrays do one element after the other, each
 * with its own status.
 *
 * dom0 gives out no grants, so that the guest can map its own ones only, if it is PV; they are the kind's to map.
 */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { command, commands } from '../hypercalls/declare.ts'
import { type Block, type Field, struct } from '../struct.ts'
import { Copies, type CopyEnd } from './copy.ts'
import { map, unmap } from './mappings.ts'
import { array, single } from './rows.ts'
import { GntStatus } from './status.ts'
import { transfer } from './transfer.ts'

const header = 'xen/grant_table.h'
const PAGE = 4096
const COMMAND_MASK = 0xfff

const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const status = { c: 's16', out: true } as const
const isSelf = (dom: number): boolean => dom === DOMID.SELF || dom === DOMU
/** The status for a command about another domain's table. */
const foreign = (dom: number): number => (dom === DOM0 ? GntStatus.PERMISSION_DENIED : GntStatus.BAD_DOMAIN)

/** setup_table, query_size, get_status_frames. */
const singles = new Set([2, 6, 9])

const copyFlags = { source_gref: 0, dest_gref: 1 } as const
const SOURCE_GREF = 1
const DEST_GREF = 2
/** GNTTAB_CACHE_* */
const CLEAN = 1
const INVALIDATE = 2

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

const copyEnd = (block: Block, by: Field, whose: Field, offset: Field, byRef: boolean): CopyEnd => ({
  domid: block.get(whose),
  byRef,
  ref: block.get(by),
  frame: block.whole(by),
  offset: block.get(offset),
})

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
      each: (domain, block, f, vcpu) => {
        const done = map(domain, vcpu, {
          address: { low: block.get(f.host_addr), high: block.high(f.host_addr) },
          flags: block.get(f.flags),
          ref: block.get(f.ref),
          domid: block.get(f.dom),
        })
        block.set(f.status, typeof done === 'number' ? done : GntStatus.OKAY)
        if (typeof done === 'number') return
        block.set(f.handle, done.handle)
        block.set(f.dev_bus_addr, done.frame * PAGE)
      },
    }),
    array({
      command: 1,
      name: 'GNTTABOP_unmap_grant_ref',
      summary: 'unmap it',
      struct: struct({ host_addr: 'u64', dev_bus_addr: 'u64', handle: 'u32', status }),
      each: (domain, block, f, vcpu) => {
        const [host, device] = [given(block, f.host_addr), given(block, f.dev_bus_addr)]
        block.set(f.status, unmap(domain, vcpu, { handle: block.get(f.handle), host, device }))
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
      summary: 'give a frame away for good; only the domain itself could take it',
      guest: 'pv',
      struct: struct({ mfn: 'long', domid, ref: 'u32', status }),
      each: (domain, block, f) => {
        block.set(f.status, transfer(domain, block.whole(f.mfn), block.get(f.domid), block.get(f.ref)))
      },
    }),
    array({
      command: 5,
      name: 'GNTTABOP_copy',
      summary: 'copy within a page, each end by grant or by frame',
      struct: copyStruct,
      begin: (domain) => new Copies(domain),
      each: (_domain, block, f, _vcpu, list) => {
        const flags = block.get(f.flags)
        const source = copyEnd(block, f.source, f.source_domid, f.source_offset, (flags & SOURCE_GREF) !== 0)
        const target = copyEnd(block, f.dest, f.dest_domid, f.dest_offset, (flags & DEST_GREF) !== 0)
        block.set(f.status, list.copy(source, target, block.get(f.len)))
      },
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
      each: (domain, block, f, vcpu) => {
        const [host, other] = [given(block, f.host_addr), given(block, f.new_addr)]
        block.set(f.status, unmap(domain, vcpu, { handle: block.get(f.handle), host, device: undefined, other }))
      },
    }),
    command({
      command: 8,
      name: 'GNTTABOP_set_version',
      summary: 'the format of entries: 1 or 2',
      struct: struct({ version: { c: 'u32', back: true } }),
      errors: {
        EINVAL: 'another one',
        EBUSY: 'entries are in use, or status frames are mapped (PV)',
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
      each: ({ grants }, block, f) => {
        block.set(f.status, grants.swap(block.get(f.ref_a), block.get(f.ref_b)))
      },
    }),
    array({
      command: 12,
      name: 'GNTTABOP_cache_flush',
      summary: 'write back the caches of memory that devices share, of which there is none that is not coherent',
      guest: 'pv',
      struct: struct({
        dev_bus_addr: 'u64',
        offset: 'u16',
        length: 'u16',
        op: { c: 'u32', type: { kind: 'flags', bits: { CLEAN: 0, INVAL: 1 } } },
      }),
      errors: {
        EINVAL: 'a negative count, beyond the page, another operation, or no frame of the machine',
        EOPNOTSUPP: 'to invalidate only',
        EPERM: 'a frame of nobody’s',
      },
      each: (domain, block, f) => {
        const [offset, length, op] = [block.get(f.offset), block.get(f.length), block.get(f.op)]
        if (offset >= PAGE || offset + length > PAGE || op & ~(CLEAN | INVALIDATE)) return Errno.EINVAL
        if (length === 0 || op === 0) return
        const frame = Math.floor(block.whole(f.dev_bus_addr) / PAGE)
        if (frame >= domain.effects.memory.frames) return Errno.EINVAL
        if (domain.kind.frame(frame) < 0) return Errno.EPERM
        return op === INVALIDATE ? Errno.EOPNOTSUPP : undefined
      },
    }),
  ],
})

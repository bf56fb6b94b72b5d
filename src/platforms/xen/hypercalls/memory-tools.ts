/**
 * Commands of memory_op that toolstacks and device models ask (xen/memory.h). A domU is refused most of them, and is told
 * that it has none of the rest. What is looked at first differs from one to the next, and for 32-bit guests.
 */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import { struct } from '../struct.ts'
import { command } from './declare.ts'
import { above, isSelf, lateBits, noBits, other, remote } from './reservation.ts'

const source = 'xen/memory.h'
const EFAULT = 'the structure cannot be read'
const BITS = 'bits above the command'
const ESRCH = 'no such domain'
const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMU, DOMID_SELF: DOMID.SELF } } } as const

const podTarget = struct({
  target_pages: 'a64',
  tot_pages: { c: 'a64', out: true },
  pod_cache_pages: { c: 'a64', out: true },
  pod_entries: { c: 'a64', out: true },
  domid,
})

const populateOnDemand = (number: number, name: string) =>
  command({
    command: number,
    name,
    summary: 'memory that is populated on demand, which is dom0’s',
    struct: podTarget,
    errors: {
      EPERM: 'always, for an HVM or PVH guest',
      EINVAL: 'always, for a PV domain',
      ESRCH,
      EFAULT,
      ENOSYS: BITS,
    },
    source,
    check: noBits('ENOSYS'),
    run: ({ domain }, block, f) => {
      const dom = block.get(f.domid)
      if (dom !== DOM0 && !isSelf(dom)) return Errno.ESRCH
      return dom === DOM0 || domain.kind.name === 'pv' ? Errno.EINVAL : Errno.EPERM
    },
  })

const shared = (number: number, name: string, summary: string) =>
  command({
    command: number,
    name,
    summary,
    errors: { ENOSYS: BITS },
    source,
    check: noBits('ENOSYS'),
    run: () => 0,
  })

const resource = struct({
  domid,
  type: { c: 'u16', type: { kind: 'choice', values: { ioreq_server: 0, grant_table: 1, vmtrace_buf: 2 } } },
  id: 'u32',
  nr_frames: 'u32',
  pad: 'u32',
  frame: 'u64',
  frame_list: 'pointer',
})
/** Frame numbers that Xen translates at once for a 32-bit guest, in two pages after the structure. */
const TRANSLATED_FRAMES = (2 * 4096 - resource.wide) / 8
const frames = new Uint8Array(4 * TRANSLATED_FRAMES)

export const toolMemoryCommands = [
  command({
    command: 10,
    name: 'XENMEM_machine_memory_map',
    summary: 'the machine’s map, which is dom0’s',
    guest: 'pv',
    struct: struct({ nr_entries: 'u32', buffer: 'pointer' }),
    errors: { EPERM: 'always', EFAULT: 'the structure of a 32-bit guest cannot be read', ENOSYS: BITS },
    source,
    check: (call) => noBits('ENOSYS')(call) || (call.wide ? Errno.EPERM : 0),
    run: () => Errno.EPERM,
  }),
  populateOnDemand(16, 'XENMEM_set_pod_target'),
  populateOnDemand(17, 'XENMEM_get_pod_target'),
  shared(18, 'XENMEM_get_sharing_freed_pages', 'frames that sharing has saved: none'),
  shared(19, 'XENMEM_get_sharing_shared_pages', 'frames that are shared: none'),
  command({
    command: 21,
    name: 'XENMEM_access_op',
    summary: 'what another guest may do with its pages, which its monitor decides',
    struct: struct({
      op: 'u8',
      access: 'u8',
      domid,
      nr: 'u32',
      pfn: 'a64',
      pfn_list: 'pointer',
      access_list: 'pointer',
    }),
    errors: {
      EPERM: 'always, for itself by its number',
      ESRCH: `${ESRCH}, or DOMID_SELF`,
      EINVAL: 'dom0, a PV domain',
      EFAULT,
    },
    source,
    run: (_, block, f) => remote(block.get(f.domid), Errno.EINVAL),
  }),
  command({
    command: 24,
    name: 'XENMEM_claim_pages',
    summary: 'keep frames for a domain to be built, which only dom0 may',
    struct: struct({
      extent_start: 'pointer',
      nr_extents: 'long',
      extent_order: 'u32',
      mem_flags: 'u32',
      domid,
    }),
    errors: {
      EPERM: 'always, if the structure is right',
      EINVAL: `it is not, or ${BITS}`,
      EFAULT,
      ENOSYS: 'a 32-bit guest',
    },
    source,
    check: (call) => (call.wide ? noBits('EINVAL')(call) : Errno.ENOSYS),
    run: (_, block, f) => {
      const list = block.get(f.extent_start) | block.high(f.extent_start)
      if (list !== 0 || block.get(f.extent_order) !== 0 || block.get(f.mem_flags) !== 0) return Errno.EINVAL
      const dom = block.get(f.domid)
      return dom === DOM0 || dom === DOMU ? Errno.EPERM : Errno.EINVAL
    },
  }),
  command({
    command: 26,
    name: 'XENMEM_get_vnumainfo',
    summary: 'virtual NUMA nodes, which the domain has none of',
    struct: struct({
      domid,
      pad: 'u16',
      nr_vnodes: 'u32',
      nr_vcpus: 'u32',
      nr_vmemranges: 'u32',
      vdistance: 'u64',
      vcpu_to_vnode: 'u64',
      vmemrange: 'u64',
    }),
    errors: {
      EOPNOTSUPP: 'always, for itself',
      EINVAL: `${BITS}, or a pad that is not 0`,
      EPERM: 'another domain',
      ESRCH,
      EFAULT,
    },
    source,
    check: lateBits('EINVAL'),
    run: (call, block, f) => {
      if (above(call) !== 0 || block.get(f.pad) !== 0) return Errno.EINVAL
      const dom = block.get(f.domid)
      return isSelf(dom) ? Errno.EOPNOTSUPP : other(dom)
    },
  }),
  command({
    command: 27,
    name: 'XENMEM_reserved_device_memory_map',
    summary: 'frames that devices have for themselves: none',
    struct: struct({
      flags: { c: 'u32', type: { kind: 'flags', bits: { all: 0 } } },
      nr_entries: { c: 'u32', back: true },
      buffer: 'pointer',
      device: 'u32',
    }),
    errors: { EINVAL: `${BITS}, or unknown flags`, EFAULT: 'the structure or the list cannot be read or written' },
    source,
    check: noBits('EINVAL'),
    run: ({ domain }, block, f) => {
      if (!domain.kind.mayAccess(block.get(f.buffer), block.high(f.buffer))) return Errno.EFAULT
      if (block.get(f.flags) > 1) return Errno.EINVAL
      block.set(f.nr_entries, 0)
      return 0
    },
  }),
  command({
    command: 28,
    name: 'XENMEM_acquire_resource',
    summary: 'pages of another domain’s grant table or device model',
    guest: 'pv',
    struct: resource,
    errors: {
      EPERM: 'always, for a domain that there is',
      ESRCH: `${ESRCH}, or DOMID_SELF`,
      EINVAL: 'a pad that is not 0, frames beyond 2^32, bits above the command of a 32-bit guest',
      EFAULT,
    },
    source,
    run: (call, block, f) => {
      const list = block.get(f.frame_list) | block.high(f.frame_list)
      const count = block.get(f.nr_frames)
      const start = call.wide || list === 0 || count === 0 ? 0 : above(call)
      if (start !== 0 && start >= count) return Errno.EINVAL
      const asked = Math.min(count - start, call.wide ? Infinity : TRANSLATED_FRAMES)
      if (block.get(f.pad) !== 0) return Errno.EINVAL
      const frame = BigInt.asUintN(64, block.big(f.frame) + BigInt(start))
      if (frame + BigInt(list === 0 ? count : asked) >= 1n << 32n) return Errno.EINVAL
      return remote(block.get(f.domid))
    },
  }),
  command({
    command: 28,
    name: 'XENMEM_acquire_resource',
    summary: 'pages of another domain, which a translated guest may not have',
    guest: 'pvh',
    struct: resource,
    errors: {
      EACCES: 'always',
      EINVAL: 'bits above the command of a 32-bit guest',
      EFAULT: 'the structure or the list of a 32-bit guest cannot be read',
    },
    source,
    check: (call) => (call.wide ? Errno.EACCES : 0),
    run: (call, block, f) => {
      const { domain, vcpu } = call
      const [list, count, start] = [block.get(f.frame_list), block.get(f.nr_frames), above(call)]
      if (list === 0 || count === 0) return Errno.EACCES
      if (start >= count) return Errno.EINVAL
      const bytes = 4 * Math.min(count - start, TRANSLATED_FRAMES)
      const at = list + 4 * start
      const read = domain.guest.copyIn(vcpu, at >>> 0, Math.floor(at / 2 ** 32), frames, bytes)
      return read ? Errno.EACCES : Errno.EFAULT
    },
  }),
]

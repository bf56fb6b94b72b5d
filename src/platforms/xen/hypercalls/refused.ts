/** What only dom0 or parts that this Xen was not built with would do: a domU gets the errors (Xen 4.17). */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import type { Argument } from '../../../paravirt/requests.ts'
import { type Hypercall, hypercall } from './declare.ts'
import { remote } from './reservation.ts'

const pointer = (name: string): Argument => ({ name, type: { kind: 'linear' } })
const word = (name: string): Argument => ({ name, type: { kind: 'u32' } })
const head = new Uint8Array(256)
const headView = new DataView(head.buffer)

/** A control structure with its version in word `at`, then: may you? */
const controlled = (number: number, name: string, bytes: number, at: number, version: number): Hypercall =>
  hypercall({
    number,
    name,
    summary: 'control of Xen, which is dom0’s',
    args: [pointer('op')],
    errors: { EPERM: 'always, if the structure is right', EACCES: 'another version', EFAULT: 'it cannot be read' },
    run: (call) => {
      if (!call.copyIn(0, head, bytes)) return Errno.EFAULT
      return headView.getUint32(at, true) === version ? Errno.EPERM : Errno.EACCES
    },
  })

const always = (
  number: number,
  name: string,
  summary: string,
  error: 'EPERM' | 'ENOSYS' | 'EOPNOTSUPP',
  guest?: 'pv',
) =>
  hypercall({
    number,
    name,
    summary,
    args: [word('cmd'), pointer('arg')],
    errors: { [error]: 'always' },
    ...(guest ? { guest } : {}),
    run: () => Errno[error],
  })

const DOMCTL_BYTES = 144
const DOMCTL_DOMAIN = 8
const DOMCTL_SHADOW_OP = 10
/** struct xen_domctl_shadow_op in it. */
const SHADOW_OP = { at: 16, bytes: 40 } as const
const DOMCTL_VERSION = 0x15
/** Commands of domctl that name no domain, or may. */
const domctlWithoutDomain = new Set([1, 33, 38, 47, 50, 77])

export const refused: readonly Hypercall[] = [
  controlled(7, 'platform_op', 136, 4, 0x03000001),
  controlled(35, 'sysctl', 136, 4, 0x15),
  hypercall({
    number: 36,
    name: 'domctl',
    summary: 'control of domains, which is dom0’s',
    args: [pointer('op')],
    errors: {
      EPERM: 'always, if the structure is right',
      EACCES: 'another version',
      ESRCH: 'no such domain',
      EFAULT: 'it cannot be read',
    },
    source: 'xen/domctl.h',
    run: (call) => {
      if (!call.copyIn(0, head, DOMCTL_BYTES)) return Errno.EFAULT
      if (headView.getUint32(4, true) !== DOMCTL_VERSION) return Errno.EACCES
      const dom = headView.getUint16(DOMCTL_DOMAIN, true)
      const known = dom === DOM0 || dom === DOMU || domctlWithoutDomain.has(headView.getUint32(0, true))
      return known ? Errno.EPERM : Errno.ESRCH
    },
  }),
  hypercall({
    number: 26,
    name: 'mmuext_op',
    summary: 'page tables of a PV guest, which a PVH guest is not',
    guest: 'pvh',
    args: [pointer('ops'), word('count'), pointer('done'), word('foreigndom')],
    errors: { EINVAL: 'for itself', EPERM: 'for another domain', ESRCH: 'no such domain' },
    run: (call) => {
      const dom = call.arg(3) & 0xffff
      if (dom === DOMID.SELF) return Errno.EINVAL
      return dom === DOM0 || dom === DOMID.IO || dom === DOMID.XEN ? Errno.EPERM : Errno.ESRCH
    },
  }),
  always(27, 'xsm_op', 'security modules, which are not there', 'ENOSYS'),
  always(39, 'argo_op', 'Argo, which is not there', 'ENOSYS'),
  always(40, 'xenpmu_op', 'performance counters, which are off', 'EOPNOTSUPP'),
  always(42, 'hypfs_op', 'Xen’s file system, which is dom0’s', 'EPERM'),
  always(37, 'kexec_op', 'kexec, which is dom0’s', 'EPERM', 'pv'),
  always(48, 'mca', 'machine checks, which are dom0’s', 'EPERM', 'pv'),
  hypercall({
    number: 41,
    name: 'dm_op',
    summary: 'what device models ask of Xen',
    args: [word('domid'), word('nr_bufs'), pointer('bufs')],
    errors: {
      E2BIG: 'more than two',
      EFAULT: 'the list cannot be read',
      EPERM: 'always, for itself by its number',
      EINVAL: 'for dom0, which is no HVM guest',
      ESRCH: 'no such domain, or DOMID_SELF',
    },
    source: 'xen/hvm/dm_op.h',
    run: (call) => {
      const count = call.arg(1)
      if (count > 2) return Errno.E2BIG
      if (!call.copyIn(2, head, (call.wide ? 16 : 8) * count)) return Errno.EFAULT
      return remote(call.arg(0) & 0xffff, Errno.EINVAL)
    },
  }),
  hypercall({
    number: 49,
    name: 'paging_domctl_cont',
    summary: 'domctl’s shadow_op where it goes on, which is dom0’s',
    args: [pointer('op')],
    errors: {
      EPERM: 'always, if the structure is right',
      EOPNOTSUPP: 'another command or version',
      ESRCH: 'no such domain',
      EFAULT: 'it cannot be read, or its answer not written',
    },
    source: 'xen/domctl.h',
    run: (call) => {
      if (!call.copyIn(0, head, DOMCTL_BYTES)) return Errno.EFAULT
      const shadow = headView.getUint32(0, true) === DOMCTL_SHADOW_OP
      if (!shadow || headView.getUint32(4, true) !== DOMCTL_VERSION) return Errno.EOPNOTSUPP
      const dom = headView.getUint16(DOMCTL_DOMAIN, true)
      if (dom !== DOM0 && dom !== DOMU) return Errno.ESRCH
      const { at, bytes } = SHADOW_OP
      return call.copyOut(0, head.subarray(at, at + bytes), bytes, at) ? Errno.EPERM : Errno.EFAULT
    },
  }),
]

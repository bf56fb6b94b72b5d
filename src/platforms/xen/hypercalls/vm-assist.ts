/** vm_assist (xen/xen.h). */
import { Errno } from '../errno.ts'
import { hypercall } from './declare.ts'

/** VMASST_TYPE_*: bit numbers of `domain.assists`. */
export const Assist = {
  '4gb_segments': 0,
  '4gb_segments_notify': 1,
  writable_pagetables: 2,
  pae_extended_cr3: 3,
  architectural_iopl: 4,
  runstate_update_flag: 5,
  m2p_strict: 32,
} as const

/** Types above these are for 64-bit guests. */
const NARROW_TYPES = 32

/** What each kind of guest can switch. */
const valid: Readonly<Record<'pvh' | 'pv', readonly number[]>> = {
  pvh: [Assist.runstate_update_flag],
  // Some mean something to 32-bit guests only, and are taken all the same.
  pv: Object.values(Assist),
}

export const vmAssist = hypercall({
  number: 21,
  name: 'vm_assist',
  summary: 'switch a way in which Xen helps on or off',
  args: [
    { name: 'cmd', type: { kind: 'choice', values: { VMASST_CMD_enable: 0, VMASST_CMD_disable: 1 } } },
    { name: 'type', type: { kind: 'choice', values: Assist } },
  ],
  errors: { EINVAL: 'a type that this kind of guest has not', ENOSYS: 'neither on nor off' },
  source: 'xen/xen.h',
  run: (call) => {
    const { assists, kind } = call.domain
    const type = call.arg(1)
    const known = valid[kind.name].includes(type) && (call.wide || type < NARROW_TYPES)
    if (!known) return Errno.EINVAL
    if (call.arg(0) > 1) return Errno.ENOSYS
    if (call.arg(0) === 0) assists.add(type)
    else assists.delete(type)
    kind.assisted(assists)
    return 0
  },
})

/** xen_version (xen/version.h): what this Xen is and offers. */
import { Errno } from '../errno.ts'
import { struct } from '../struct.ts'
import type { Call } from './call.ts'
import { command, commands } from './declare.ts'
import { Assist } from './vm-assist.ts'

/** Debian's xen-hypervisor-4.17. */
const MAJOR = 4
const MINOR = 17
const EXTRA = '.7'
const DENIED = '<denied>'
export const VERSION = (MAJOR << 16) | MINOR

const HYPERVISOR_VIRT_START = 0xffff800000000000n
const PAGE = 4096

/** XENFEAT_*: bits of what XENVER_get_features answers. */
const Feature = {
  WRITABLE_PAGE_TABLES: 0,
  AUTO_TRANSLATED_PHYSMAP: 2,
  PAE_PGDIR_ABOVE_4GB: 4,
  MMU_PT_UPDATE_PRESERVE_AD: 5,
  HIGHMEM_ASSIST: 6,
  GNTTAB_MAP_AVAIL_BITS: 7,
  HVM_CALLBACK_VECTOR: 8,
  HVM_SAFE_PVCLOCK: 9,
  MEMORY_OP_VNODE: 13,
  NOT_DIRECT_MAPPED: 16,
  DIRECT_MAPPED: 17,
} as const

const bits = (...list: number[]): number => list.reduce((all, bit) => all | (1 << bit), 0)
const features = {
  pvh: bits(
    Feature.WRITABLE_PAGE_TABLES,
    Feature.AUTO_TRANSLATED_PHYSMAP,
    Feature.HVM_CALLBACK_VECTOR,
    Feature.HVM_SAFE_PVCLOCK,
    Feature.MEMORY_OP_VNODE,
    Feature.NOT_DIRECT_MAPPED,
  ),
  pv: bits(
    Feature.MMU_PT_UPDATE_PRESERVE_AD,
    Feature.HIGHMEM_ASSIST,
    Feature.GNTTAB_MAP_AVAIL_BITS,
    Feature.MEMORY_OP_VNODE,
    Feature.DIRECT_MAPPED,
  ),
}

/** Texts one after another, each in a field of its length, NULs after it. */
function texts(...fields: readonly (readonly [text: string, length: number])[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [, length]) => sum + length, 0))
  let at = 0
  for (const [text, length] of fields) {
    new TextEncoder().encodeInto(text, bytes.subarray(at, at + length - 1))
    at += length
  }
  return bytes
}

const give = (call: Call, bytes: Uint8Array): number => (call.copyOut(1, bytes) ? 0 : Errno.EFAULT)

const source = 'xen/version.h'
const EFAULT = 'the answer cannot be written'
const pointer = [{ name: 'buffer', type: { kind: 'linear' } }] as const

/** A command that answers with the same bytes always. */
const constant = (number: number, name: string, summary: string, bytes: Uint8Array) =>
  command({
    command: number,
    name,
    summary,
    args: pointer,
    errors: { EFAULT },
    source,
    run: (call) => give(call, bytes),
  })

const HVM = 'hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 '
/** Debian builds Xen without 32-bit PV guests. */
const capabilities = texts([`xen-3.0-x86_64 ${HVM}`, 1024])
const capabilities32 = texts([`xen-3.0-x86_64 xen-3.0-x86_32p ${HVM}`, 1024])

const compileInfo = texts(
  ['x86_64-linux-gnu-gcc (Debian 12.2.0-14+deb12u1) 12.2.0', 64],
  ['pkg-xen-devel', 16],
  ['lists.alioth.debian.org', 32],
  ['Mon Mar 16 18:36:06 UTC 2026', 32],
)

export const xenVersion = commands({
  number: 17,
  name: 'xen_version',
  summary: 'version and features',
  source,
  commands: [
    command({
      command: 0,
      name: 'XENVER_version',
      summary: 'major and minor number; also a way to have pending events delivered',
      ops: ['irq.irq_enable', 'irq.restore_fl'],
      source,
      run: () => VERSION,
    }),
    constant(1, 'XENVER_extraversion', 'the rest of the version', texts([EXTRA, 16])),
    constant(2, 'XENVER_compile_info', 'compiler, by whom, where and when', compileInfo),
    command({
      command: 3,
      name: 'XENVER_capabilities',
      summary: 'interfaces that guests may use',
      args: pointer,
      errors: { EFAULT },
      source,
      run: (call) => give(call, call.domain.kind.narrow ? capabilities32 : capabilities),
    }),
    constant(4, 'XENVER_changeset', 'the source’s revision', texts(['', 64])),
    command({
      command: 5,
      name: 'XENVER_platform_parameters',
      summary: 'where the hypervisor’s addresses begin',
      args: pointer,
      errors: { EFAULT },
      source,
      run: (call, block) => {
        const { wide } = call
        block.view.setBigUint64(0, wide ? HYPERVISOR_VIRT_START : 0xf5800000n, true)
        return call.copyOut(1, block.bytes, wide ? 8 : 4) ? 0 : Errno.EFAULT
      },
    }),
    command({
      command: 6,
      name: 'XENVER_get_features',
      summary: 'a word of feature bits',
      struct: struct({ submap_idx: 'u32', submap: { c: 'u32', out: true } }),
      errors: { EINVAL: 'no such word', EFAULT: 'the structure cannot be read or written' },
      ops: ['machine.detect'],
      source,
      run: ({ domain }, block, f) => {
        if (block.get(f.submap_idx) !== 0) return Errno.EINVAL
        const assisted = domain.assists.has(Assist.pae_extended_cr3) ? bits(Feature.PAE_PGDIR_ABOVE_4GB) : 0
        block.set(f.submap, features[domain.kind.name] | assisted)
        return 0
      },
    }),
    command({
      command: 7,
      name: 'XENVER_pagesize',
      summary: 'bytes of a page; the pointer must be NULL',
      args: pointer,
      errors: { EINVAL: 'it is not' },
      source,
      run: (call) => (call.isNull(1) ? PAGE : Errno.EINVAL),
    }),
    command({
      command: 8,
      name: 'XENVER_guest_handle',
      summary: 'the domain’s UUID',
      args: pointer,
      errors: { EFAULT },
      source,
      run: (call) => give(call, call.domain.uuid),
    }),
    constant(
      9,
      'XENVER_commandline',
      'Xen’s command line, which is not for such domains',
      texts([DENIED, DENIED.length + 1]),
    ),
    command({
      command: 10,
      name: 'XENVER_build_id',
      summary: 'Xen’s build id, which is not for such domains',
      args: pointer,
      errors: { EPERM: 'always' },
      source,
      run: () => Errno.EPERM,
    }),
  ],
})

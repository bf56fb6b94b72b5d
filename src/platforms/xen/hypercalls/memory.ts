/**
 * memory_op (xen/memory.h): what both kinds of guest ask alike. Where frames come from and go to is the kind's; PV's
 * own commands are in `mm`.
 *
 * The command's high bits count the extents that are done: the guest never sees them, they are where a long operation
 * goes on.
 */
import { DOM0, DOMID } from '../constants.ts'
import { Errno } from '../errno.ts'
import type { Extents } from '../kind.ts'
import { type Block, struct } from '../struct.ts'
import type { Call } from './call.ts'
import { type Answer, command, commands } from './declare.ts'
import { COMMAND_BITS, isSelf, noBits, other } from './reservation.ts'
import { toolMemoryCommands } from './memory-tools.ts'
import { pvMemoryCommands } from '../mm/hypercalls.ts'
import { physmapCommands } from '../pvh/physmap-commands.ts'

const source = 'xen/memory.h'
const EFAULT = 'the structure cannot be read'
const COMMAND_MASK = 2 ** COMMAND_BITS - 1
/** Extents that are done before others have their turn. */
const SLICE = 512
/** A domU without devices may ask for extents of up to 2 MiB (CONFIG_DOMU_MAX_ORDER). */
const MAX_ORDER = 9
const MAX_EXTENTS = 0xffffffff >>> COMMAND_BITS
const E820_ENTRY = 20

const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const reservation = struct({
  extent_start: 'pointer',
  nr_extents: 'long',
  extent_order: 'u32',
  mem_flags: 'u32',
  domid,
})
const pfnBytes = new Uint8Array(8)
const pfnView = new DataView(pfnBytes.buffer)

type Change = 'increase' | 'decrease' | 'populate'

function extentsOf(call: Call, block: Block): Extents {
  const { domain, vcpu, wide } = call
  const f = reservation.fields
  const low = block.get(f.extent_start)
  const high = block.high(f.extent_start)
  const size = wide ? 8 : 4
  const place = (index: number) => low + size * index
  const carried = (at: number) => (high + Math.floor(at / 2 ** 32)) >>> 0
  return {
    order: block.get(f.extent_order),
    none: low === 0 && high === 0,
    read: (index) => {
      const at = place(index)
      if (!domain.guest.copyIn(vcpu, at >>> 0, carried(at), pfnBytes, size)) return -1
      const upper = wide ? pfnView.getUint32(4, true) : 0
      return upper >= 0x200000 ? Infinity : upper * 2 ** 32 + pfnView.getUint32(0, true)
    },
    write: (index, frame) => {
      const at = place(index)
      pfnView.setBigUint64(0, BigInt(frame), true)
      return domain.guest.copyOut(vcpu, at >>> 0, carried(at), pfnBytes, size)
    },
  }
}

/** The three commands that change what the domain has. The answer is how many extents are done. */
const change = (number: number, name: string, summary: string, what: Change) =>
  command({
    command: number,
    name,
    summary: `${summary}; answers how many were done`,
    guest: 'pvh',
    args: reservation.list.map(({ name: field, type }) => ({ name: field, type })),
    source,
    run: (call, block): Answer => {
      const start = call.arg(0) >>> COMMAND_BITS
      const f = reservation.fields
      if (!call.copyIn(1, block.bytes, block.size(reservation))) return start
      const count = block.whole(f.nr_extents)
      if (count > MAX_EXTENTS || start >= count) return start
      if (!isSelf(block.get(f.domid))) return start
      const extents = extentsOf(call, block)
      const { kind } = call.domain
      if (!kind.mayAccess(block.get(f.extent_start), block.high(f.extent_start)) && !extents.none) return start
      if (extents.order > MAX_ORDER) return start
      const end = Math.min(count, start + Math.max(1, SLICE >> extents.order))
      for (let i = start; i < end; i++) if (!kind.changeExtent(what, extents, i)) return i
      if (end === count) return end
      call.setArg(0, ((end << COMMAND_BITS) | number) >>> 0)
      return 'continue'
    },
  })

/** Commands that answer a number about a domain. */
const about = (number: number, name: string, summary: string, value: (call: Call) => number) =>
  command({
    command: number,
    name,
    summary,
    struct: struct({ domid }),
    errors: { EINVAL: 'bits above the command', ESRCH: 'no such domain', EPERM: 'another domain', EFAULT },
    source,
    check: noBits('EINVAL'),
    run: (call, block, f) => {
      const dom = block.get(f.domid)
      return isSelf(dom) ? value(call) : other(dom)
    },
  })

export const memoryOp = commands({
  number: 12,
  name: 'memory_op',
  summary: 'memory of the domain',
  source,
  commandMask: COMMAND_MASK,
  commands: [
    change(0, 'XENMEM_increase_reservation', 'more frames', 'increase'),
    change(1, 'XENMEM_decrease_reservation', 'give frames back', 'decrease'),
    command({
      command: 2,
      name: 'XENMEM_maximum_ram_page',
      summary: 'the number after the last frame of the machine',
      errors: { EINVAL: 'bits above the command' },
      source,
      check: noBits('EINVAL'),
      run: (call) => call.domain.effects.memory.frames,
    }),
    about(3, 'XENMEM_current_reservation', 'how many frames the domain has', ({ domain }) => domain.kind.pages),
    about(4, 'XENMEM_maximum_reservation', 'how many it may have', ({ domain }) => domain.maxPages),
    change(6, 'XENMEM_populate_physmap', 'frames behind numbers of the guest’s choice', 'populate'),
    command({
      command: 9,
      name: 'XENMEM_memory_map',
      summary: 'the map of guest-physical memory, as e820 entries',
      struct: struct({ nr_entries: { c: 'u32', back: true }, buffer: 'pointer' }),
      errors: {
        EFAULT: 'the structure or the map cannot be read or written',
        ENOSYS: 'bits above the command; XENMEM_set_memory_map left none',
      },
      source,
      check: noBits('ENOSYS'),
      run: (call, block, f) => {
        const { domain, vcpu } = call
        const map = domain.memoryMap
        if (map.length === 0) return Errno.ENOSYS
        const count = Math.min(block.get(f.nr_entries), map.length)
        const bytes = new Uint8Array(map.length * E820_ENTRY)
        const e820View = new DataView(bytes.buffer)
        for (const [i, { address, size, type }] of map.entries()) {
          e820View.setBigUint64(i * E820_ENTRY, address, true)
          e820View.setBigUint64(i * E820_ENTRY + 8, size, true)
          e820View.setUint32(i * E820_ENTRY + 16, type, true)
        }
        if (!domain.guest.copyOut(vcpu, block.get(f.buffer), block.high(f.buffer), bytes, count * E820_ENTRY))
          return Errno.EFAULT
        block.set(f.nr_entries, count)
        return 0
      },
    }),
    command({
      command: 13,
      name: 'XENMEM_set_memory_map',
      summary: 'replace the map that XENMEM_memory_map gives',
      struct: struct({ domid, gap: 'gap', nr_entries: 'u32', buffer: 'pointer' }),
      errors: {
        EINVAL: 'more than 1024 entries',
        ESRCH: 'no such domain',
        EPERM: 'another domain',
        EFAULT,
        ENOSYS: 'bits above the command',
      },
      source,
      check: noBits('ENOSYS'),
      run: (call, block, f) => {
        const { domain, vcpu } = call
        const count = block.get(f.nr_entries)
        if (count > 1024) return Errno.EINVAL
        const dom = block.get(f.domid)
        if (!isSelf(dom)) return other(dom)
        const bytes = new Uint8Array(count * E820_ENTRY)
        if (!domain.guest.copyIn(vcpu, block.get(f.buffer), block.high(f.buffer), bytes, bytes.length))
          return Errno.EFAULT
        const view = new DataView(bytes.buffer)
        domain.memoryMap = Array.from({ length: count }, (_, i) => ({
          address: view.getBigUint64(i * E820_ENTRY, true),
          size: view.getBigUint64(i * E820_ENTRY + 8, true),
          type: view.getUint32(i * E820_ENTRY + 16, true),
        }))
        return 0
      },
    }),
    ...physmapCommands,
    ...pvMemoryCommands,
    about(14, 'XENMEM_maximum_gpfn', 'the highest frame number of the guest', ({ domain }) => domain.kind.maximumGpfn),
    ...toolMemoryCommands,
  ],
})

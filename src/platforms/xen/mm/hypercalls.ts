/** Hypercalls of direct paging, which only PV has. */
import { Errno } from '../errno.ts'
import { command, type Command, type Hypercall, hypercall } from '../hypercalls/declare.ts'
import { struct } from '../struct.ts'
import { NARROW_END } from './entries.ts'
import { Extents } from './extents.ts'
import { exchange } from './exchange.ts'
import { mmOf } from './mm.ts'
import { mmuUpdate } from './mmu-update.ts'
import { mmuextOp } from './mmuext-op.ts'
import { changeReservation, Reservation } from './reservation.ts'
import { updateVaMapping, updateVaMappingOtherDomain } from './update-va-mapping.ts'

const pointer = (name: string) => ({ name, type: { kind: 'linear' } }) as const
const word = (name: string) => ({ name, type: { kind: 'u64' } }) as const
const number = (name: string) => ({ name, type: { kind: 'u32' } }) as const

const batchErrors = {
  EFAULT: 'the array cannot be read',
  ESRCH: 'no such domain, or this one by its number',
  EPERM: 'of another domain, or no memory of a guest’s',
  EINVAL: 'a frame that is not its own or of the wrong type; refused flags',
  EBUSY: 'a writable mapping of a table, or a table with writable mappings',
  ENOSYS: 'unknown kind of update, or command',
} as const

const maskError = 'the set of vCPUs cannot be read; the entry is changed'

const flags = {
  name: 'flags',
  type: {
    kind: 'fields',
    fields: [
      ['flush', 0, 2],
      ['vcpus', 2, 62],
    ],
  },
} as const

export const mmuHypercalls: readonly Hypercall[] = [
  hypercall({
    number: 1,
    name: 'mmu_update',
    summary: 'change page-table entries, or the machine-to-physical table',
    guest: 'pv',
    args: [pointer('req'), number('count'), pointer('done'), number('foreigndom')],
    errors: batchErrors,
    ops: ['mmu.set_pte', 'mmu.set_pmd', 'mmu.set_pud', 'mmu.set_p4d'],
    run: (call) => mmuUpdate(call, mmOf(call)),
  }),
  hypercall({
    number: 14,
    name: 'update_va_mapping',
    summary: 'change the L1 entry of a linear address, and flush it',
    guest: 'pv',
    args: [word('va'), word('val'), flags],
    errors: {
      EINVAL: 'no L1 table of its own there; refused flags',
      EBUSY: batchErrors.EBUSY,
      EPERM: 'no memory of a guest’s',
      EFAULT: maskError,
    },
    ops: ['mmu.set_pte'],
    run: (call) => updateVaMapping(call, mmOf(call)),
  }),
  hypercall({
    number: 22,
    name: 'update_va_mapping_otherdomain',
    summary: 'the same for a frame of another domain',
    guest: 'pv',
    args: [word('va'), word('val'), flags, number('domid')],
    errors: {
      ESRCH: batchErrors.ESRCH,
      EPERM: 'another domain, or no memory of a guest’s',
      EINVAL: batchErrors.EINVAL,
      EBUSY: batchErrors.EBUSY,
      EFAULT: maskError,
    },
    run: (call) => updateVaMappingOtherDomain(call, mmOf(call)),
  }),
  hypercall({
    number: 26,
    name: 'mmuext_op',
    summary: 'pin page tables, change roots, flush TLBs, set the LDT, clear and copy pages',
    guest: 'pv',
    args: [pointer('op'), number('count'), pointer('done'), number('foreigndom')],
    errors: {
      ...batchErrors,
      EACCES: 'FLUSH_CACHE without devices',
      EOPNOTSUPP: 'MARK_SUPER, UNMARK_SUPER',
    },
    ops: ['mmu.write_cr3', 'mmu.flush_tlb_user', 'mmu.flush_tlb_one_user', 'mmu.flush_tlb_multi', 'cpu.set_ldt'],
    run: (call) => mmuextOp(call, mmOf(call)),
  }),
]

const extents = [pointer('extent_start'), number('nr_extents'), number('extent_order')]
const never = { EFAULT: 'never: the answer is how many extents are done' } as const

const mapping = struct({
  v_start: { c: 'long', out: true },
  v_end: { c: 'long', out: true },
  max_mfn: { c: 'long', out: true },
})

/** Where the guest finds the machine-to-physical table, and how many entries there is room for. */
const M2P_START = 0xffff800000000000n
const M2P_END = 0xffff804000000000n
const NARROW_M2P_END = 0xffe00000n

const machphysList = struct({
  max_extents: 'u32',
  extent_start: 'pointer',
  nr_extents: { c: 'u32', out: true },
})

/** Frames of the table that a 2 MiB page maps. */
const M2P_CHUNK = 512
const CHUNK_BYTES = 1 << 21

/** Commands of memory_op. */
export const pvMemoryCommands: readonly Omit<Command, 'number'>[] = [
  command({
    command: Reservation.INCREASE,
    name: 'XENMEM_increase_reservation',
    summary: 'more memory',
    source: 'xen/memory.h',
    guest: 'pv',
    args: extents,
    errors: never,
    run: (call) => changeReservation(call, mmOf(call), Reservation.INCREASE),
  }),
  command({
    command: Reservation.DECREASE,
    name: 'XENMEM_decrease_reservation',
    summary: 'give memory back',
    source: 'xen/memory.h',
    guest: 'pv',
    args: extents,
    errors: never,
    run: (call) => changeReservation(call, mmOf(call), Reservation.DECREASE),
  }),
  command({
    command: Reservation.POPULATE,
    name: 'XENMEM_populate_physmap',
    summary: 'more memory, as pages with these numbers',
    source: 'xen/memory.h',
    guest: 'pv',
    args: extents,
    errors: never,
    run: (call) => changeReservation(call, mmOf(call), Reservation.POPULATE),
  }),
  command({
    command: 11,
    name: 'XENMEM_exchange',
    summary: 'other frames for these, larger or lower ones',
    source: 'xen/memory.h',
    guest: 'pv',
    args: [pointer('exchange')],
    errors: {
      EFAULT: 'a list or the structure cannot be read or written',
      EPERM: 'extents larger than 2 MiB; another domain',
      EINVAL: 'sizes that differ; a frame that is not its own or in use',
      ENOMEM: 'no such extents are free',
      ESRCH: 'no such domain',
    },
    run: (call) => exchange(call, mmOf(call)),
  }),
  command({
    command: 5,
    name: 'XENMEM_machphys_mfn_list',
    summary: 'frames of the machine-to-physical table, one for each 2 MiB of it',
    source: 'xen/memory.h',
    guest: 'pv',
    struct: machphysList,
    errors: { EFAULT: 'the list cannot be written' },
    run: (call, block, fields) => {
      const { frames } = mmOf(call)
      const chunks = Math.ceil((frames.count * (call.wide ? 8 : 4)) / CHUNK_BYTES)
      const list = new Extents(call, block.get(fields.extent_start), block.high(fields.extent_start))
      const count = Math.min(chunks, block.get(fields.max_extents))
      if (count > 0 && !list.allowed(0)) return Errno.EFAULT
      for (let i = 0; i < count; i++) if (!list.write(i, frames.m2p + i * M2P_CHUNK)) return Errno.EFAULT
      block.set(fields.nr_extents, count)
      return 0
    },
  }),
  command({
    command: 12,
    name: 'XENMEM_machphys_mapping',
    summary: 'where the machine-to-physical table is',
    source: 'xen/memory.h',
    guest: 'pv',
    struct: mapping,
    errors: { EFAULT: 'the structure cannot be written' },
    run: (call, block, fields) => {
      const [start, end, entry] = call.wide ? [M2P_START, M2P_END, 8n] : [BigInt(NARROW_END), NARROW_M2P_END, 4n]
      block.setBig(fields.v_start, start)
      block.setBig(fields.v_end, end)
      block.setBig(fields.max_mfn, (end - start) / entry - 1n)
      return 0
    },
  }),
]

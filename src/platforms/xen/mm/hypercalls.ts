/** Hypercalls of direct paging, which only PV has. */
import { command, type Command, type Hypercall, hypercall } from '../hypercalls/declare.ts'
import { exchange } from './exchange.ts'
import { machphysCommands } from './machphys.ts'
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
  ...machphysCommands,
]

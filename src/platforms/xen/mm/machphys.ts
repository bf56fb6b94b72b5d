/** Commands of memory_op about the machine-to-physical table: where a PV guest finds it, and the frames that it consists of. */
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { command } from '../hypercalls/declare.ts'
import { noBits } from '../hypercalls/reservation.ts'
import { type Block, struct } from '../struct.ts'
import { NARROW_END } from './entries.ts'
import { Extents } from './extents.ts'
import { mmOf } from './mm.ts'

const source = 'xen/memory.h'
const BITS = 'bits above the command'

const mapping = struct({
  v_start: { c: 'long', out: true },
  v_end: { c: 'long', out: true },
  max_mfn: { c: 'long', out: true },
})

const M2P_START = 0xffff800000000000n
const M2P_END = 0xffff804000000000n
const NARROW_M2P_END = 0xffe00000n

const list = struct({
  max_extents: 'u32',
  extent_start: 'pointer',
  nr_extents: { c: 'u32', out: true },
})

/** Frames of the table that a 2 MiB page maps. */
const M2P_CHUNK = 512
const CHUNK_BYTES = 1 << 21

/** The first frame of the table and the number of frames that it is about. A PVH guest's Xen has it where no guest is. */
function tableOf(call: Call): readonly [first: number, frames: number] {
  if (call.domain.kind.name === 'pv') {
    const { frames } = mmOf(call)
    return [frames.m2p, frames.count]
  }
  const { frames } = call.domain.effects.memory
  return [frames, frames]
}

function tables(call: Call, block: Block): number {
  const { fields } = list
  const [first, frames] = tableOf(call)
  const chunks = Math.ceil((frames * (call.wide ? 8 : 4)) / CHUNK_BYTES)
  const target = new Extents(call, block.get(fields.extent_start), block.high(fields.extent_start))
  const count = Math.min(chunks, block.get(fields.max_extents))
  if (count > 0 && !target.allowed(0)) return Errno.EFAULT
  for (let i = 0; i < count; i++) if (!target.write(i, first + i * M2P_CHUNK)) return Errno.EFAULT
  block.set(fields.nr_extents, count)
  return 0
}

const EFAULT = 'the structure cannot be read, or the list not written'
/** Xen has a table for 32-bit guests if it can have such PV guests. */
const NARROW = 'a table for 32-bit guests, where there are no such PV guests'

export const machphysCommands = [
  command({
    command: 5,
    name: 'XENMEM_machphys_mfn_list',
    summary: 'frames of the machine-to-physical table, one for each 2 MiB of it',
    struct: list,
    errors: { EFAULT, ENOSYS: BITS, EOPNOTSUPP: NARROW },
    source,
    check: (call) => noBits('ENOSYS')(call) || (call.wide || call.domain.kind.narrow ? 0 : Errno.EOPNOTSUPP),
    run: tables,
  }),
  command({
    command: 25,
    name: 'XENMEM_machphys_compat_mfn_list',
    summary: 'the same of the table for 32-bit guests',
    struct: list,
    errors: { EFAULT, ENOSYS: BITS, EOPNOTSUPP: NARROW },
    source,
    check: (call) => noBits('ENOSYS')(call) || (call.domain.kind.narrow ? 0 : Errno.EOPNOTSUPP),
    run: tables,
  }),
  command({
    command: 12,
    name: 'XENMEM_machphys_mapping',
    summary: 'where the machine-to-physical table is',
    guest: 'pv',
    struct: mapping,
    errors: { EFAULT: 'the structure cannot be written', ENOSYS: BITS },
    source,
    check: noBits('ENOSYS'),
    run: (call, block, fields) => {
      const [start, end, entry] = call.wide ? [M2P_START, M2P_END, 8n] : [BigInt(NARROW_END), NARROW_M2P_END, 4n]
      block.setBig(fields.v_start, start)
      block.setBig(fields.v_end, end)
      block.setBig(fields.max_mfn, (end - start) / entry - 1n)
      return 0
    },
  }),
]

/** update_va_mapping and its variant for another domain's frames (xen/xen.h): one L1 entry by its linear address. */
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { TABLE_SHIFT } from './entries.ts'
import { TYPE, Type, VALIDATED } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { PageOwner, pageOwner } from './page-owner.ts'
import { updateL1 } from './update.ts'
import { readVcpuMask } from './vcpu-mask.ts'

const { EFAULT, EINVAL, EPERM } = Errno

const FLUSH_TYPE = 3
const TLB_FLUSH = 1
const INVLPG = 2
const ALL = 4

export function updateVaMappingOtherDomain(call: Call, mm: Mm): number {
  const owner = pageOwner(call.arg(call.wide ? 3 : 4) & 0xffff)
  if (owner < 0) return owner
  return owner === PageOwner.SELF ? updateVaMapping(call, mm) : EPERM
}

export function updateVaMapping(call: Call, mm: Mm): number {
  const { frames } = mm
  const at = mm.findL1(call.vcpu, call.arg(0), call.high(0))
  if (at < 0) return EINVAL
  const table = at >>> TABLE_SHIFT
  if (!frames.isOwn(table) || frames.typeRefs[table] === 0) return EINVAL
  if ((frames.types[table] & (TYPE | VALIDATED)) !== (Type.L1 | VALIDATED)) return EINVAL
  // 32-bit guests pass the entry in two words.
  const high = call.wide ? call.high(1) : call.arg(2)
  const answer = updateL1(frames, at, call.arg(1) | 0, high | 0, false, false)
  return answer < 0 ? answer : flush(call, mm)
}

/** Its flags: what to forget, and on which vCPUs: this one, all, or those in a mask that they point to. */
function flush(call: Call, { tlbs }: Mm): number {
  const at = call.wide ? 2 : 3
  const flags = call.arg(at)
  const kind = flags & FLUSH_TYPE
  if (kind !== TLB_FLUSH && kind !== INVLPG) return 0
  const pointer = flags & ~FLUSH_TYPE
  const high = call.high(at)
  let mask: number | undefined
  if (high === 0 && pointer === 0) mask = 1 << call.vcpu
  else if (high === 0 && pointer === ALL) mask = -1
  else mask = readVcpuMask(call, pointer >>> 0, high)
  if (mask === undefined) return EFAULT
  for (let vcpu = 0; vcpu < tlbs.vcpus; vcpu++)
    if ((mask >>> vcpu) & 1) {
      if (kind === TLB_FLUSH) tlbs.flush(vcpu)
      else tlbs.flushPage(vcpu, call.arg(0), call.high(0))
    }
  return 0
}

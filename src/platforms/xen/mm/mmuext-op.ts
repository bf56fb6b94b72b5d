/** mmuext_op (xen/xen.h): {cmd, arg1, arg2}, 24 or 12 bytes each: pinning, page-table roots, TLBs, LDT, whole pages. */
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import { isGuestAddress, NARROW_END, PAGE, TABLE_SHIFT, TABLE_WORDS } from './entries.ts'
import { PINNED, Type } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { PageOwner, pageOwner } from './page-owner.ts'
import { getPageAndType, putPageAndType } from './types.ts'
import { readVcpuMask } from './vcpu-mask.ts'

const { EACCES, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, EPERM } = Errno

const REQUEST = 24
const NARROW_REQUEST = 12
const MOST_LDT_ENTRIES = 8192

export const Mmuext = {
  PIN_L1_TABLE: 0,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
  NEW_BASEPTR: 5,
  TLB_FLUSH_LOCAL: 6,
  INVLPG_LOCAL: 7,
  TLB_FLUSH_MULTI: 8,
  INVLPG_MULTI: 9,
  TLB_FLUSH_ALL: 10,
  INVLPG_ALL: 11,
  FLUSH_CACHE: 12,
  SET_LDT: 13,
  NEW_USER_BASEPTR: 15,
  CLEAR_PAGE: 16,
  COPY_PAGE: 17,
  FLUSH_CACHE_GLOBAL: 18,
  MARK_SUPER: 19,
  UNMARK_SUPER: 20,
} as const

export function mmuextOp(call: Call, mm: Mm): Answer {
  const batch = mm.batch.begin(call, call.wide ? REQUEST : NARROW_REQUEST)
  if (typeof batch === 'number') return batch
  const owner = pageOwner(call.arg(3) & 0xffff)
  if (owner < 0) return owner
  if (owner !== PageOwner.SELF) return EPERM
  let answer = 0
  for (; batch.more(); batch.next()) {
    if (!batch.read()) {
      answer = EFAULT
      break
    }
    answer = carryOut(call, mm, batch.words)
    if (answer < 0) break
    batch.refresh()
  }
  return batch.end(answer)
}

function carryOut(call: Call, mm: Mm, words: Int32Array): number {
  const { vcpu } = call
  const { frames, tlbs } = mm
  const cmd = words[0]
  const { wide } = call
  const low = words[wide ? 2 : 1] >>> 0
  const high = wide ? words[3] >>> 0 : 0
  const secondLow = words[wide ? 4 : 2] >>> 0
  const secondHigh = wide ? words[5] >>> 0 : 0
  const guestAddress = wide ? isGuestAddress(high) : low < NARROW_END
  // A frame number of this host's, or one that no frame has.
  const frame = high === 0 ? low : 0xffffffff
  switch (cmd) {
    case Mmuext.PIN_L1_TABLE:
    case Mmuext.PIN_L1_TABLE + 1:
    case Mmuext.PIN_L1_TABLE + 2:
    case Mmuext.PIN_L4_TABLE:
      if (!wide && cmd === Mmuext.PIN_L4_TABLE) return EINVAL
      return pin(mm, frame, Type.L1 + cmd)
    case Mmuext.UNPIN_TABLE:
      if (!frames.isOwn(frame) || (frames.types[frame] & PINNED) === 0) return EINVAL
      frames.types[frame] &= ~PINNED
      putPageAndType(frames, frame)
      return 0
    case Mmuext.NEW_BASEPTR:
      return mm.setKernelRoot(vcpu, frame)
    case Mmuext.NEW_USER_BASEPTR:
      return wide ? mm.setUserRoot(vcpu, frame) : EINVAL
    case Mmuext.TLB_FLUSH_LOCAL:
      tlbs.flush(vcpu)
      return 0
    case Mmuext.INVLPG_LOCAL:
      tlbs.flushPage(vcpu, low, high)
      return 0
    case Mmuext.TLB_FLUSH_MULTI:
    case Mmuext.INVLPG_MULTI: {
      const mask = readVcpuMask(call, secondLow, secondHigh)
      if (mask === undefined) return EINVAL
      for (let each = 0; each < tlbs.vcpus; each++)
        if ((mask >>> each) & 1) {
          if (cmd === Mmuext.TLB_FLUSH_MULTI) tlbs.flush(each)
          else if (guestAddress) tlbs.flushPage(each, low, high)
        }
      return 0
    }
    case Mmuext.TLB_FLUSH_ALL:
      tlbs.flushAll()
      return 0
    case Mmuext.INVLPG_ALL:
      if (guestAddress) for (let each = 0; each < tlbs.vcpus; each++) tlbs.flushPage(each, low, high)
      return 0
    case Mmuext.FLUSH_CACHE:
      return EACCES
    case Mmuext.FLUSH_CACHE_GLOBAL:
      return EINVAL
    case Mmuext.SET_LDT: {
      const entries = secondLow
      if (entries > MOST_LDT_ENTRIES || (entries > 0 && (low & (PAGE - 1) || !guestAddress))) return EINVAL
      mm.setLdt(vcpu, entries > 0 ? low : 0, entries > 0 ? high : 0, entries)
      return 0
    }
    case Mmuext.CLEAR_PAGE:
      return fillPage(mm, frame, -1)
    case Mmuext.COPY_PAGE:
      return fillPage(mm, frame, secondHigh === 0 ? secondLow : 0xffffffff)
    case Mmuext.MARK_SUPER:
    case Mmuext.UNMARK_SUPER:
      return EOPNOTSUPP
    default:
      return ENOSYS
  }
}

function pin({ frames }: Mm, frame: number, type: number): number {
  const answer = getPageAndType(frames, frame, type)
  if (answer < 0) return answer
  if (frames.types[frame] & PINNED) {
    putPageAndType(frames, frame)
    return EINVAL
  }
  frames.types[frame] |= PINNED
  return 0
}

/** Zeros (`source` -1) or another frame's content. */
function fillPage({ frames }: Mm, frame: number, source: number): number {
  if (source !== -1 && !frames.get(source)) return EINVAL
  const answer = getPageAndType(frames, frame, Type.WRITABLE)
  if (answer === 0) {
    const { words } = frames
    frames.work += TABLE_WORDS
    const to = frame << TABLE_SHIFT
    const from = source << TABLE_SHIFT
    frames.ram.need(frame)
    if (source !== -1) frames.ram.need(source)
    for (let i = 0; i < TABLE_WORDS; i += 2)
      frames.ram.put(to + i, source < 0 ? 0 : words[from + i], source < 0 ? 0 : words[from + i + 1])
    putPageAndType(frames, frame)
  }
  if (source !== -1) frames.put(source)
  return answer < 0 ? EINVAL : 0
}

/** Entry points of a PV guest's kernel (xen/callback.h). */
import type { PvEffects, PvWide, PvWord } from '../../../paravirt/pv-effects.ts'
import { Errno } from '../errno.ts'
import { guestSelector, isCanonical } from './addresses.ts'

export const Callback = { event: 0, failsafe: 1, syscall: 2, nmi: 4, sysenter: 5, syscall32: 7 } as const

const MASK_EVENTS = 1
const VGCF = { FAILSAFE_DISABLES_EVENTS: 8, SYSCALL_DISABLES_EVENTS: 0x10 } as const
const NMI = 2
/** FLAT_KERNEL_CS, FLAT_COMPAT_KERNEL_CS. */
const KernelCs = { WIDE: 0xe033, NARROW: 0xe019 } as const
/** trap_info.flags: mask events. */
const TI_MASKS = 4

const wides: Readonly<Partial<Record<number, PvWide>>> = {
  [Callback.event]: 'event',
  [Callback.failsafe]: 'failsafe',
  [Callback.syscall]: 'syscall',
  [Callback.syscall32]: 'syscall32',
  [Callback.sysenter]: 'sysenter',
}

const selectors: Readonly<Partial<Record<number, PvWord>>> = {
  [Callback.event]: 'eventCs',
  [Callback.failsafe]: 'failsafeCs',
  [Callback.syscall32]: 'syscall32Cs',
  [Callback.sysenter]: 'sysenterCs',
}

/** 0, or a negative error; `cs`: its selector, which 32-bit guests give. */
export function register(
  pv: PvEffects,
  vcpu: number,
  type: number,
  flags: number,
  address: bigint,
  cs: number | undefined,
): number {
  if (!isCanonical(address)) return Errno.EINVAL
  if (type === Callback.nmi) {
    pv.setTrap(vcpu, NMI, { flags: TI_MASKS, cs: cs === undefined ? KernelCs.WIDE : KernelCs.NARROW, address })
    return 0
  }
  const field = wides[type]
  if (!field || (cs !== undefined && !selectors[type])) return Errno.ENOSYS
  pv.setWide(vcpu, field, address)
  if (cs !== undefined) pv.setWord(vcpu, selectors[type] as PvWord, guestSelector(cs & 0xffff, true))
  const masks = (flags & MASK_EVENTS) !== 0
  if (type === Callback.failsafe) setFlag(pv, vcpu, VGCF.FAILSAFE_DISABLES_EVENTS, masks)
  else if (type === Callback.syscall) setFlag(pv, vcpu, VGCF.SYSCALL_DISABLES_EVENTS, masks)
  else if (type === Callback.syscall32) pv.setWord(vcpu, 'syscall32Masks', Number(masks))
  else if (type === Callback.sysenter) pv.setWord(vcpu, 'sysenterMasks', Number(masks))
  return 0
}

function setFlag(pv: PvEffects, vcpu: number, flag: number, on: boolean): void {
  const old = pv.word(vcpu, 'flags')
  pv.setWord(vcpu, 'flags', on ? old | flag : old & ~flag)
}

/** `narrow`: for a 32-bit guest, which has no SYSCALL of 64-bit code. */
export function unregister(pv: PvEffects, vcpu: number, type: number, narrow: boolean): number {
  if (type === Callback.nmi) {
    pv.setTrap(vcpu, NMI, { flags: 0, cs: 0, address: 0n })
    return 0
  }
  return wides[type] && (!narrow || selectors[type]) ? Errno.EINVAL : Errno.ENOSYS
}

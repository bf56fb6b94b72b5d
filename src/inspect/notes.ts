/** Xen's ELF notes in words (xen/include/public/elfnote.h). */
import type { XenNote } from '../boot/xen-notes.ts'

const names: Readonly<Record<number, readonly [name: string, kind: 'address' | 'text' | 'bytes']>> = {
  1: ['ENTRY', 'address'],
  2: ['HYPERCALL_PAGE', 'address'],
  3: ['VIRT_BASE', 'address'],
  4: ['PADDR_OFFSET', 'address'],
  5: ['XEN_VERSION', 'text'],
  6: ['GUEST_OS', 'text'],
  7: ['GUEST_VERSION', 'text'],
  8: ['LOADER', 'text'],
  9: ['PAE_MODE', 'text'],
  10: ['FEATURES', 'text'],
  11: ['BSD_SYMTAB', 'text'],
  12: ['HV_START_LOW', 'address'],
  13: ['L1_MFN_VALID', 'bytes'],
  14: ['SUSPEND_CANCEL', 'address'],
  15: ['INIT_P2M', 'address'],
  16: ['MOD_START_PFN', 'address'],
  17: ['SUPPORTED_FEATURES', 'address'],
  18: ['PHYS32_ENTRY', 'address'],
  19: ['PHYS32_RELOC', 'bytes'],
}

/** `XEN_VERSION "xen-3.0"`. */
export function noteLine({ type, desc }: XenNote): string {
  const [name, kind] = names[type] ?? [`note ${type}`, 'bytes']
  if (kind === 'text') return `${name} ${JSON.stringify(new TextDecoder('latin1').decode(desc).replace(/\0+$/, ''))}`
  const hex = [...desc].map((byte) => byte.toString(16).padStart(2, '0'))
  return kind === 'address'
    ? `${name} 0x${hex
        .reverse()
        .join('')
        .replace(/^0+(?=.)/, '')}`
    : `${name} ${hex.join(' ')}`
}

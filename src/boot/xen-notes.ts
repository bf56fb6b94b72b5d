/**
 * What a kernel tells Xen's domain builder about itself: ELF notes of the owner "Xen" (xen/include/public/elfnote.h) or,
 * in old kernels, the text of a section `__xen_guest`, whose names stand for the same notes.
 */
export interface XenNote {
  readonly type: number
  readonly desc: Uint8Array
}

/** Types of notes (XEN_ELFNOTE_*). */
export const NoteType = {
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  XEN_VERSION: 5,
  GUEST_OS: 6,
  GUEST_VERSION: 7,
  LOADER: 8,
  PAE_MODE: 9,
  FEATURES: 10,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  SUPPORTED_FEATURES: 17,
  PHYS32_ENTRY: 18,
} as const

const texts: ReadonlySet<number> = new Set([
  NoteType.XEN_VERSION,
  NoteType.GUEST_OS,
  NoteType.GUEST_VERSION,
  NoteType.LOADER,
  NoteType.PAE_MODE,
  NoteType.FEATURES,
])

const OWNER = 0x58656e00 // "Xen"

/**
 * Notes are {namesz, descsz, type, name, desc}, each padded to 4 bytes, in the first `length` bytes; the last may reach
 * beyond, as that of GRUB's i386-xen images does. What is cut off is left out.
 */
export function readNotes(notes: Uint8Array, length = notes.length): XenNote[] {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength)
  const found: XenNote[] = []
  for (let at = 0; at + 12 <= Math.min(length, notes.length); ) {
    const namesz = view.getUint32(at, true)
    const descsz = view.getUint32(at + 4, true)
    const desc = at + 12 + Math.ceil(namesz / 4) * 4
    const type = view.getUint32(at + 8, true)
    // A text is read to its NUL, whatever its size says.
    const whole = desc + descsz <= notes.length || (texts.has(type) && notes.subarray(desc).includes(0))
    if (!whole) break
    if (namesz === 4 && view.getUint32(at + 12, false) === OWNER)
      found.push({ type, desc: notes.subarray(desc, desc + descsz) })
    at = desc + Math.ceil(descsz / 4) * 4
  }
  return found
}

/** The content of a note segment with these notes. */
export function writeNotes(notes: readonly XenNote[]): Uint8Array {
  const padded = (bytes: number) => Math.ceil(bytes / 4) * 4
  const file = new Uint8Array(notes.reduce((sum, { desc }) => sum + 16 + padded(desc.length), 0))
  const view = new DataView(file.buffer)
  let at = 0
  for (const { type, desc } of notes) {
    view.setUint32(at, 4, true)
    view.setUint32(at + 4, desc.length, true)
    view.setUint32(at + 8, type, true)
    view.setUint32(at + 12, OWNER, false)
    file.set(desc, at + 16)
    at += 16 + padded(desc.length)
  }
  return file
}

/** A note's number, little-endian in 1 to 8 bytes; undefined if there is no such note. */
export function noteNumber(notes: readonly XenNote[], type: number): bigint | undefined {
  const desc = notes.find((note) => note.type === type)?.desc
  return desc?.subarray(0, 8).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

/** A note's text. */
export function noteText(notes: readonly XenNote[], type: number): string | undefined {
  const desc = notes.find((note) => note.type === type)?.desc
  return desc && new TextDecoder('latin1').decode(desc).replace(/\0.*$/s, '')
}

/** Names in a `__xen_guest` section; the page of hypercalls is numbered from the virtual base. */
const legacyTexts: Readonly<Record<string, number>> = {
  LOADER: NoteType.LOADER,
  GUEST_OS: NoteType.GUEST_OS,
  GUEST_VER: NoteType.GUEST_VERSION,
  XEN_VER: NoteType.XEN_VERSION,
  FEATURES: NoteType.FEATURES,
  PAE: NoteType.PAE_MODE,
}
const legacyNumbers: Readonly<Record<string, number>> = {
  VIRT_BASE: NoteType.VIRT_BASE,
  VIRT_ENTRY: NoteType.ENTRY,
  ELF_PADDR_OFFSET: NoteType.PADDR_OFFSET,
}

/** The notes that a `__xen_guest` section's `NAME=value,...` stands for. Without an offset, physical is virtual. */
export function legacyNotes(section: Uint8Array): XenNote[] {
  const text = new TextDecoder('latin1').decode(section).replace(/\0.*$/s, '')
  const pairs = new Map(
    text.split(',').map((part): [string, string] => [part.replace(/=.*/s, ''), part.replace(/^[^=]*=?/, '')]),
  )
  const number = (name: string): bigint | undefined => {
    const value = /^0x[0-9a-f]+|^\d+/i.exec(pairs.get(name) ?? '')?.[0]
    return value === undefined ? undefined : BigInt.asUintN(64, BigInt(value))
  }
  const notes: XenNote[] = []
  const word = (type: number, value: bigint) => {
    const desc = new Uint8Array(8)
    new DataView(desc.buffer).setBigUint64(0, BigInt.asUintN(64, value), true)
    notes.push({ type, desc })
  }
  for (const [name, type] of Object.entries(legacyTexts)) {
    const value = pairs.get(name)
    if (value !== undefined) notes.push({ type, desc: new TextEncoder().encode(`${value}\0`) })
  }
  const base = number('VIRT_BASE') ?? 0n
  for (const [name, type] of Object.entries(legacyNumbers)) {
    const value = number(name) ?? (name === 'ELF_PADDR_OFFSET' ? base : undefined)
    if (value !== undefined) word(type, value)
  }
  const page = number('HYPERCALL_PAGE')
  if (page !== undefined) word(NoteType.HYPERCALL_PAGE, base + (page << 12n))
  return notes
}

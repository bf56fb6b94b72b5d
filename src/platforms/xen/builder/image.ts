/**
 * What a kernel's notes ask of the domain builder, checked as libelf does (xen/common/libelf/libelf-dominfo.c): it is
 * mapped linearly from its virtual base on, so a page's number is its distance from there.
 */
import type { Kernel } from '../../../boot/entries.ts'
import { BootError } from '../../../boot/error.ts'
import type { Segment } from '../../../boot/elf.ts'
import { NoteType, noteNumber, noteText } from '../../../boot/xen-notes.ts'

const PAGE = 4096n

export interface PvImage {
  readonly bits: 32 | 64
  readonly segments: readonly Segment[]
  /** First page and the one after the last. */
  readonly firstPage: number
  readonly endPage: number
  /** Virtual addresses: of page 0, of the first instruction, of the page for hypercalls, of the p2m list. */
  readonly base: bigint
  readonly entry: bigint
  readonly hypercallPage: bigint | undefined
  readonly p2m: bigint | undefined
  /** The initrd need not be mapped; start_info has its page number. */
  readonly unmappedInitrd: boolean
}

/** Features that this host gives a PV domain, if a kernel says that it cannot do without. */
const FEATURES = ['pae_pgdir_above_4gb', 'mmu_pt_update_preserve_ad', 'highmem_assist', 'gnttab_map_avail_bits']
/** Names that a builder knows; a kernel that requires another one is refused. */
const KNOWN = [
  'writable_page_tables',
  'writable_descriptor_tables',
  'auto_translated_physmap',
  'supervisor_mode_kernel',
  ...FEATURES,
  'hvm_callback_vector',
  'dom0',
]

/** Why a kernel is no PV guest of Xen's, in words that follow its name; undefined: it is one. */
export function pvRefusal(kernel: Kernel, bits: 32 | 64 = 64): string | undefined {
  try {
    pvImage({ name: '', elf: kernel.elf }, bits)
    return undefined
  } catch (error) {
    if (error instanceof BootError) return error.message.replace(/^: /, '')
    throw error
  }
}

export function pvImage(kernel: Pick<Kernel, 'name' | 'elf'>, bits: 32 | 64 = 64): PvImage {
  const { name, elf } = kernel
  const fail = (what: string): never => {
    throw new BootError(`${name}: ${what}`)
  }
  if (!elf) return fail('a kernel that can only unpack itself; Xen needs it unpacked')
  const { notes, segments } = elf
  if (notes.length === 0) return fail("not a kernel for Xen: it has no ELF notes for it and no section '__xen_guest'")
  if (elf.bits !== bits)
    return fail(`a ${elf.bits}-bit kernel; --on ${bits === 64 ? 'xen-pv32' : 'xen-pv'} takes those`)
  const text = (type: number) => noteText(notes, type) ?? ''
  const version = text(NoteType.XEN_VERSION)
  if (
    noteNumber(notes, NoteType.ENTRY) === undefined &&
    noteNumber(notes, NoteType.VIRT_BASE) === undefined &&
    !version
  )
    return fail('a kernel for Xen PVH only; use --on xen-pvh')
  if (!text(NoteType.LOADER).startsWith('generic') && !text(NoteType.GUEST_OS).startsWith('linux'))
    return fail(`a kernel for another loader of Xen's ('${text(NoteType.LOADER)}'); the generic one is known`)
  if (!version.startsWith('xen-3.0')) return fail(`a kernel for another Xen ('${version}'); its ABI must be xen-3.0`)
  for (const feature of text(NoteType.FEATURES).split('|'))
    if (feature === '!dom0') fail('a kernel that runs as the privileged domain only')
    else if (feature.startsWith('!') && !KNOWN.includes(feature.slice(1)))
      fail(`it requires a feature of Xen's that is unknown: ${feature.slice(1)}`)

  const pae = text(NoteType.PAE_MODE)
  if (bits === 32 && !/^(yes|bimodal)/.test(pae)) fail('a 32-bit kernel without PAE, which this Xen does not run')

  const base = noteNumber(notes, NoteType.VIRT_BASE) ?? 0n
  const start = Math.min(...segments.map(({ address }) => address))
  const end = Math.max(...segments.map(({ address, size }) => address + size))
  const from = BigInt.asUintN(64, base + BigInt(start))
  const to = BigInt.asUintN(64, base + BigInt(end))
  const entry = noteNumber(notes, NoteType.ENTRY) ?? elf.headerEntry
  if (from > to || entry < from || entry > to) fail(`its entry point 0x${entry.toString(16)} lies outside of it`)
  const p2m = noteNumber(notes, NoteType.INIT_P2M)
  if (p2m !== undefined && p2m >= from && p2m < to) fail('its place for the p2m list lies inside it')
  const hypercallPage = noteNumber(notes, NoteType.HYPERCALL_PAGE)
  if (hypercallPage !== undefined && (hypercallPage % PAGE !== 0n || hypercallPage < from || hypercallPage >= to))
    fail('its page for hypercalls lies outside of it')
  return {
    bits,
    segments,
    firstPage: start >>> 12,
    endPage: Math.ceil(end / Number(PAGE)),
    base,
    entry,
    hypercallPage,
    p2m: p2m !== undefined && p2m < base && p2m % PAGE === 0n ? p2m : undefined,
    unmappedInitrd: (noteNumber(notes, NoteType.MOD_START_PFN) ?? 0n) !== 0n,
  }
}

/**
 * ELF vmlinux: what goes where in physical memory and where the kernel is entered. Addresses are always `p_paddr`
 * (a kernel's `p_vaddr` is its own business, and 0 for the per-CPU segment). See elf(5).
 */
import { BootError } from './error.ts'
import { legacyNotes, NoteType, noteNumber, readNotes, writeNotes, type XenNote } from './xen-notes.ts'

/** A piece of physical memory: `bytes`, followed by zeros up to `size`. */
export interface Segment {
  address: number
  bytes: Uint8Array
  size: number
}

export interface Elf {
  bits: 32 | 64
  segments: Segment[]
  /** Physical address of the entry point: startup_64 or startup_32. */
  entry: number
  /** Physical address of the PVH entry point, from the note XEN_ELFNOTE_PHYS32_ENTRY. */
  pvh: number | undefined
  /** What it tells Xen, and its entry as its header has it: a virtual address, if its notes name none. */
  notes: readonly XenNote[]
  headerEntry: bigint
}

const EM_386 = 3
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_NOTE = 4
const SHT_NOTE = 7

/** What e_machine of the kernels that people have says, for the message. */
const machines: Readonly<Record<number, string>> = {
  8: 'MIPS',
  20: 'PowerPC',
  21: '64-bit PowerPC',
  22: 's390',
  40: 'ARM',
  183: 'arm64',
  243: 'RISC-V',
  258: 'LoongArch',
}

export const isElf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46

export function parseElf(bytes: Uint8Array, name: string): Elf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fail = (what: string): never => {
    throw new BootError(`${name}: ${what}`)
  }
  if (bytes.length < 52) fail('truncated ELF file')
  const bits = bytes[4] === 2 ? 64 : 32
  if (bytes[4] !== 1 && bytes[4] !== 2) fail('bad ELF class')
  if (bytes[5] !== 1) fail('a kernel for a big-endian processor; this is an x86 machine')
  if (bits === 64 && bytes.length < 64) fail('truncated ELF file')
  const u16 = (at: number) => view.getUint16(at, true)
  const u32 = (at: number) => view.getUint32(at, true)
  // Exact to 2^53; anything larger is refused by the checks on addresses and sizes.
  const word = bits === 64 ? (at: number) => Number(view.getBigUint64(at, true)) : u32

  const machine = u16(18)
  if (machine !== EM_386 && machine !== EM_X86_64)
    fail(`a kernel for ${machines[machine] ?? `machine ${machine}`}; this is an x86 machine`)
  if ((machine === EM_X86_64) !== (bits === 64)) fail('ELF class and machine disagree')
  const type = u16(16)
  if (type !== 2 && type !== 3) fail('not an executable ELF file (a kernel module or object file?)')

  const phoff = word(bits === 64 ? 32 : 28)
  const phentsize = u16(bits === 64 ? 54 : 42)
  const phnum = u16(bits === 64 ? 56 : 44)
  if (phentsize < (bits === 64 ? 56 : 32) || phnum === 0) fail('ELF file without program headers')
  if (phoff + phentsize * phnum > bytes.length) fail('truncated: ELF program headers lie outside the file')

  const notes = notesOf(bytes, view, bits)
  // Physical addresses of Xen's kernels may count from their virtual base.
  const base = noteNumber(notes, NoteType.PADDR_OFFSET) ?? 0n
  const physical = (address: bigint) => Number(BigInt.asUintN(bits, address - base))
  const segments: Segment[] = []
  const virtual: { from: bigint; to: bigint; address: number }[] = []
  for (let i = 0; i < phnum; i++) {
    const at = phoff + i * phentsize
    const kind = u32(at)
    if (kind !== PT_LOAD && kind !== PT_NOTE) continue
    const paddr = physical(bits === 64 ? view.getBigUint64(at + 24, true) : BigInt(u32(at + 12)))
    const vaddr = bits === 64 ? view.getBigUint64(at + 16, true) : BigInt(u32(at + 8))
    const [offset, filesz, memsz] =
      bits === 64 ? [word(at + 8), word(at + 32), word(at + 40)] : [u32(at + 4), u32(at + 16), u32(at + 20)]
    if (offset + filesz > bytes.length)
      fail(`truncated: ELF segment ${i} ends at byte ${offset + filesz} of ${bytes.length}`)
    if (kind === PT_NOTE) continue
    const content = bytes.subarray(offset, offset + filesz)
    if (memsz < filesz) fail(`ELF segment ${i} is larger in the file than in memory`)
    if (memsz === 0) continue
    if (paddr + memsz > 2 ** 32) fail(`ELF segment ${i} is loaded at 0x${paddr.toString(16)}, above 4 GiB`)
    segments.push({ address: paddr, bytes: content, size: memsz })
    virtual.push({ from: vaddr, to: vaddr + BigInt(memsz), address: paddr })
  }
  if (segments.length === 0) fail('ELF file with nothing to load')
  segments.sort((a, b) => a.address - b.address)
  for (let i = 1; i < segments.length; i++)
    if (segments[i - 1]!.address + segments[i - 1]!.size > segments[i]!.address) fail('ELF segments overlap')

  const entryNote = noteNumber(notes, NoteType.PHYS32_ENTRY)
  const pvh = entryNote === undefined ? undefined : Number(BigInt.asUintN(32, entryNote))
  const headerEntry = bits === 64 ? view.getBigUint64(24, true) : BigInt(u32(24))
  const loaded = (address: number) => segments.some((s) => address >= s.address && address < s.address + s.bytes.length)
  let entry = word(24)
  if (!loaded(entry)) {
    // Some kernels give the entry's virtual address.
    const mapping = virtual.find(({ from, to }) => headerEntry >= from && headerEntry < to)
    if (mapping) entry = mapping.address + Number(headerEntry - mapping.from)
    if (!loaded(entry)) fail(`ELF entry point 0x${entry.toString(16)} lies outside what is loaded`)
  }
  if (pvh !== undefined && !loaded(pvh)) fail(`PVH entry point 0x${pvh.toString(16)} lies outside what is loaded`)
  return { bits, segments, entry, pvh, notes, headerEntry }
}

/** Notes in segments; without any, those in sections; without them, what `__xen_guest` stands for (libelf's order). */
function notesOf(bytes: Uint8Array, view: DataView, bits: 32 | 64): XenNote[] {
  const word = (at: number) => (bits === 64 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true))
  const part = (offset: number, size: number) => bytes.subarray(Math.min(offset, bytes.length), offset + size)
  const [phoff, shoff] = bits === 64 ? [word(32), word(40)] : [word(28), word(32)]
  const counts = bits === 64 ? 54 : 42
  const u16 = (at: number) => view.getUint16(at, true)
  const headers = (from: number, size: number, count: number, least: number) =>
    Array.from({ length: count }, (_, i) => from + i * size).filter(
      (at) => size >= least && from > 0 && at + size <= bytes.length,
    )
  const notes: XenNote[] = []
  for (const at of headers(phoff, u16(counts), u16(counts + 2), bits === 64 ? 56 : 32)) {
    const [offset, size] = bits === 64 ? [word(at + 8), word(at + 32)] : [word(at + 4), word(at + 16)]
    if (view.getUint32(at, true) === PT_NOTE && offset !== 0)
      notes.push(...readNotes(bytes.subarray(Math.min(offset, bytes.length)), size))
  }
  if (notes.length > 0) return notes
  const sections = headers(shoff, u16(counts + 4), u16(counts + 6), bits === 64 ? 64 : 40).map((at) => {
    const [offset, size] = bits === 64 ? [word(at + 24), word(at + 32)] : [word(at + 16), word(at + 20)]
    return { name: view.getUint32(at, true), type: view.getUint32(at + 4, true), content: part(offset, size) }
  })
  for (const { type, content } of sections) if (type === SHT_NOTE) notes.push(...readNotes(content))
  if (notes.length > 0) return notes
  const names = sections[u16(counts + 8)]?.content ?? new Uint8Array(0)
  const named = sections.find(({ name }) => text(names, name) === '__xen_guest')
  return named ? legacyNotes(named.content) : []
}

function text(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at)
  return new TextDecoder('latin1').decode(bytes.subarray(Math.min(at, bytes.length), end < 0 ? at : end))
}

/** A minimal ELF file of the same segments, without the zeros at their ends: what the cache keeps. */
export function writeElf({ bits, segments, entry, notes }: Elf): Uint8Array {
  const trimmed = segments.map(({ address, bytes, size }) => ({ address, size, bytes: withoutTrailingZeros(bytes) }))
  // The segments' addresses are what the offset leads to.
  const note = writeNotes(notes.filter(({ type }) => type !== NoteType.PADDR_OFFSET))
  const ehsize = bits === 64 ? 64 : 52
  const phentsize = bits === 64 ? 56 : 32
  const headers = ehsize + phentsize * (trimmed.length + 1)
  const file = new Uint8Array(headers + note.length + trimmed.reduce((sum, { bytes }) => sum + bytes.length, 0))
  const view = new DataView(file.buffer)
  const word = (at: number, value: number) =>
    bits === 64 ? view.setBigUint64(at, BigInt(value), true) : view.setUint32(at, value, true)

  file.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1])
  view.setUint16(16, 2, true)
  view.setUint16(18, bits === 64 ? EM_X86_64 : EM_386, true)
  view.setUint32(20, 1, true)
  word(24, entry)
  word(bits === 64 ? 32 : 28, ehsize)
  view.setUint16(bits === 64 ? 52 : 40, ehsize, true)
  view.setUint16(bits === 64 ? 54 : 42, phentsize, true)
  view.setUint16(bits === 64 ? 56 : 44, trimmed.length + 1, true)

  let offset = headers
  const all: (Segment & { kind: number })[] = [{ kind: PT_NOTE, address: 0, bytes: note, size: note.length }]
  for (const segment of trimmed) all.push({ kind: PT_LOAD, ...segment })
  for (const [i, { kind, address, bytes, size }] of all.entries()) {
    const at = ehsize + i * phentsize
    view.setUint32(at, kind, true)
    const fields = [offset, address, address, bytes.length, size]
    for (const [k, value] of fields.entries()) word(bits === 64 ? at + 8 + k * 8 : at + 4 + k * 4, value)
    // p_align: notes are padded to 4 bytes, segments lie anywhere.
    word(at + phentsize - bits / 8, kind === PT_NOTE ? 4 : 1)
    file.set(bytes, offset)
    offset += bytes.length
  }
  return file
}

function withoutTrailingZeros(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return bytes.subarray(0, end)
}

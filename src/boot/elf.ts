/**
 * ELF vmlinux: what goes where in physical memory and where the kernel is entered. Addresses are always `p_paddr`
 * (a kernel's `p_vaddr` is its own business, and 0 for the per-CPU segment). See elf(5).
 */
import { BootError } from './error.ts'

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
}

const EM_386 = 3
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_NOTE = 4
const XEN_ELFNOTE_PHYS32_ENTRY = 18

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

  const segments: Segment[] = []
  const virtual: { from: number; to: number; delta: number }[] = []
  let pvh: number | undefined
  for (let i = 0; i < phnum; i++) {
    const at = phoff + i * phentsize
    const kind = u32(at)
    if (kind !== PT_LOAD && kind !== PT_NOTE) continue
    const [offset, vaddr, paddr, filesz, memsz] =
      bits === 64
        ? [word(at + 8), word(at + 16), word(at + 24), word(at + 32), word(at + 40)]
        : [u32(at + 4), u32(at + 8), u32(at + 12), u32(at + 16), u32(at + 20)]
    if (offset + filesz > bytes.length)
      fail(`truncated: ELF segment ${i} ends at byte ${offset + filesz} of ${bytes.length}`)
    const content = bytes.subarray(offset, offset + filesz)
    if (kind === PT_NOTE) {
      pvh ??= pvhNote(content)
      continue
    }
    if (memsz < filesz) fail(`ELF segment ${i} is larger in the file than in memory`)
    if (memsz === 0) continue
    if (paddr + memsz > 2 ** 32) fail(`ELF segment ${i} is loaded at 0x${paddr.toString(16)}, above 4 GiB`)
    segments.push({ address: paddr, bytes: content, size: memsz })
    virtual.push({ from: vaddr, to: vaddr + memsz, delta: paddr - vaddr })
  }
  if (segments.length === 0) fail('ELF file with nothing to load')
  segments.sort((a, b) => a.address - b.address)
  for (let i = 1; i < segments.length; i++)
    if (segments[i - 1]!.address + segments[i - 1]!.size > segments[i]!.address) fail('ELF segments overlap')

  const loaded = (address: number) => segments.some((s) => address >= s.address && address < s.address + s.bytes.length)
  let entry = word(24)
  if (!loaded(entry)) {
    // Some kernels give the entry's virtual address.
    const mapping = virtual.find(({ from, to }) => entry >= from && entry < to)
    entry += mapping?.delta ?? 0
    if (!loaded(entry)) fail(`ELF entry point 0x${entry.toString(16)} lies outside what is loaded`)
  }
  if (pvh !== undefined && !loaded(pvh)) fail(`PVH entry point 0x${pvh.toString(16)} lies outside what is loaded`)
  return { bits, segments, entry, pvh }
}

/** The PVH entry in a note segment: notes are {namesz, descsz, type, name, desc}, each padded to 4 bytes. */
function pvhNote(notes: Uint8Array): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength)
  for (let at = 0; at + 12 <= notes.length; ) {
    const namesz = view.getUint32(at, true)
    const descsz = view.getUint32(at + 4, true)
    const type = view.getUint32(at + 8, true)
    const desc = at + 12 + ((namesz + 3) & ~3)
    const next = desc + ((descsz + 3) & ~3)
    if (desc < at || next < desc || desc + descsz > notes.length) return undefined
    const xen = namesz === 4 && view.getUint32(at + 12, false) === 0x58656e00
    if (xen && type === XEN_ELFNOTE_PHYS32_ENTRY && descsz >= 4) return view.getUint32(desc, true)
    at = next
  }
  return undefined
}

/** A minimal ELF file of the same segments, without the zeros at their ends: what the cache keeps. */
export function writeElf({ bits, segments, entry, pvh }: Elf): Uint8Array {
  const trimmed = segments.map(({ address, bytes, size }) => ({ address, size, bytes: withoutTrailingZeros(bytes) }))
  // A word of the kernel's own size, as Linux writes it and QEMU reads it.
  const note = new Uint8Array(pvh === undefined ? 0 : 16 + bits / 8)
  if (pvh !== undefined) {
    const view = new DataView(note.buffer)
    for (const [i, value] of [4, bits / 8, XEN_ELFNOTE_PHYS32_ENTRY].entries()) view.setUint32(i * 4, value, true)
    view.setUint32(12, 0x58656e00, false)
    view.setUint32(16, pvh, true)
  }
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

/**
 * Multiboot 1 (The Multiboot Specification, version 0.6.96): the header that makes an ELF file a kernel of this kind,
 * and the information that it is given. Test kernels and small systems use it.
 */
import type { MemoryRange } from './boot-params.ts'
import { BootError } from './error.ts'

/** What EAX holds at the entry. */
export const MULTIBOOT_LOADED = 0x2badb002

const MAGIC = 0x1badb002
/** The header lies in the first 8 KiB of the file (3.1.1). */
const SEARCHED = 8192
const VIDEO = 1 << 2
const ADDRESSES = 1 << 16
/** Flags 0 to 15 are demands: a loader that does not understand one must refuse the kernel. */
const UNKNOWN_DEMANDS = 0xfff8

/** Whether the file has a Multiboot header. Throws BootError if it demands what there is not. */
export function isMultiboot(file: Uint8Array, name: string): boolean {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  for (let at = 0; at + 12 <= Math.min(file.length, SEARCHED); at += 4) {
    if (view.getUint32(at, true) !== MAGIC) continue
    const flags = view.getUint32(at + 4, true)
    if ((MAGIC + flags + view.getUint32(at + 8, true)) % 2 ** 32 !== 0) continue
    if (flags & VIDEO) throw new BootError(`${name}: its Multiboot header asks for a video mode; there is no screen`)
    if (flags & ADDRESSES)
      throw new BootError(`${name}: its Multiboot header gives load addresses of its own; only ELF's are understood`)
    if (flags & UNKNOWN_DEMANDS)
      throw new BootError(`${name}: its Multiboot header asks for something unknown (flags 0x${flags.toString(16)})`)
    return true
  }
  return false
}

const Has = { MEMORY: 1, CMDLINE: 4, MODULES: 8, MEMORY_MAP: 64, LOADER_NAME: 512 } as const
const LOADER = new TextEncoder().encode('paravirt\0')
const MODULE = 120
const NAME = 136
const MAP = 160
const MAP_ENTRY = 24

/** The information structure (3.3); `at` is where it will lie, its lists follow it. */
export function multibootInfo(contents: {
  at: number
  cmdline: number
  initrd: { address: number; size: number }
  ranges: readonly MemoryRange[]
}): Uint8Array {
  const { at, cmdline, initrd, ranges } = contents
  const bytes = new Uint8Array(MAP + ranges.length * MAP_ENTRY)
  const view = new DataView(bytes.buffer)
  const word = (offset: number, value: number) => view.setUint32(offset, value, true)
  const ram = ranges.filter(({ type }) => type === 1)
  const modules = initrd.size > 0
  word(0, Has.MEMORY | Has.CMDLINE | (modules ? Has.MODULES : 0) | Has.MEMORY_MAP | Has.LOADER_NAME)
  word(4, ram[0]!.size >>> 10) // mem_lower, from 0
  word(8, ram.at(-1)!.size >>> 10) // mem_upper, from 1 MiB
  word(16, cmdline)
  if (modules) {
    word(20, 1) // mods_count
    word(24, at + MODULE) // mods_addr
    word(MODULE, initrd.address)
    word(MODULE + 4, initrd.address + initrd.size)
    word(MODULE + 8, at + NAME + LOADER.length - 1) // no string
  }
  word(44, ranges.length * MAP_ENTRY) // mmap_length
  word(48, at + MAP) // mmap_addr
  word(64, at + NAME) // boot_loader_name
  bytes.set(LOADER, NAME)
  for (const [i, { address, size, type }] of ranges.entries()) {
    const entry = MAP + i * MAP_ENTRY
    word(entry, MAP_ENTRY - 4)
    word(entry + 4, address)
    word(entry + 12, size)
    word(entry + 20, type)
  }
  return bytes
}

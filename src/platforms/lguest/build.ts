/**
 * What the Launcher (Documentation/lguest/lguest.c) and the host's setup_pagetables lay out: the kernel where its ELF
 * file says, boot_params at 0 with the command line behind it, the initrd at the top of RAM, and below it page tables
 * that map all RAM at 0 and at 3 GiB. The kernel is entered in ring 1, with paging on.
 */
import type { EntryState, Piece, SegmentRegister } from '../../boot/layout.ts'
import { BootError } from '../../boot/error.ts'
import type { BuildOptions } from '../../paravirt/platform.ts'
import { GDT_ENTRIES, GUEST_PL, IDT_ENTRIES, KERNEL_CS, KERNEL_DS, TSS_SELECTOR } from './abi.ts'
import { PAGE } from './frames.ts'
import { FLAGS, State, STATE_PAGE, TSS_BYTES } from './switcher.ts'

const ENTRIES = 512
const PRESENT_RW_USER = 7n
const KERNEL_BOUNDARY = 3
/** Fields of boot_params. */
const Boot = {
  E820_ENTRIES: 0x1e8,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  CMD_LINE_PTR: 0x228,
  HARDWARE_SUBARCH: 0x23c,
  E820_MAP: 0x2d0,
} as const
const KEEP_SEGMENTS = 0x40
const SUBARCH_LGUEST = 1
const E820_RAM = 1
/** Where a bzImage's own decompressor is put. */
const IMAGE = 0x100000

export interface Guest {
  readonly pieces: readonly Piece[]
  readonly entry: number
  /** Guest-physical address of the first page tables. */
  readonly pgdir: number
}

const align = (value: number): number => Math.ceil(value / PAGE) * PAGE

/** Throws BootError for what does not fit. */
export function buildGuest({ kernel, initrd = new Uint8Array(0), cmdline, memory }: BuildOptions): Guest {
  const text = new TextEncoder().encode(`${cmdline}\0`)
  const initrdAt = memory - align(initrd.length)
  const tables = pageTables(memory, align(initrd.length))
  const image =
    kernel.elf?.segments.map(({ address, bytes }) => ({ address, bytes })) ??
    (kernel.image ? [{ address: IMAGE, bytes: kernel.image.protectedMode }] : [])
  const end = Math.max(...(kernel.elf?.segments ?? []).map(({ address, size }) => address + size), 0)
  if (end > tables.lowest || image.some(({ address, bytes }) => address + bytes.length > tables.lowest))
    throw new BootError(`memory: ${memory / 2 ** 20} MiB is too little for this kernel and its initrd`)
  const pieces = [
    ...image,
    { address: 0, bytes: bootParams(memory, initrdAt, align(initrd.length)) },
    { address: PAGE, bytes: text },
    ...(initrd.length > 0 ? [{ address: initrdAt, bytes: initrd }] : []),
    ...tables.pieces,
  ]
  const [first] = image
  if (!first) throw new BootError(`${kernel.name}: there is nothing in it that could be entered`)
  return { pieces, entry: kernel.elf?.entry ?? IMAGE, pgdir: tables.pgdir }
}

function bootParams(memory: number, initrd: number, initrdSize: number): Uint8Array {
  const page = new Uint8Array(PAGE)
  const view = new DataView(page.buffer)
  view.setUint8(Boot.E820_ENTRIES, 1)
  view.setBigUint64(Boot.E820_MAP + 8, BigInt(memory), true)
  view.setUint32(Boot.E820_MAP + 16, E820_RAM, true)
  view.setUint16(Boot.VERSION, 0x207, true)
  view.setUint8(Boot.LOADFLAGS, KEEP_SEGMENTS)
  view.setUint32(Boot.CMD_LINE_PTR, PAGE, true)
  view.setUint32(Boot.HARDWARE_SUBARCH, SUBARCH_LGUEST, true)
  if (initrdSize > 0) {
    view.setUint8(Boot.TYPE_OF_LOADER, 0xff)
    view.setUint32(Boot.RAMDISK_IMAGE, initrd, true)
    view.setUint32(Boot.RAMDISK_SIZE, initrdSize, true)
  }
  return page
}

/** setup_pagetables. One middle table maps at most 1 GiB. */
function pageTables(memory: number, initrdSize: number) {
  const pages = memory / PAGE
  const linearPages = Math.ceil(pages / ENTRIES)
  const pgdir = memory - initrdSize - PAGE
  const linear = pgdir - linearPages * PAGE
  const middle = linear - PAGE
  if (middle < PAGE) throw new BootError(`memory: ${memory / 2 ** 20} MiB has no room for page tables`)
  const entries = new BigUint64Array(linearPages * ENTRIES)
  for (let page = 0; page < pages; page++) entries[page] = (BigInt(page) << 12n) | PRESENT_RW_USER
  const tables = new BigUint64Array(ENTRIES)
  for (let i = 0; i < Math.min(linearPages, ENTRIES); i++) tables[i] = BigInt(linear + i * PAGE) | PRESENT_RW_USER
  const top = new BigUint64Array(ENTRIES)
  top[0] = BigInt(middle) | 1n
  top[KERNEL_BOUNDARY] = BigInt(middle) | 1n
  const bytes = (words: BigUint64Array) => new Uint8Array(words.buffer)
  const pieces: Piece[] = [
    { address: middle, bytes: bytes(tables) },
    { address: linear, bytes: bytes(entries) },
    { address: pgdir, bytes: bytes(top) },
  ]
  return { pieces, pgdir, lowest: middle }
}

const RING1 = GUEST_PL << 5
const CODE: SegmentRegister = { selector: KERNEL_CS | GUEST_PL, base: 0, limit: 0xffffffff, attributes: 0xc9b | RING1 }
const DATA: SegmentRegister = { selector: KERNEL_DS | GUEST_PL, base: 0, limit: 0xffffffff, attributes: 0xc93 | RING1 }
const NONE: SegmentRegister = { selector: 0, base: 0, limit: 0, attributes: 0 }
/** PE MP ET NE WP AM PG; DE PSE PAE MCE OSFXSR OSXMMEXCPT: what the host runs with. PGE it has turned off. */
const CR0 = 0x80050033
const CR4 = 0x678

/** lguest_arch_setup_regs, under the host's own tables. */
export function entryState(entry: number, cr3: number): EntryState {
  return {
    mode: 'protected',
    rip: entry,
    rax: 0,
    rbx: 0,
    rsi: 0,
    rflags: FLAGS,
    cr0: CR0,
    cr3,
    cr4: CR4,
    efer: 0,
    gdtr: { base: STATE_PAGE + State.GDT, limit: 8 * GDT_ENTRIES - 1 },
    idtr: { base: STATE_PAGE + State.IDT, limit: 8 * IDT_ENTRIES - 1 },
    ldtr: NONE,
    cs: CODE,
    data: DATA,
    segments: { fs: NONE, gs: NONE },
    tr: { selector: TSS_SELECTOR, base: STATE_PAGE + State.TSS, limit: TSS_BYTES - 1, attributes: 0x8b },
  }
}

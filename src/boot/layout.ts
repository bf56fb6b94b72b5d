/**
 * Lays a kernel, initrd and command line out in physical memory and says with which registers the first processor
 * enters the kernel: PVH (xen/include/public/arch-x86/hvm/start_info.h), Linux's 64-bit and 32-bit boot protocols
 * (Documentation/arch/x86/boot.rst), or Multiboot. The result is plain data; the machine applies it.
 */
import type { MemoryRange } from './boot-params.ts'
import { bootParams, startInfo } from './boot-params.ts'
import { BootError } from './error.ts'
import type { Kernel, Method } from './entries.ts'
import { methods } from './entries.ts'
import { MULTIBOOT_LOADED, multibootInfo } from './multiboot.ts'

/** Bytes for physical memory; what no piece names stays zero. */
export interface Piece {
  address: number
  bytes: Uint8Array
}

/** A segment register with its hidden part. `attributes`: descriptor bits 40-47 in 0-7, 52-55 in 8-11. */
export interface SegmentRegister {
  selector: number
  base: number
  limit: number
  attributes: number
}

/** The processor at the kernel's entry. Registers that are not here are zero. */
export interface EntryState {
  mode: 'protected' | 'long'
  rip: number | bigint
  rax: number
  rbx: number
  rsi: number
  rflags: number
  cr0: number
  cr3: number
  cr4: number
  efer: number
  cr2?: number
  gdtr: { base: number; limit: number }
  idtr?: { base: number; limit: number }
  ldtr?: SegmentRegister
  cs: SegmentRegister
  /** DS, ES, SS, FS and GS, but those in `segments`. */
  data: SegmentRegister
  segments?: Readonly<Partial<Record<'es' | 'ss' | 'ds' | 'fs' | 'gs', SegmentRegister>>>
  tr: SegmentRegister
  /** General registers that are not above, or wider. */
  others?: Readonly<Partial<Record<'rax' | 'rbx' | 'rsi' | 'rcx' | 'rdx' | 'rsp' | 'rbp' | 'rdi', bigint>>>
}

export interface Boot {
  method: Method
  pieces: Piece[]
  entry: EntryState
}

export interface BootOptions {
  kernel: Kernel
  /** The initial RAM file system: archives one after another. */
  initrd?: Uint8Array | undefined
  cmdline: string
  /** Bytes of RAM, from 0 up. */
  memory: number
  /** Physical address of ACPI's RSDP, 0 if there is none. */
  rsdp?: number
  /** Firmware tables (ACPI, MP) below 1 MiB. */
  tables?: readonly Piece[]
  /** Default: the first of `methods` that the kernel has. */
  method?: Method | undefined
  /** What the kernel is told about physical memory, if it is not a PC's. */
  ranges?: readonly MemoryRange[]
}

const GDT = 0x1000
const PML4 = 0x2000
const PDPT = 0x3000
const PD = 0x4000 // four of them
const BOOT_INFO = 0x8000 // boot_params, or hvm_start_info with its lists
const CMDLINE = 0x20000
/** Small kernels lie anywhere low: what Multiboot hands over is at the end of low memory. */
const MULTIBOOT_INFO = 0x9e000
const MULTIBOOT_CMDLINE = 0x9f000
const LOW_END = 0x9fc00
const BIOS_AREA = 0xe0000
const HIGH = 0x100000
/** RAM ends below the hole for devices. */
const LARGEST_MEMORY = 3 * 2 ** 30

const PAGE = 4096
const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/** What the kernel is told about physical memory. */
function memoryMap(memory: number): MemoryRange[] {
  return [
    { address: 0, size: LOW_END, type: 1 },
    { address: LOW_END, size: 0xa0000 - LOW_END, type: 2 },
    { address: BIOS_AREA, size: HIGH - BIOS_AREA, type: 2 },
    { address: HIGH, size: memory - HIGH, type: 1 },
  ]
}

export function layoutBoot(options: BootOptions): Boot {
  const { kernel, initrd, memory, rsdp = 0, tables = [] } = options
  const method = chooseMethod(kernel, options.method)
  const cmdline = encodeCmdline(options.cmdline, kernel)
  if (memory > LARGEST_MEMORY)
    throw new BootError(`memory: ${mib(memory)} is more than the ${mib(LARGEST_MEMORY)} that the machine takes`)
  if (memory % PAGE !== 0) throw new BootError(`memory: ${memory} bytes is not a whole number of pages`)

  const kernelPieces = piecesOf(kernel, method)
  const kernelEnd = Math.max(...kernelPieces.map(({ end }) => end))
  if (kernelEnd > memory)
    throw new BootError(
      `memory: ${mib(memory)} is too little for this kernel; give at least ${mib(kernelEnd + (initrd?.length ?? 0) + (32 << 20))}`,
    )
  const initrdAddress = initrd ? placeInitrd(initrd.length, kernel, kernelEnd, memory) : 0

  const ranges = options.ranges ?? memoryMap(memory)
  const initrdRange = { address: initrdAddress, size: initrd?.length ?? 0 }
  const multiboot = method === 'multiboot'
  const [infoAddress, cmdlineAddress] = multiboot ? [MULTIBOOT_INFO, MULTIBOOT_CMDLINE] : [BOOT_INFO, CMDLINE]
  const contents = { at: infoAddress, cmdline: cmdlineAddress, initrd: initrdRange, rsdp, ranges }
  const info =
    method === 'pvh'
      ? startInfo(contents)
      : multiboot
        ? multibootInfo(contents)
        : bootParams({ setupHeader: kernel.image?.setupHeader, cmdline: CMDLINE, initrd: initrdRange, rsdp, ranges })
  const long = method === '64' || method === 'image64'
  const pieces: Piece[] = [
    ...(multiboot ? [] : [{ address: GDT, bytes: gdt(long) }]),
    ...(long ? [{ address: PML4, bytes: identityMap() }] : []),
    { address: infoAddress, bytes: info },
    { address: cmdlineAddress, bytes: cmdline },
    ...tables,
    ...kernelPieces,
    ...(initrd ? [{ address: initrdAddress, bytes: initrd }] : []),
  ]
  checkPlaces(kernel, kernelPieces, pieces)
  return { method, pieces, entry: entryState(kernel, method, long) }
}

function chooseMethod(kernel: Kernel, wanted: Method | undefined): Method {
  const has = methods.filter((method) => kernel.entries[method] !== undefined)
  const method = wanted ?? has[0]
  if (method === undefined || !has.includes(method))
    throw new BootError(`${kernel.name}: it cannot be entered by ${method}; it has ${has.join(', ')}`)
  return method
}

function encodeCmdline(cmdline: string, kernel: Kernel): Uint8Array {
  const bytes = new TextEncoder().encode(`${cmdline}\0`)
  // COMMAND_LINE_SIZE of arch/x86 is 2048, with the final NUL.
  const limit = kernel.image?.cmdlineSize ?? 2047
  if (bytes.length - 1 > limit)
    throw new BootError(`command line: ${bytes.length - 1} bytes; this kernel takes at most ${limit}`)
  if (bytes.indexOf(0) !== bytes.length - 1) throw new BootError('command line: it holds a NUL character')
  return bytes
}

/** The kernel's pieces, each with the end of the room that it occupies. */
function piecesOf(kernel: Kernel, method: Method): (Piece & { end: number })[] {
  if (method === 'image64' || method === 'image32') {
    const { protectedMode, prefAddress, initSize } = kernel.image!
    return [{ address: prefAddress, bytes: protectedMode, end: prefAddress + Math.max(initSize, protectedMode.length) }]
  }
  return kernel.elf!.segments.map(({ address, bytes, size }) => ({ address, bytes, end: address + size }))
}

/** As high as the kernel allows, like other boot loaders: the room above the kernel stays whole. */
function placeInitrd(length: number, kernel: Kernel, kernelEnd: number, memory: number): number {
  // 2 GiB is what 64-bit kernels say; 32-bit ones want it in the memory that they map from the start.
  const max = kernel.image?.initrdAddrMax ?? (kernel.bits === 64 ? 0x7fffffff : 0x37ffffff)
  const address = Math.floor((Math.min(memory, max + 1) - length) / PAGE) * PAGE
  if (address < kernelEnd)
    throw new BootError(
      memory <= max
        ? `memory: ${mib(memory)} is too little for this kernel and an initrd of ${mib(length)}; give at least ${mib(kernelEnd + length + (32 << 20))}`
        : `initrd: ${mib(length)} do not fit where this kernel takes it, below ${mib(max)}`,
    )
  return address
}

/** The kernel may say any address; nothing else is there. */
function checkPlaces(kernel: Kernel, own: readonly (Piece & { end: number })[], all: readonly Piece[]): void {
  for (const { address, end } of own)
    for (const other of all) {
      if ((own as readonly Piece[]).includes(other)) continue
      if (address < other.address + other.bytes.length && end > other.address)
        throw new BootError(`${kernel.name}: its part at 0x${address.toString(16)} lies where boot data must be`)
    }
  for (const { address, end } of own)
    if (!(end <= LOW_END || address >= HIGH))
      throw new BootError(`${kernel.name}: its part at 0x${address.toString(16)} lies outside RAM`)
}

// Flat 4 GiB segments; the descriptors are as the processor keeps them, accessed and busy (SDM Vol. 3A 3.4.5, 7.2.2).
const CODE32: SegmentRegister = { selector: 0x10, base: 0, limit: 0xffffffff, attributes: 0xc9b }
const CODE64: SegmentRegister = { selector: 0x10, base: 0, limit: 0xffffffff, attributes: 0xa9b }
const DATA: SegmentRegister = { selector: 0x18, base: 0, limit: 0xffffffff, attributes: 0xc93 }
const TSS: SegmentRegister = { selector: 0x20, base: 0, limit: 0x67, attributes: 0x08b }

function gdt(long: boolean): Uint8Array {
  const table = new Uint8Array(40)
  const view = new DataView(table.buffer)
  for (const { selector, base, limit, attributes } of [long ? CODE64 : CODE32, DATA, TSS]) {
    const units = attributes & 0x800 ? Math.floor(limit / PAGE) : limit
    const attributesField = ((attributes & 0xff) << 8) | ((attributes & 0xf00) << 12)
    view.setUint32(selector, ((base & 0xffff) << 16) | (units & 0xffff), true)
    view.setUint32(
      selector + 4,
      (base & 0xff000000) | (units & 0xf0000) | attributesField | ((base >>> 16) & 0xff),
      true,
    )
  }
  return table
}

/** 2 MiB pages that map the low 4 GiB to themselves: PML4, PDPT and four page directories. */
function identityMap(): Uint8Array {
  const table = new Uint8Array(PD - PML4 + 4 * PAGE)
  const view = new DataView(table.buffer)
  const PRESENT_WRITABLE = 3
  const LARGE = 0x80
  view.setUint32(0, PDPT | PRESENT_WRITABLE, true)
  for (let i = 0; i < 4; i++) view.setUint32(PDPT - PML4 + i * 8, (PD + i * PAGE) | PRESENT_WRITABLE, true)
  for (let i = 0; i < 2048; i++)
    view.setUint32(PD - PML4 + i * 8, (i * 0x200000 + LARGE + PRESENT_WRITABLE) >>> 0, true)
  return table
}

const CR0_PE_ET = 0x11
const CR0_PG = 0x80000000
const CR4_PAE = 0x20
const EFER_LME_LMA = 0x500

function entryState(kernel: Kernel, method: Method, long: boolean): EntryState {
  const info = method === 'multiboot' ? MULTIBOOT_INFO : BOOT_INFO
  const inRbx = method === 'pvh' || method === 'multiboot'
  return {
    mode: long ? 'long' : 'protected',
    rip: kernel.entries[method]!,
    rax: method === 'multiboot' ? MULTIBOOT_LOADED : 0,
    rbx: inRbx ? info : 0,
    rsi: inRbx ? 0 : info,
    rflags: 2,
    cr0: long ? CR0_PG + CR0_PE_ET : CR0_PE_ET,
    cr3: long ? PML4 : 0,
    cr4: long ? CR4_PAE : 0,
    efer: long ? EFER_LME_LMA : 0,
    gdtr: { base: GDT, limit: 39 },
    cs: long ? CODE64 : CODE32,
    data: DATA,
    tr: TSS,
  }
}

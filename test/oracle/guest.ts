/**
 * The small machine in which our processor runs the oracle's cases: native.c's address space at CPL 3 over a kernel
 * that is one HLT for each interrupt vector. `Kernel` says where things are.
 */
import { descriptorOf, ldt, Selector } from './segments.ts'
import { background, Space } from './space.ts'

/** Linear address of physical 0; supervisor only. */
const HIGH = 0xffff800000000000n

const Physical = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  DATA_PT: 0x4000,
  CODE_PT: 0x5000,
  HIGH_PDPT: 0x6000,
  HIGH_PD: 0x7000,
  GDT: 0x8000,
  LDT: 0x8800,
  IDT: 0x9000,
  TSS: 0xa000,
  HANDLERS: 0xb000,
  STACK_TOP: 0xd000,
  DATA: 0x10000,
  CODE: 0x20000,
} as const

export const GUEST_RAM = 0x400000
export const DATA_PAGES = Physical.DATA
export const CODE_PAGES = Physical.CODE

export const Kernel = {
  CR3: BigInt(Physical.PML4),
  GDT: HIGH + BigInt(Physical.GDT),
  GDT_LIMIT: 0x7f,
  LDT: HIGH + BigInt(Physical.LDT),
  LDT_SELECTOR: 0x50,
  LDT_LIMIT: ldt.length * 8 - 1,
  IDT: HIGH + BigInt(Physical.IDT),
  IDT_LIMIT: 0xfff,
  TSS: HIGH + BigInt(Physical.TSS),
  TSS_SELECTOR: 0x40,
  TSS_LIMIT: 0x67,
  /** 16 bytes for each vector: HLT. */
  HANDLERS: HIGH + BigInt(Physical.HANDLERS),
  STACK_TOP: HIGH + BigInt(Physical.STACK_TOP),
  STACK_TOP_PHYSICAL: Physical.STACK_TOP,
} as const

const KERNEL_CODE = 0x00af9b000000ffffn
const KERNEL_DATA = 0x00cf93000000ffffn
const KERNEL_CS = 0x10
/** Linux's per-CPU segment whose limit is the CPU's number: 0. */
const CPU_NUMBER = 0x0040f50000000000n
const CPU_NUMBER_SELECTOR = 0x7b

/** Vectors that user code may raise by INT n under Linux. */
const USER_VECTORS = new Set([3, 4, 0x80])

const P = 1n
const W = 2n
const U = 4n
const LARGE = 0x80n
const NX = 1n << 63n
const ACCESSED_DIRTY = 0x60n

/** Writes the kernel and the address space into physical memory. */
export function writeGuest(ram: DataView): void {
  const set = (at: number, value: bigint): void => ram.setBigUint64(at, BigInt.asUintN(64, value), true)
  const link = (table: number, index: number, to: number): void =>
    set(table + index * 8, BigInt(to) | P | W | U | ACCESSED_DIRTY)
  link(Physical.PML4, 0, Physical.PDPT)
  link(Physical.PDPT, 0, Physical.PD)
  link(Physical.PD, Space.DATA >>> 21, Physical.DATA_PT)
  link(Physical.PD, Space.CODE >>> 21, Physical.CODE_PT)
  const page = (table: number, index: number, to: number, bits: bigint): void =>
    set(table + index * 8, BigInt(to) | P | U | ACCESSED_DIRTY | bits)
  page(Physical.DATA_PT, 0, Physical.DATA, W | NX)
  page(Physical.DATA_PT, 1, Physical.DATA + 4096, W | NX)
  page(Physical.DATA_PT, 2, Physical.DATA + 8192, NX)
  page(Physical.CODE_PT, 0, Physical.CODE, 0n)
  page(Physical.CODE_PT, 1, Physical.CODE + 4096, 0n)
  set(Physical.PML4 + 256 * 8, BigInt(Physical.HIGH_PDPT) | P | W | ACCESSED_DIRTY)
  set(Physical.HIGH_PDPT, BigInt(Physical.HIGH_PD) | P | W | ACCESSED_DIRTY)
  set(Physical.HIGH_PD, P | W | LARGE | ACCESSED_DIRTY)

  const descriptor = (selector: number, value: bigint): void => set(Physical.GDT + (selector & ~7), value)
  descriptor(KERNEL_CS, KERNEL_CODE)
  descriptor(KERNEL_CS + 8, KERNEL_DATA)
  for (const selector of [Selector.CODE32, Selector.DATA, Selector.CODE64])
    descriptor(selector, descriptorOf(selector)!)
  ldt.forEach((value, i) => set(Physical.LDT + i * 8, value))
  descriptor(CPU_NUMBER_SELECTOR, CPU_NUMBER)
  const system = (selector: number, base: bigint, limit: number, type: bigint): void => {
    descriptor(selector, BigInt(limit) | ((base & 0xffffffn) << 16n) | (type << 40n) | (((base >> 24n) & 0xffn) << 56n))
    descriptor(selector + 8, base >> 32n)
  }
  system(Kernel.TSS_SELECTOR, Kernel.TSS, Kernel.TSS_LIMIT, 0x8bn)
  system(Kernel.LDT_SELECTOR, Kernel.LDT, Kernel.LDT_LIMIT, 0x82n)
  set(Physical.TSS + 4, Kernel.STACK_TOP)
  ram.setUint16(Physical.TSS + 0x66, Kernel.TSS_LIMIT + 1, true) // no I/O permissions

  for (let vector = 0; vector < 256; vector++) {
    const handler = Kernel.HANDLERS + BigInt(vector * 16)
    const type = USER_VECTORS.has(vector) ? 0xeen : 0x8en
    const at = Physical.IDT + vector * 16
    set(at, (handler & 0xffffn) | (BigInt(KERNEL_CS) << 16n) | (type << 40n) | (((handler >> 16n) & 0xffffn) << 48n))
    set(at + 8, handler >> 32n)
    ram.setUint8(Physical.HANDLERS + vector * 16, 0xf4)
  }
  const bytes = new Uint8Array(ram.buffer, ram.byteOffset, ram.byteLength)
  bytes.set(background, Physical.DATA)
  bytes.fill(0xcc, Physical.CODE, Physical.CODE + Space.CODE_SIZE)
}

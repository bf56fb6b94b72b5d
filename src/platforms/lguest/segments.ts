/** The GDT of a guest (drivers/lguest/segments.c): the host's own, with the guest's entries mended a little. */
import {
  GDT_ENTRIES,
  GUEST_PL,
  HOST_ENTRIES,
  KERNEL_CS,
  KERNEL_DS,
  LGUEST_CS,
  LGUEST_DS,
  TLS,
  TSS_SELECTOR,
} from './abi.ts'
import { PAGE } from './frames.ts'
import type { Lguest } from './lguest.ts'
import { codeSegment, dataSegment, REGS_PAGE, State, STATE_PAGE, TSS_BYTES } from './switcher.ts'

const DPL = 0x6000
const ACCESSED = 0x100
/** A busy 32-bit TSS. */
const BUSY_TSS = 0x8b00
/** Fields of a TSS. */
const Tss = { ESP0: 4, SS0: 8, ESP1: 12, SS1: 16, IO_MAP: 102 } as const

export class Segments {
  readonly #lg: Lguest

  constructor(lg: Lguest) {
    this.#lg = lg
  }

  /** setup_default_gdt_entries, setup_guest_gdt, and the TSS: traps to ring 0 end on the page of registers. */
  begin(): void {
    const tss = STATE_PAGE + State.TSS
    this.#set(LGUEST_CS >> 3, ...codeSegment(0))
    this.#set(LGUEST_DS >> 3, ...dataSegment(0))
    const high = BUSY_TSS | (tss & 0xff000000) | ((tss >>> 16) & 0xff)
    this.#set(TSS_SELECTOR >> 3, (TSS_BYTES - 1) | ((tss & 0xffff) << 16), high)
    this.#set(KERNEL_CS >> 3, ...codeSegment(GUEST_PL))
    this.#set(KERNEL_DS >> 3, ...dataSegment(GUEST_PL))
    this.#tss(Tss.ESP0, REGS_PAGE + PAGE)
    this.#tss(Tss.SS0, LGUEST_DS)
    this.#lg.effects.memory.store16(this.#tssAt + Tss.IO_MAP, TSS_BYTES)
  }

  get #tssAt(): number {
    return this.#lg.map.state * PAGE + State.TSS
  }

  #tss(field: number, value: number): void {
    this.#lg.effects.memory.store32(this.#tssAt + field, value >>> 0)
  }

  #set(index: number, low: number, high: number): void {
    const { memory } = this.#lg.effects
    const at = this.#lg.map.state * PAGE + State.GDT + 8 * index
    memory.store32(at, low >>> 0)
    memory.store32(at + 4, high >>> 0)
  }

  /** fixup_gdt_table and copy_gdt: never ring 0, always accessed. */
  #setGuest(index: number, low: number, high: number): void {
    if (HOST_ENTRIES.includes(index)) return
    const dpl = (high & DPL) === 0 ? GUEST_PL << 13 : 0
    this.#set(index, low, high | dpl | ACCESSED)
  }

  /** load_guest_gdt_entry. */
  load(index: number, low: number, high: number): void {
    if (index >= GDT_ENTRIES) this.#lg.kill(`too many gdt entries ${index | 0}`)
    else this.#setGuest(index, low, high)
  }

  /** guest_load_tls. */
  loadTls(address: number): void {
    const bytes = this.#lg.read(address, 8 * TLS.count)
    if (!bytes) return
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let i = 0; i < TLS.count; i++)
      this.#setGuest(TLS.first + i, view.getUint32(8 * i, true), view.getUint32(8 * i + 4, true))
  }

  /** The kernel's stack, for traps that the processor takes by itself. */
  setStack(): void {
    const { esp, ss } = this.#lg.stack
    this.#tss(Tss.ESP1, esp)
    this.#tss(Tss.SS1, ss)
  }
}

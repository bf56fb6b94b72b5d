/**
 * Processors that begin where the boot processor says (VMI_CALL_SetInitialAPState) instead of in real mode. The state is
 * Linux 2.6.36's struct vmi_ap_state (arch/x86/include/asm/vmi.h).
 */
import type { EntryState, SegmentRegister } from '../../boot/layout.ts'
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { readLinear } from './guest-memory.ts'

const BYTES = 92
const CR0_PE = 1
const NULL: SegmentRegister = { selector: 0, base: 0, limit: 0, attributes: 0 }
const TABLE_INDICATOR = 4

export class Processors implements Stateful {
  readonly #effects: Effects
  readonly #states: (Uint8Array | undefined)[]

  constructor(effects: Effects) {
    this.#effects = effects
    this.#states = Array.from({ length: effects.cpu.count }, () => undefined)
  }

  transfer(state: Transfer): void {
    state.list('states', this.#states)
  }

  /** Copies the state, which is on the caller's stack. One that cannot be read is none. */
  remember(vcpu: number, linear: number, apicId: number): void {
    if (apicId >= this.#states.length) return
    this.#states[apicId] = readLinear(this.#effects.memory, vcpu, linear, BYTES)
  }

  /** A start-up message has come: true if the vCPU begins in a state of the guest's. */
  start(vcpu: number): boolean {
    const state = this.#states[vcpu]
    const entry = state && this.#entry(new DataView(state.buffer, state.byteOffset))
    if (entry) this.#effects.cpu.enter(vcpu, entry)
    return entry !== undefined
  }

  /** Undefined for a state with which no processor can begin. */
  #entry(state: DataView): EntryState | undefined {
    const word = (offset: number) => state.getUint32(offset, true)
    const wide = (offset: number) => BigInt(word(offset))
    const selector = (offset: number) => state.getUint16(offset, true)
    const gdtr = { base: word(80), limit: selector(78) }
    const segment = (offset: number): SegmentRegister | undefined => this.#segment(selector(offset), gdtr)
    const [cs, ss, ds, es, fs, gs, ldtr] = [64, 66, 68, 70, 72, 74, 76].map(segment)
    if (!cs || !ss || !ds || !es || !fs || !gs || !ldtr || (word(0) & CR0_PE) === 0) return undefined
    return {
      mode: 'protected',
      rip: word(24),
      rflags: word(28) | 2,
      rax: word(32),
      rbx: word(36),
      rsi: word(56),
      others: { rcx: wide(40), rdx: wide(44), rsp: wide(48), rbp: wide(52), rdi: wide(60) },
      cr0: word(0),
      cr2: word(4),
      cr3: word(8),
      cr4: word(12),
      efer: word(16),
      gdtr,
      idtr: { base: word(84), limit: selector(88) },
      cs,
      data: ds,
      segments: { ss, es, fs, gs },
      ldtr,
      tr: { selector: 0, base: 0, limit: 0xffff, attributes: 0x8b },
    }
  }

  /** The hidden part of a segment register, from the GDT; undefined if it cannot be loaded from there. */
  #segment(selector: number, gdtr: { base: number; limit: number }): SegmentRegister | undefined {
    if ((selector & ~3) === 0) return { ...NULL, selector }
    if (selector & TABLE_INDICATOR || (selector | 7) > gdtr.limit) return undefined
    const bytes = readLinear(this.#effects.memory, 0, (gdtr.base + (selector & ~7)) >>> 0, 8)
    if (!bytes) return undefined
    const view = new DataView(bytes.buffer)
    const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)]
    const attributes = ((high >>> 8) & 0xff) | ((high >>> 12) & 0xf00)
    const limit = (low & 0xffff) | (high & 0xf0000)
    return {
      selector,
      base: ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0,
      limit: attributes & 0x800 ? (limit * 4096 + 4095) >>> 0 : limit,
      attributes,
    }
  }
}

/**
 * MSRs of a bare machine that neither the core nor the local APIC holds: MTRRs, machine check, feature control words
 * (SDM Vol. 4 table 2-2; AMD64 APM Vol. 2 appendix A). A reserved bit or an unknown MSR is #GP(0).
 */
import { ARCH_CAPABILITIES, type CpuModel } from '../../cpu/models.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const PLATFORM_ID = 0x17
const BIOS_UPDT_TRIG = 0x79
const BIOS_SIGN_ID = 0x8b
const MTRR_CAP = 0xfe
const MTRR_DEF_TYPE = 0x2ff
const MTRR_VARIABLE = 8
const MCG_CAP = 0x179
const MCG_STATUS = 0x17a
const MCE_BANKS = 4
const ARCH_CAPS = 0x10a
const PHYSICAL_MASK = (1n << 39n) - 1n
const memoryTypes = [0n, 1n, 4n, 5n, 6n]
const fixedMtrrs = [0x250, 0x258, 0x259, ...Array.from({ length: 8 }, (_, i) => 0x268 + i)]

interface Word {
  /** As firmware leaves it. */
  readonly reset: bigint
  /** The bits that a write may change; all others stay. */
  readonly writable: bigint
  /** The bits that must be written as 0. */
  readonly reserved: bigint
}
/** Configuration words of each vendor's, for a processor that has next to nothing to configure. */
const words = {
  GenuineIntel: new Map<number, Word>([
    // IA32_MISC_ENABLE: fast strings; neither branch trace storage nor PEBS.
    [0x1a0, { reset: 0x1801n, writable: 1n, reserved: ~0x1801n }],
  ]),
  AuthenticAMD: new Map<number, Word>([
    // SYSCFG: MtrrFixDramEn, MtrrVarDramEn. The bits of memory encryption read as 0.
    [0xc0010010, { reset: 0x140000n, writable: 0x7c0000n, reserved: ~0xffff_ffffn }],
    // HWCR: TscFreqSel, which is read-only.
    [0xc0010015, { reset: 1n << 24n, writable: 0xf_feff_ffffn, reserved: ~0xf_ffff_ffffn }],
    // NB_CFG
    [0xc001001f, { reset: 0n, writable: ~0n, reserved: 0n }],
    // DE_CFG: LFENCE serialises.
    [0xc0011029, { reset: 2n, writable: ~2n, reserved: 0n }],
  ]),
}

/** The MSRs of one vCPU. */
export class NativeMsrs implements Stateful {
  readonly #values = new Map<number, bigint>()
  readonly #model: CpuModel

  constructor(model: CpuModel) {
    this.#model = model
    // As firmware leaves them: everything write-back but the hole for devices.
    this.#values.set(MTRR_DEF_TYPE, 0xc06n)
    for (const index of fixedMtrrs) this.#values.set(index, 0x0606060606060606n)
    this.#values.set(0x259, 0n)
    this.#values.set(0x200, 0xc0000000n)
    this.#values.set(0x201, (PHYSICAL_MASK & ~0x3fffffffn) | 0x800n)
    for (const [index, { reset }] of words[model.vendor]) this.#values.set(index, reset)
  }

  transfer(state: Transfer): void {
    state.map('values', this.#values)
  }

  get #isIntel(): boolean {
    return this.#model.vendor === 'GenuineIntel'
  }

  /** The value, or undefined for #GP(0). */
  read(index: number): bigint | undefined {
    switch (index) {
      case PLATFORM_ID:
        return this.#isIntel ? 0n : undefined
      case BIOS_SIGN_ID:
        return 0n
      case MCG_STATUS:
        return this.#values.get(index) ?? 0n
      case MTRR_CAP:
        return BigInt(MTRR_VARIABLE | (1 << 8) | (1 << 10))
      case MCG_CAP:
        return BigInt(MCE_BANKS)
      case ARCH_CAPS:
        return this.#model.archCapabilities ? ARCH_CAPABILITIES : undefined
    }
    if (isMtrr(index) || isBank(index)) return this.#values.get(index) ?? 0n
    return this.#values.get(index)
  }

  /** False for #GP(0). */
  write(index: number, value: bigint): boolean {
    // A write before CPUID 1 asks for the microcode's revision, which stays 0; so it does after any update.
    if (index === BIOS_SIGN_ID || (index === BIOS_UPDT_TRIG && this.#isIntel)) return true
    const word = words[this.#model.vendor].get(index)
    if (word) {
      if ((value & word.reserved) !== 0n) return false
      const kept = (this.#values.get(index) as bigint) & ~word.writable
      this.#values.set(index, kept | (value & word.writable))
      return true
    }
    if (!this.#allowed(index, value)) return false
    this.#values.set(index, value)
    return true
  }

  #allowed(index: number, value: bigint): boolean {
    switch (index) {
      case MCG_STATUS:
        return (value & ~7n) === 0n
      case MTRR_DEF_TYPE:
        return (value & ~0xcffn) === 0n && memoryTypes.includes(value & 0xffn)
    }
    if (fixedMtrrs.includes(index)) {
      for (let i = 0n; i < 64n; i += 8n) if (!memoryTypes.includes((value >> i) & 0xffn)) return false
      return true
    }
    if (isMtrr(index)) {
      if (index & 1) return (value & ~PHYSICAL_MASK) === 0n && (value & 0x7ffn) === 0n
      return (value & ~PHYSICAL_MASK) === 0n && (value & 0xf00n) === 0n && memoryTypes.includes(value & 0xffn)
    }
    if (isBank(index)) return index % 4 === 0 || value === 0n // IA32_MCi_CTL takes anything, the others only clear
    return false
  }
}

function isMtrr(index: number): boolean {
  return (index >= 0x200 && index < 0x200 + 2 * MTRR_VARIABLE) || fixedMtrrs.includes(index)
}

function isBank(index: number): boolean {
  return index >= 0x400 && index < 0x400 + 4 * MCE_BANKS
}

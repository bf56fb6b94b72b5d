/**
 * MSRs of a bare machine that neither the core nor the local APIC holds: MTRRs, machine check, feature control words
 * (SDM Vol. 4 table 2-2). A reserved bit or an unknown MSR is #GP(0).
 */
import { ARCH_CAPABILITIES, type CpuModel } from '../cpu-models.ts'

const MTRR_CAP = 0xfe
const MTRR_DEF_TYPE = 0x2ff
const MTRR_VARIABLE = 8
const MCG_CAP = 0x179
const MCG_STATUS = 0x17a
const MCE_BANKS = 4
const MISC_ENABLE = 0x1a0
const ARCH_CAPS = 0x10a
const PHYSICAL_MASK = (1n << 39n) - 1n
const memoryTypes = [0n, 1n, 4n, 5n, 6n]
const fixedMtrrs = [0x250, 0x258, 0x259, ...Array.from({ length: 8 }, (_, i) => 0x268 + i)]

/** The MSRs of one vCPU. */
export class NativeMsrs {
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
    this.#values.set(MISC_ENABLE, 0x1801n)
  }

  /** The value, or undefined for #GP(0). */
  read(index: number): bigint | undefined {
    switch (index) {
      case 0x17:
      case 0x8b:
      case MCG_STATUS:
      case 0x79:
        return this.#values.get(index) ?? 0n
      case MTRR_CAP:
        return BigInt(MTRR_VARIABLE | (1 << 8) | (1 << 10))
      case MCG_CAP:
        return BigInt(MCE_BANKS)
      case ARCH_CAPS:
        return this.#model.archCapabilities ? ARCH_CAPABILITIES : undefined
      case MISC_ENABLE:
      case MTRR_DEF_TYPE:
        return this.#values.get(index)
    }
    if (isMtrr(index) || isBank(index)) return this.#values.get(index) ?? 0n
    return undefined
  }

  /** False for #GP(0). */
  write(index: number, value: bigint): boolean {
    if (!this.#allowed(index, value)) return false
    // IA32_BIOS_SIGN_ID: a write of 0 before CPUID 1 asks for the microcode revision, which stays 0.
    if (index !== 0x8b && index !== 0x79) this.#values.set(index, value)
    return true
  }

  #allowed(index: number, value: bigint): boolean {
    switch (index) {
      case 0x8b:
      case 0x79:
      case MCG_STATUS:
        return true
      case MISC_ENABLE:
        return (value & ~0x401801n) === 0n
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

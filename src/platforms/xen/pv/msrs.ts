/**
 * MSRs of a 64-bit PV guest's kernel but those that the core has (Xen 4.17: arch/x86/msr.c, pv/emul-priv-op.c). Anything
 * else is #GP(0); before the guest has a handler for that, reads of what the processor has give 0.
 */
import type { CpuModel } from '../../../cpu/models.ts'
import type { Platform } from '../../../paravirt/platform.ts'

const Msr = {
  TSC: 0x10,
  PLATFORM_ID: 0x17,
  APIC_BASE: 0x1b,
  FEATURE_CONTROL: 0x3a,
  UCODE_WRITE: 0x79,
  UCODE_REV: 0x8b,
  PLATFORM_INFO: 0xce,
  ARCH_CAPABILITIES: 0x10a,
  MISC_FEATURES_ENABLES: 0x140,
  MCG_CAP: 0x179,
  MCG_STATUS: 0x17a,
  MCG_CTL: 0x17b,
  PERF_STATUS: 0x198,
  PERF_CTL: 0x199,
  THERM_STATUS: 0x19c,
  MISC_ENABLE: 0x1a0,
  PAT: 0x277,
  PERF_CAPABILITIES: 0x345,
  EFER: 0xc0000080,
  K8_HWCR: 0xc0010015,
  NB_CFG: 0xc001001f,
  DE_CFG: 0xc0011029,
} as const

/** SCE, LME, LMA, NX. */
const EFER = 0xd01n
const XEN_PAT = 0x050100070406n
const APIC_BASE = 0xfee00800n
const APIC_BASE_BSP = 0x100n
const LOCKED = 1n
const SKIP_L1DFL = 8n
/** Two banks; Intel: software recovery, threshold-based status. */
const MCE_BANKS = 2
const MCG_CAP = { GenuineIntel: 0x1000002n, AuthenticAMD: 2n } as const
/** MISC_ENABLE: performance monitoring and MONITOR are off, BTS, PEBS and xTPR not there. */
const MISC_OFF = (1n << 7n) | (1n << 18n)
const MISC_ON = (1n << 11n) | (1n << 12n) | (1n << 23n)
const LFENCE_SERIALISES = 2n
const ALL = (1n << 64n) - 1n

/** Xen's own MSRs. */
const isXen = (index: number): boolean => index >>> 16 === 0x4000
const isBank = (index: number): boolean => index >= 0x400 && index < 0x480
/** Performance counters, which read 0 and take any value while the domain may not have them. */
const isIntelCounter = (index: number): boolean =>
  (index >= 0xc1 && index <= 0xc8) ||
  (index >= 0x186 && index <= 0x189) ||
  (index >= 0x309 && index <= 0x30b) ||
  (index >= 0x38d && index <= 0x390)
const isAmdCounter = (index: number): boolean =>
  (index >= 0xc0010000 && index <= 0xc0010007) || (index >= 0xc0010200 && index <= 0xc001020b)
const isPstate = (index: number): boolean =>
  index === 0xc0010041 || index === 0xc0010042 || (index >= 0xc0010061 && index <= 0xc001006b)

interface PvMsrOptions {
  readonly model: CpuModel
  /** What the processor itself has. */
  readonly native: Pick<Platform, 'rdmsr'>
  /** The time stamp counter. */
  readonly tsc: (vcpu: number) => bigint
  /** The guest has a handler for #GP. */
  readonly handles: (vcpu: number) => boolean
}

export class PvMsrs {
  readonly #options: PvMsrOptions

  constructor(options: PvMsrOptions) {
    this.#options = options
  }

  get #isIntel(): boolean {
    return this.#options.model.vendor === 'GenuineIntel'
  }

  /** Undefined: #GP(0). */
  rdmsr(vcpu: number, index: number): bigint | undefined {
    const value = this.#read(vcpu, index)
    if (value !== undefined || this.#options.handles(vcpu) || isXen(index)) return value
    return this.#options.native.rdmsr(vcpu, index) === undefined ? undefined : 0n
  }

  #read(vcpu: number, index: number): bigint | undefined {
    const { model, native, tsc } = this.#options
    const intel = this.#isIntel
    switch (index) {
      case Msr.TSC:
        return tsc(vcpu)
      case Msr.APIC_BASE:
        return vcpu === 0 ? APIC_BASE | APIC_BASE_BSP : APIC_BASE
      case Msr.FEATURE_CONTROL:
        return intel ? LOCKED : undefined
      case Msr.PLATFORM_ID:
      case Msr.UCODE_REV:
        return native.rdmsr(vcpu, index)
      case Msr.PLATFORM_INFO:
      case Msr.MISC_FEATURES_ENABLES:
      case Msr.PERF_CAPABILITIES:
        return 0n
      case Msr.ARCH_CAPABILITIES: {
        const value = native.rdmsr(vcpu, index)
        return value === undefined ? undefined : value & ~SKIP_L1DFL
      }
      case Msr.MCG_CAP:
        return MCG_CAP[model.vendor]
      case Msr.MCG_STATUS:
        return 0n
      case Msr.PERF_STATUS:
      case Msr.PERF_CTL:
      case Msr.THERM_STATUS:
        return intel ? 0n : undefined
      case Msr.MISC_ENABLE:
        return this.#miscEnable(vcpu)
      case Msr.PAT:
        return XEN_PAT
      case Msr.EFER:
        return EFER
      case Msr.K8_HWCR:
      case Msr.NB_CFG:
        return intel ? undefined : 0n
      case Msr.DE_CFG:
        return intel ? undefined : LFENCE_SERIALISES
    }
    if (isBank(index)) return index >= 0x400 + 4 * MCE_BANKS ? undefined : index % 4 === 0 ? ALL : 0n
    if (intel ? isIntelCounter(index) : isAmdCounter(index) || isPstate(index)) return 0n
    return undefined
  }

  /** False: #GP(0). */
  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    const intel = this.#isIntel
    switch (index) {
      case Msr.EFER:
        return value === EFER
      case Msr.UCODE_WRITE:
      case Msr.UCODE_REV:
        return intel
      case Msr.MISC_FEATURES_ENABLES:
        return value === 0n
      case Msr.MCG_STATUS:
        return true
      case Msr.PERF_CTL:
      case Msr.PERF_STATUS:
        return intel
      case Msr.MISC_ENABLE:
        return this.#miscEnable(vcpu) !== undefined
      case Msr.K8_HWCR:
      case Msr.NB_CFG:
        return !intel
    }
    // Controls take anything, the others only clear.
    if (isBank(index)) return index < 0x400 + 4 * MCE_BANKS && (index % 4 === 0 || value === 0n)
    return intel ? isIntelCounter(index) : isAmdCounter(index) || isPstate(index)
  }

  #miscEnable(vcpu: number): bigint | undefined {
    const value = this.#options.native.rdmsr(vcpu, Msr.MISC_ENABLE)
    return value === undefined ? undefined : (value & ~MISC_OFF) | MISC_ON
  }
}

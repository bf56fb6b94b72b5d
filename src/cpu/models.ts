/**
 * Processor models: what CPUID says. It is truthful: a feature is listed when the core has it.
 *
 * The default names an in-order family 6 processor, which this one is: it does not speculate, so a kernel has nothing
 * to mitigate (SDM Vol. 3A; Linux's cpu_vuln_whitelist). ARCH_CAPABILITIES says the same for kernels that go by it, and
 * the extended leaves 8 and 0x21 say it for the AMD model, as far as AMD has bits for it (AMD64 APM Vol. 3, E.4).
 * Time: leaf 0x15 gives a 25 MHz crystal (the local APIC's clock) and a TSC of 1 GHz, leaf 0x16 the same in MHz, so
 * that nothing needs calibrating.
 */

export interface CpuModel {
  vendor: 'GenuineIntel' | 'AuthenticAMD'
  family: number
  model: number
  stepping: number
  brand: string
  /** ARCH_CAPABILITIES exists (Intel only). */
  archCapabilities: boolean
}

const models = {
  inorder: {
    vendor: 'GenuineIntel',
    family: 6,
    model: 0x36,
    stepping: 1,
    brand: 'paravirt in-order processor @ 1.00GHz',
    archCapabilities: true,
  },
  amd: {
    vendor: 'AuthenticAMD',
    family: 0x19,
    model: 0x01,
    stepping: 1,
    brand: 'paravirt AMD-compatible processor',
    archCapabilities: false,
  },
} as const satisfies Record<string, CpuModel>

export type CpuModelName = keyof typeof models
/** The first is the default. */
export const cpuModels = Object.keys(models) as CpuModelName[]

export function cpuModel(name: CpuModelName): CpuModel {
  return models[name]
}

/** TSC frequency: the virtual clock's nanoseconds. */
export const TSC_HZ = 1_000_000_000
/** The local APICs' clock. */
export const CRYSTAL_HZ = 25_000_000

/** Bits by their CPUID names; SDM Vol. 2A CPUID, tables 3-10, 3-11. */
const bits = (...list: number[]): number => list.reduce((sum, bit) => sum | (1 << bit), 0)
const LEAF1_EDX = bits(0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26)
const LEAF1_ECX = bits(0, 1, 9, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 30)
const LEAF7_EBX = bits(0, 1, 6, 7, 9, 10, 13, 18, 20, 23)
const LEAF7_ECX = bits(2, 22)
const LEAF7_EDX = bits(4)
const EXTENDED_ECX = bits(0, 5, 8)
const EXTENDED_EDX = bits(11, 20, 26, 27, 29)
/** Those bits of leaf 1 EDX that AMD repeats in the extended leaf 1. */
const AMD_REPEATED_EDX = 0x0183f3ff
/** SSB_NO, BTC_NO */
const AMD_LEAF8_EBX = bits(26, 29)
/** LFENCE always serialises, null selectors clear the base, automatic IBRS, no SMM_CTL, SRSO_NO */
const AMD_LEAF21_EAX = bits(2, 6, 8, 9, 29)
/** TSA_SQ_NO, TSA_L1_NO */
const AMD_LEAF21_ECX = bits(1, 2)

const OSXSAVE = 1 << 27
const MAX_LEAF = { GenuineIntel: 0x16, AuthenticAMD: 0xd } as const
const MAX_EXTENDED = { GenuineIntel: 0x80000008, AuthenticAMD: 0x80000021 } as const

/** What CPUID needs to know of the vCPU that executes it. */
export interface CpuidState {
  apicId: number
  vcpus: number
  /** CR4.OSXSAVE */
  osxsave: boolean
  /** IA32_APIC_BASE.EN */
  apicEnabled: boolean
}

export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number]

/** CPUID 1 EAX. */
export function signature(m: CpuModel): number {
  const family = Math.min(m.family, 15)
  return m.stepping | ((m.model & 15) << 4) | (family << 8) | ((m.model >> 4) << 16) | ((m.family - family) << 20)
}

function text(value: string): number[] {
  const bytes = new Uint8Array(Math.ceil(value.length / 4) * 4)
  new TextEncoder().encodeInto(value, bytes)
  return [...new Int32Array(bytes.buffer)]
}

/** CPUID of a model. An unknown basic leaf answers like the highest one on Intel, zeros on AMD. */
export function cpuid(m: CpuModel, leaf: number, subleaf: number, state: CpuidState): CpuidResult {
  const intel = m.vendor === 'GenuineIntel'
  const maxLeaf = MAX_LEAF[m.vendor]
  const maxExtended = MAX_EXTENDED[m.vendor]
  if (leaf > maxLeaf && (leaf < 0x80000000 || leaf > maxExtended)) {
    if (!intel) return [0, 0, 0, 0]
    leaf = maxLeaf
  }
  const shift = Math.ceil(Math.log2(state.vcpus))
  switch (leaf) {
    case 0: {
      const [b = 0, d = 0, c = 0] = text(m.vendor)
      return [maxLeaf, b, c, d]
    }
    case 1: {
      const siblings = state.vcpus > 1 ? state.vcpus : 0
      const edx = (state.apicEnabled ? LEAF1_EDX : LEAF1_EDX & ~(1 << 9)) | (siblings ? 1 << 28 : 0)
      return [
        signature(m),
        (state.apicId << 24) | (siblings << 16) | (8 << 8),
        LEAF1_ECX | (state.osxsave ? OSXSAVE : 0),
        edx,
      ]
    }
    case 2:
      return intel ? [0x00ffff01, 0, 0, 0] : [0, 0, 0, 0]
    case 4:
      return intel ? (caches[subleaf] ?? [0, 0, 0, 0]) : [0, 0, 0, 0]
    case 6:
      return [4, 0, 0, 0] // ARAT: the APIC timer never stops
    case 7:
      return subleaf === 0 ? [0, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX | (m.archCapabilities ? 1 << 29 : 0)] : [0, 0, 0, 0]
    case 0xb:
      if (subleaf === 0) return [0, 1, 0x100, state.apicId]
      if (subleaf === 1) return [shift, state.vcpus, 0x201, state.apicId]
      return [0, 0, subleaf, state.apicId]
    case 0xd: // x87 and SSE in the standard format, XSAVEOPT
      if (subleaf === 0) return [3, 576, 576, 0]
      return subleaf === 1 ? [1, 0, 0, 0] : [0, 0, 0, 0]
    case 0x15:
      return [1, TSC_HZ / CRYSTAL_HZ, CRYSTAL_HZ, 0]
    case 0x16:
      return [TSC_HZ / 1e6, TSC_HZ / 1e6, CRYSTAL_HZ / 1e6, 0]
    case 0x80000000: {
      const [b = 0, d = 0, c = 0] = intel ? [0, 0, 0] : text(m.vendor)
      return [maxExtended | 0, b, c, d]
    }
    case 0x80000001:
      if (intel) return [0, 0, EXTENDED_ECX, EXTENDED_EDX]
      return [signature(m), 0, EXTENDED_ECX, EXTENDED_EDX | (cpuid(m, 1, 0, state)[3] & AMD_REPEATED_EDX)]
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const words = text(m.brand.padEnd(48, '\0')).slice((leaf - 0x80000002) * 4)
      return [words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0]
    }
    case 0x80000005: // L1: KiB << 24 | ways << 16 | lines a tag << 8 | line, for data and code
      return intel
        ? [0, 0, 0, 0]
        : [0, 0, (32 << 24) | (8 << 16) | (1 << 8) | 64, (32 << 24) | (8 << 16) | (1 << 8) | 64]
    case 0x80000006:
      return [0, 0, (1024 << 16) | (8 << 12) | 64, 0]
    case 0x80000007:
      return [0, 0, 0, 1 << 8] // invariant TSC
    case 0x80000008:
      return intel ? [39 | (48 << 8), 0, 0, 0] : [39 | (48 << 8), AMD_LEAF8_EBX, state.vcpus - 1, 0]
    case 0x80000021:
      return [AMD_LEAF21_EAX, 0, AMD_LEAF21_ECX, 0]
    default:
      return [0, 0, 0, 0]
  }
}

/** Leaf 4: type | level << 5 | self-initialising; ways-1 << 22 | line-1; sets-1. */
const cache = (type: number, level: number, ways: number, sets: number): CpuidResult => [
  type | (level << 5) | (1 << 8),
  ((ways - 1) << 22) | 63,
  sets - 1,
  0,
]
const caches: readonly CpuidResult[] = [cache(1, 1, 8, 64), cache(2, 1, 8, 64), cache(3, 2, 16, 1024)]

/** IA32_ARCH_CAPABILITIES (0x10a): RDCL_NO, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, the *DP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. */
export const ARCH_CAPABILITIES = [0, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (sum, bit) => sum | (1n << BigInt(bit)),
  0n,
)

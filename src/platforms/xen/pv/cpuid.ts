/**
 * The processor as Xen lets a PV guest see it: without what belongs to the hypervisor or to hardware paging
 * (xen/arch/x86/cpuid.c, cpu-policy.c; the letters of xen/arch-x86/cpufeatureset.h). One thing is not as there: leaves
 * 0x15 and 0x16 stay, so that kernels need not poll a timer to learn the frequency.
 */
import type { CpuidResult } from '../../../cpu/models.ts'

const bits = (...list: number[]): number => list.reduce((sum, bit) => sum | (1 << bit), 0)

/** VME, PSE, MTRR, PGE, PSE-36. */
const LEAF1_EDX = ~bits(1, 3, 12, 13, 17)
/** PCID, TSC deadline. */
const LEAF1_ECX = ~bits(17, 24)
const OSXSAVE = 1 << 27
/** TSC_ADJUST, SMEP, INVPCID, SMAP. */
const LEAF7_EBX = ~bits(1, 7, 10, 20)
/** UMIP. */
const LEAF7_ECX = ~bits(2)
/** Pages of 1 GiB. */
const EXTENDED_EDX = ~bits(26)
/** SYSCALL and long mode, which 32-bit guests have not; AMD's has SYSCALL in any mode. */
const SYSCALL = bits(11)
const LM = bits(29)
const APIC_ID = 0xff000000

/** What a domain sees of it. */
export interface PvCpu {
  readonly osxsave: boolean
  readonly narrow: boolean
  readonly amd: boolean
}

export function pvCpuid(leaf: number, subleaf: number, { osxsave, narrow, amd }: PvCpu, own: CpuidResult): CpuidResult {
  const [eax, ebx, ecx, edx] = own
  switch (leaf) {
    case 1:
      return [eax, ebx & ~APIC_ID, (ecx & LEAF1_ECX & ~OSXSAVE) | (osxsave ? OSXSAVE : 0), edx & LEAF1_EDX]
    case 5:
    case 6:
    case 8:
    case 0xa:
    case 0xc:
      return [0, 0, 0, 0]
    case 7:
      return subleaf === 0 ? [eax, ebx & LEAF7_EBX, ecx & LEAF7_ECX, edx] : own
    case 0xb:
      return [0, 0, subleaf & 0xff, 0]
    case 0x80000001:
      return [eax, ebx, ecx, edx & EXTENDED_EDX & ~(narrow ? LM | (amd ? 0 : SYSCALL) : 0)]
    case 0x80000007:
      return [0, 0, 0, 0]
    default:
      return own
  }
}

/** Xen's CPUID leaves (xen/arch-x86/cpuid.h). */
import { signatureWords } from '../../paravirt/dispatch.ts'
import type { Leaf } from '../../paravirt/requests.ts'
import { DOMU } from './constants.ts'
import type { Domain } from './domain.ts'
import { HYPERCALL_MSR } from './msrs.ts'
import { VERSION } from './hypercalls/version.ts'

const FIRST = 0x40000000
const LAST = FIRST + 5

/** Leaf 4, EAX. */
const Hvm = { IOMMU_MAPPINGS: 4, VCPU_ID_PRESENT: 8, DOMID_PRESENT: 16, UPCALL_VECTOR: 64 } as const
/** Leaf 3, EAX: the TSC is the same on all processors; RDTSCP. */
const Time = { HOST_TSC_SAFE: 2, RDTSCP: 4 } as const
/** Leaf 2, ECX. */
const MMU_PT_UPDATE_PRESERVE_AD = 1
/** tsc_mode: default, which here never needs emulation. */
const TSC_MODE = 0
const INCARNATION = 1
/** Bits of a machine frame number, and of an address. */
const bitsOf = (frames: number): number => 12 + Math.ceil(Math.log2(frames + 1))

const leaf = (
  index: number,
  summary: string,
  value: (domain: Domain, vcpu: number, subleaf: number) => readonly [number, number, number, number],
): Leaf<Domain> => ({
  kind: 'cpuid',
  number: FIRST + index,
  name: `XEN_CPUID_LEAF(${index})`,
  summary,
  args: [],
  errors: {},
  ops: ['machine.detect', ...(index === 3 ? (['time.get_tsc_khz'] as const) : [])],
  tier: 'call',
  source: 'xen/arch-x86/cpuid.h',
  value,
})

export const leaves: readonly Leaf<Domain>[] = [
  leaf(0, 'highest leaf and "XenVMMXenVMM"', () => [LAST, ...signatureWords('XenVMMXenVMM')]),
  leaf(1, 'version', () => [VERSION, 0, 0, 0]),
  leaf(2, 'one hypercall page, the MSR that makes it', ({ kind }) => [
    1,
    HYPERCALL_MSR,
    kind.name === 'pv' ? MMU_PT_UPDATE_PRESERVE_AD : 0,
    0,
  ]),
  leaf(3, 'time', ({ effects, time }, _vcpu, subleaf) => {
    const khz = effects.time.tscHz / 1000
    if (subleaf === 0) return [Time.HOST_TSC_SAFE | Time.RDTSCP, TSC_MODE, khz, INCARNATION]
    if (subleaf === 1) return [0, 0, time.scale.mul, time.scale.shift]
    return subleaf === 2 ? [khz, 0, 0, 0] : [0, 0, 0, 0]
  }),
  leaf(4, 'of PVH guests: numbers of vCPU and domain, how events can be told', ({ kind, features }, vcpu, subleaf) => {
    if (kind.name !== 'pvh' || subleaf !== 0) return [0, 0, 0, 0]
    const vector = features.has('upcall-vector') ? Hvm.UPCALL_VECTOR : 0
    return [Hvm.IOMMU_MAPPINGS | Hvm.VCPU_ID_PRESENT | Hvm.DOMID_PRESENT | vector, vcpu, DOMU, 0]
  }),
  leaf(5, 'of PV guests: width of machine addresses', ({ kind, effects }, _vcpu, subleaf) =>
    kind.name === 'pv' && subleaf === 0 ? [0, bitsOf(effects.memory.frames), 0, 0] : [0, 0, 0, 0],
  ),
]

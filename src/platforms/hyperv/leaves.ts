/** CPUID leaves (TLFS, "Feature and Interface Discovery"). */
import { MAXPHYADDR } from '../../cpu/layout.ts'
import { signatureWords } from '../../paravirt/dispatch.ts'
import type { Op } from '../../paravirt/ops.ts'
import type { Leaf } from '../../paravirt/requests.ts'
import { featureBits } from './features.ts'
import type { Partition } from './partition.ts'

export const FIRST_LEAF = 0x40000000
const LAST_LEAF = 0x40000005
/** Leaves that belong to this interface; what it does not define is zero. */
export const RESERVED_LEAVES = 0x400000ff

/** Windows Server 2022. */
const BUILD = 20348
const VERSION = 10 << 16

/** How often a guest should try a lock before HvCallNotifyLongSpinWait. */
const SPIN_RETRIES = 0xfff
const MAX_VPS = 240
const MAX_LPS = 512

const SIGNATURE = signatureWords('Microsoft Hv')
const [INTERFACE] = signatureWords('Hv#1')

type Words = readonly [number, number, number, number]

function leaf(number: number, name: string, summary: string, value: (p: Partition) => Words): Leaf<Partition> {
  const ops: readonly Op[] = ['machine.detect']
  const source = 'TLFS, Feature and Interface Discovery'
  return { kind: 'cpuid', number, name, summary, args: [], errors: {}, ops, tier: 'call', source, value }
}

export const leaves: readonly Leaf<Partition>[] = [
  leaf(FIRST_LEAF, 'HvCpuIdFunctionHvVendorAndMaxFunction', 'highest leaf, vendor', () => [LAST_LEAF, ...SIGNATURE]),
  leaf(0x40000001, 'HvCpuIdFunctionHvInterface', 'the interface is "Hv#1"', () => [INTERFACE, 0, 0, 0]),
  leaf(0x40000002, 'HvCpuIdFunctionMsHvVersion', 'build and version', () => [BUILD, VERSION, 0, 0]),
  leaf(0x40000003, 'HvCpuIdFunctionMsHvFeatures', 'privileges and features', ({ features }) => {
    const { low, high, misc } = featureBits(features)
    return [low, high, 0, misc]
  }),
  leaf(0x40000004, 'HvCpuIdFunctionMsHvEnlightenmentInformation', 'recommendations', ({ features }) => [
    featureBits(features).hints,
    SPIN_RETRIES,
    MAXPHYADDR,
    0,
  ]),
  leaf(LAST_LEAF, 'HvCpuIdFunctionMsHvImplementationLimits', 'limits', () => [MAX_VPS, MAX_LPS, 0, 0]),
]

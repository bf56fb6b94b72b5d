/**
 * Registers of vCPUs by name (TLFS, HvCallGetVpRegisters and HvCallSetVpRegisters): those that belong to this
 * interface, each the same as an MSR or a CPUID leaf. Names: HV_REGISTER_NAME.
 */
import type { Msr } from '../../../paravirt/requests.ts'
import { leaves } from '../leaves.ts'
import { msrs } from '../msrs/index.ts'
import type { Partition } from '../partition.ts'
import type { Status } from '../status.ts'
import { type Call, hypercall } from './declare.ts'
import { isOwnLevel } from './vtl.ts'

const SELF_PARTITION = 0xffff_ffff_ffff_ffffn
const SELF_VP = 0xfffffffe

const run16 = (register: number, msr: number) => Array.from({ length: 16 }, (_, i) => [register + i, msr + i] as const)

/** Register, MSR. */
const registerMsrs: ReadonlyMap<number, number> = new Map([
  [0x00090000, 0x40000010], // VpRuntime
  [0x00090002, 0x40000000], // GuestOsId
  [0x00090003, 0x40000002], // VpIndex
  [0x00090004, 0x40000020], // TimeRefCount
  [0x00090013, 0x40000073], // VpAssistPage
  [0x00090017, 0x40000021], // ReferenceTsc
  ...[0, 1, 2, 3, 4, 5].map((i) => [0x00000210 + i, 0x40000100 + i] as const), // GuestCrashP0-P4, Ctl
  ...run16(0x000a0000, 0x40000090), // Sint0-15
  ...[0, 1, 2, 3, 4].map((i) => [0x000a0010 + i, 0x40000080 + i] as const), // Scontrol, Sversion, Sifp, Sipp, Eom
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((i) => [0x000b0000 + i, 0x400000b0 + i] as const), // Stimer0Config-3Count
])

/** Register, CPUID leaf: 128 bits. */
const registerLeaves: ReadonlyMap<number, number> = new Map([
  [0x00000100, 0x40000002], // HypervisorVersion
  [0x00000200, 0x40000003], // PrivilegesAndFeaturesInfo
  [0x00000201, 0x40000004], // FeaturesInfo
  [0x00000202, 0x40000005], // ImplementationLimitsInfo
])

const msrByNumber: ReadonlyMap<number, Msr<Partition>> = new Map(msrs.map((msr) => [msr.number, msr]))

function findMsr({ features }: Partition, register: number): Msr<Partition> | undefined {
  const msr = msrByNumber.get(registerMsrs.get(register) ?? -1)
  return msr && (msr.feature === undefined || features.has(msr.feature)) ? msr : undefined
}

/** Low and high half; undefined: there is no such register. */
function read(partition: Partition, vcpu: number, register: number): [bigint, bigint] | undefined {
  const leaf = leaves.find(({ number }) => number === registerLeaves.get(register))
  if (leaf) {
    const [a, b, c, d] = leaf.value(partition, vcpu, 0).map((word) => BigInt(word >>> 0)) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ]
    return [(b << 32n) | a, (d << 32n) | c]
  }
  const value = findMsr(partition, register)?.read?.(partition, vcpu)
  return value === undefined ? undefined : [value, 0n]
}

/** The vCPU that is meant, by the header that both calls share. */
function target({ input, partition, vcpu }: Call): number | Status {
  if (input.getBigUint64(0, true) !== SELF_PARTITION) return 'HV_STATUS_ACCESS_DENIED'
  const level = input.getUint32(12, true)
  if (level > 0xff || !isOwnLevel(level)) return 'HV_STATUS_INVALID_PARAMETER'
  const index = input.getUint32(8, true)
  if (index === SELF_VP) return vcpu
  return index < partition.effects.cpu.count ? index : 'HV_STATUS_INVALID_VP_INDEX'
}

const shared = {
  fields: [
    ['PartitionId', 8],
    ['VpIndex', 4],
    ['TargetVtl', 1],
  ],
  errors: {
    HV_STATUS_ACCESS_DENIED: 'another partition than self; without vp-registers',
    HV_STATUS_INVALID_PARAMETER: 'no such register, or not with this value; another virtual trust level than 0',
    HV_STATUS_INVALID_VP_INDEX: 'no such vCPU',
  },
  feature: 'vp-registers',
  without: 'HV_STATUS_ACCESS_DENIED',
  ops: [],
} as const

const HEADER = 16

export const registerCalls = [
  hypercall({
    ...shared,
    number: 0x0050,
    name: 'HvCallGetVpRegisters',
    summary: "read a vCPU's registers by name",
    rep: { input: 4, output: 16 },
    section: 'HvCallGetVpRegisters',
    run: (call) => {
      const vcpu = target(call)
      if (typeof vcpu === 'string') return vcpu
      for (; call.done < call.count; call.done++) {
        const value = read(call.partition, vcpu, call.input.getUint32(HEADER + 4 * call.done, true))
        if (!value) return 'HV_STATUS_INVALID_PARAMETER'
        call.output.setBigUint64(16 * call.done, value[0], true)
        call.output.setBigUint64(16 * call.done + 8, value[1], true)
      }
      return 'HV_STATUS_SUCCESS'
    },
  }),
  hypercall({
    ...shared,
    number: 0x0051,
    name: 'HvCallSetVpRegisters',
    summary: "write a vCPU's registers by name",
    rep: { input: 32, output: 0 },
    section: 'HvCallSetVpRegisters',
    run: (call) => {
      const { partition, input } = call
      const vcpu = target(call)
      if (typeof vcpu === 'string') return vcpu
      for (; call.done < call.count; call.done++) {
        const at = HEADER + 32 * call.done
        const msr = findMsr(partition, input.getUint32(at, true))
        const fits = input.getBigUint64(at + 24, true) === 0n
        if (!fits || !msr?.write?.(partition, vcpu, input.getBigUint64(at + 16, true)))
          return 'HV_STATUS_INVALID_PARAMETER'
      }
      return 'HV_STATUS_SUCCESS'
    },
  }),
]

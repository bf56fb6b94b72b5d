/** Pseudo performance counters: RDPMC of numbers that no processor has (VMware, "Timekeeping in Virtual Machines"). */
import type { Effects } from '../../paravirt/effects.ts'
import type { Declaration } from '../../paravirt/requests.ts'
import { byNumber } from '../../paravirt/requests.ts'

export interface Counter extends Declaration {
  readonly kind: 'counter'
  readonly value: (effects: Effects) => bigint
}

const common = {
  kind: 'counter',
  args: [],
  errors: { '#GP': 'the feature is off' },
  feature: 'pseudo-counters',
  ops: ['cpu.read_pmc'],
  tier: 'call',
  source: 'VMware, "Timekeeping in VMware Virtual Machines"; open-vm-tools backdoor_def.h',
} as const

const nanoseconds = ({ time }: Effects) => BigInt(time.now())

export const counters: readonly Counter[] = [
  {
    ...common,
    number: 0x10000,
    name: 'BDOOR_PMC_HW_TSC',
    summary: 'time stamp counter that no guest has set',
    value: ({ time }) => (BigInt(time.now()) * BigInt(time.tscHz)) / 1_000_000_000n,
  },
  { ...common, number: 0x10001, name: 'BDOOR_PMC_REAL_NS', summary: 'nanoseconds of real time', value: nanoseconds },
  {
    ...common,
    number: 0x10002,
    name: 'BDOOR_PMC_APPARENT_NS',
    summary: 'nanoseconds as the guest’s timers see them, which are never late',
    value: nanoseconds,
  },
]

export const countersByNumber = byNumber(counters)

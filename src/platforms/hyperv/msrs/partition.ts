/** MSRs of the partition: identity, hypercall page, reset, crash, changes of the TSC. */
import { msr, pageRegister } from './declare.ts'

const HYPERCALLS = 'Establishing the Hypercall Interface'
const CRASH = 'Guest Crash Enlightenment Interface'
const MIGRATION = 'Nested Virtualization, Reenlightenment'

export const partitionMsrs = [
  msr({
    number: 0x40000000,
    name: 'HV_X64_MSR_GUEST_OS_ID',
    summary: "the guest's identity; zero switches the hypercall page off",
    ops: ['machine.detect'],
    section: 'Reporting the Guest OS Identity',
    read: ({ page }) => page.osId,
    write: ({ page }, _, value) => page.writeOsId(value),
  }),
  msr({
    number: 0x40000001,
    name: 'HV_X64_MSR_HYPERCALL',
    summary: 'the hypercall page; enabled only with an identity, fixed once locked',
    value: {
      kind: 'fields',
      fields: [
        ['enable', 0, 1],
        ['locked', 1, 1],
        ['page', 12, 52],
      ],
    },
    refused: 'the page lies outside memory',
    ops: ['machine.detect'],
    section: HYPERCALLS,
    read: ({ page }) => page.register,
    write: ({ page }, _, value) => page.write(value),
  }),
  msr({
    number: 0x40000002,
    name: 'HV_X64_MSR_VP_INDEX',
    summary: "the vCPU's number in hypercalls",
    ops: ['apic.send_ipi', 'mmu.flush_tlb_multi'],
    section: 'Virtual Processor Indices',
    read: (_, vcpu) => BigInt(vcpu),
  }),
  msr({
    number: 0x40000003,
    name: 'HV_X64_MSR_RESET',
    summary: 'bit 0 resets the machine',
    value: { kind: 'flags', bits: { reset: 0 } },
    feature: 'reset',
    ops: ['machine.restart'],
    section: 'Implementation Recommendations',
    read: () => 0n,
    write: ({ effects }, _, value) => {
      if (value & 1n) effects.machine.reset()
    },
  }),
  msr({
    number: 0x40000010,
    name: 'HV_X64_MSR_VP_RUNTIME',
    summary: 'how long the vCPU has run, in 100 ns',
    feature: 'vp-runtime',
    ops: ['time.steal_clock'],
    section: 'Virtual Processor Run Time Register',
    read: (partition, vcpu) => BigInt(Math.floor(partition.vp(vcpu).runtime / 100)),
  }),
  ...[0, 1, 2, 3, 4].map((i) =>
    msr({
      number: 0x40000100 + i,
      name: `HV_X64_MSR_CRASH_P${i}`,
      summary: `parameter ${i} of a crash`,
      feature: 'crash',
      ops: ['machine.crash'],
      section: CRASH,
      read: ({ crash }) => crash.parameters[i] as bigint,
      write: ({ crash }, _, value) => {
        crash.parameters[i] = value
      },
    }),
  ),
  msr({
    number: 0x40000105,
    name: 'HV_X64_MSR_CRASH_CTL',
    summary: 'report the crash to the user; with a message, P3 is its address and P4 its length (at most 4096)',
    value: { kind: 'flags', bits: { message: 62, notify: 63 } },
    feature: 'crash',
    ops: ['machine.crash'],
    section: CRASH,
    read: ({ crash }) => crash.control,
    write: ({ crash }, _, value) => crash.write(value),
  }),
  msr({
    number: 0x40000106,
    name: 'HV_X64_MSR_REENLIGHTENMENT_CONTROL',
    summary: 'who hears of a changed TSC frequency; here it never changes',
    value: {
      kind: 'fields',
      fields: [
        ['vector', 0, 8],
        ['enable', 16, 1],
        ['target', 32, 32],
      ],
    },
    feature: 'reenlightenment',
    section: MIGRATION,
    read: (partition) => partition.reenlightenment,
    write: (partition, _, value) => {
      partition.reenlightenment = value
    },
  }),
  msr({
    number: 0x40000107,
    name: 'HV_X64_MSR_TSC_EMULATION_CONTROL',
    summary: 'emulate the old TSC frequency after it changed',
    value: { kind: 'flags', bits: { enable: 0 } },
    feature: 'reenlightenment',
    section: MIGRATION,
    read: (partition) => partition.tscEmulation,
    write: (partition, _, value) => {
      partition.tscEmulation = value
    },
  }),
  msr({
    number: 0x40000108,
    name: 'HV_X64_MSR_TSC_EMULATION_STATUS',
    summary: 'whether the old TSC frequency is emulated: never',
    value: { kind: 'flags', bits: { inProgress: 0 } },
    refused: 'not zero',
    feature: 'reenlightenment',
    section: MIGRATION,
    read: () => 0n,
    write: (_, __, value) => value === 0n,
  }),
  msr({
    number: 0x40000118,
    name: 'HV_X64_MSR_TSC_INVARIANT_CONTROL',
    summary: 'bit 0: CPUID shows an invariant TSC; it stays',
    value: { kind: 'flags', bits: { enable: 0 } },
    refused: 'another bit, or taking it back',
    feature: 'invtsc',
    ops: ['time.get_tsc_khz'],
    section: 'Partition Reference Time Enlightenment; Linux, ms_hyperv_init_platform',
    read: ({ invariantTsc }) => (invariantTsc ? 1n : 0n),
    write: (partition, _, value) => {
      if (value > 1n || (partition.invariantTsc && value === 0n)) return false
      partition.invariantTsc = value === 1n
      return true
    },
  }),
  msr({
    number: 0x40000073,
    name: 'HV_X64_MSR_VP_ASSIST_PAGE',
    summary: "the vCPU's assist page, through which it leaves out EOIs",
    value: pageRegister,
    refused: 'the page lies outside memory',
    ops: ['apic.eoi'],
    section: 'Virtual Processor Assist Page',
    read: (partition, vcpu) => partition.vp(vcpu).assist.register,
    write: (partition, vcpu, value) => partition.vp(vcpu).assist.write(value),
  }),
]

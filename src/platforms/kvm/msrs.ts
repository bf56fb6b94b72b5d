/** KVM's MSRs (Linux, Documentation/virt/kvm/x86/msr.rst). What is written can be read back. */
import { msrRow } from '../../paravirt/msr.ts'
import type { ArgumentType, Msr } from '../../paravirt/requests.ts'
import type { FeatureName } from './features.ts'
import type { Kvm } from './kvm.ts'

const msr = msrRow<Kvm, FeatureName>('Linux Documentation/virt/kvm/x86/msr.rst')

/** An address with bit 0 as the enable bit. */
const enabled = (align: number): ArgumentType => ({
  kind: 'fields',
  fields: [
    ['enabled', 0, 1],
    ['address', align, 64 - align],
  ],
})

const systemTime = (number: number, name: string, feature: FeatureName, old: boolean): Msr<Kvm> =>
  msr({
    number,
    name,
    feature,
    summary: 'register the vCPU’s clock page, which is valid at once',
    value: enabled(1),
    ops: ['time.clocksource', 'time.sched_clock', 'time.get_tsc_khz'],
    read: (kvm, vcpu) => kvm.clock.registered(vcpu),
    write: (kvm, vcpu, value) => kvm.clock.register(vcpu, value, old),
  })

const wallClock = (number: number, name: string, feature: FeatureName): Msr<Kvm> =>
  msr({
    number,
    name,
    feature,
    summary: 'write the time of day at time 0 to this address',
    value: { kind: 'gpa', length: 12, align: 4 },
    ops: ['time.get_wallclock'],
    read: (kvm) => kvm.clock.wall,
    write: (kvm, _, value) => kvm.clock.setWall(value),
  })

export const msrs: readonly Msr<Kvm>[] = [
  wallClock(0x11, 'MSR_KVM_WALL_CLOCK', 'old-kvmclock'),
  systemTime(0x12, 'MSR_KVM_SYSTEM_TIME', 'old-kvmclock', true),
  wallClock(0x4b564d00, 'MSR_KVM_WALL_CLOCK_NEW', 'kvmclock'),
  systemTime(0x4b564d01, 'MSR_KVM_SYSTEM_TIME_NEW', 'kvmclock', false),
  msr({
    number: 0x4b564d02,
    name: 'MSR_KVM_ASYNC_PF_EN',
    feature: 'async-pf',
    summary: 'enable asynchronous page faults',
    value: {
      kind: 'fields',
      fields: [
        ['enabled', 0, 1],
        ['always', 1, 1],
        ['vmexit', 2, 1],
        ['interrupt', 3, 1],
        ['address', 6, 58],
      ],
    },
    refused: 'reserved bits, delivery by nested exits, delivery by interrupt without async-pf-int, or no RAM',
    ops: ['mmu.async_page_fault'],
    read: (kvm, vcpu) => kvm.vcpu(vcpu).faults.enable,
    write: (kvm, vcpu, value) => kvm.vcpu(vcpu).faults.writeEnable(value),
  }),
  msr({
    number: 0x4b564d03,
    name: 'MSR_KVM_STEAL_TIME',
    feature: 'steal-time',
    summary: 'register the vCPU’s steal time',
    value: enabled(6),
    refused: 'reserved bits',
    ops: ['time.steal_clock', 'lock.vcpu_is_preempted'],
    read: (kvm, vcpu) => kvm.vcpu(vcpu).steal.value,
    write: (kvm, vcpu, value) => kvm.vcpu(vcpu).steal.write(value),
  }),
  msr({
    number: 0x4b564d04,
    name: 'MSR_KVM_PV_EOI_EN',
    feature: 'pv-eoi',
    summary: 'register where an end of interrupt can be signalled',
    value: enabled(2),
    refused: 'bit 1, or no RAM',
    ops: ['apic.eoi'],
    read: (kvm, vcpu) => kvm.vcpu(vcpu).eoi.value,
    write: (kvm, vcpu, value) => kvm.vcpu(vcpu).eoi.write(value),
  }),
  msr({
    number: 0x4b564d05,
    name: 'MSR_KVM_POLL_CONTROL',
    feature: 'poll-control',
    summary: 'whether the host may poll when the vCPU halts; this one never does',
    value: { kind: 'flags', bits: { enabled: 0 } },
    refused: 'reserved bits',
    ops: ['cpu.halt_poll'],
    read: (kvm, vcpu) => kvm.vcpu(vcpu).poll,
    write: (kvm, vcpu, value) => {
      if (value > 1n) return false
      kvm.vcpu(vcpu).poll = value
      return true
    },
  }),
  msr({
    number: 0x4b564d06,
    name: 'MSR_KVM_ASYNC_PF_INT',
    feature: 'async-pf-int',
    summary: 'the interrupt that says that a page is ready',
    value: { kind: 'vector' },
    refused: 'above 255',
    ops: ['mmu.async_page_fault'],
    read: (kvm, vcpu) => kvm.vcpu(vcpu).faults.vector,
    write: (kvm, vcpu, value) => kvm.vcpu(vcpu).faults.writeVector(value),
  }),
  msr({
    number: 0x4b564d07,
    name: 'MSR_KVM_ASYNC_PF_ACK',
    feature: 'async-pf-int',
    summary: 'the guest has read the token of a page that is ready',
    value: { kind: 'flags', bits: { ready: 0 } },
    ops: ['mmu.async_page_fault'],
    read: () => 0n,
    write: (kvm, vcpu, value) => {
      if ((value & 1n) !== 0n) kvm.vcpu(vcpu).faults.deliver()
    },
  }),
  msr({
    number: 0x4b564d08,
    name: 'MSR_KVM_MIGRATION_CONTROL',
    feature: 'migration-control',
    summary: 'whether the guest may be moved',
    value: { kind: 'flags', bits: { ready: 0 } },
    refused: 'reserved bits',
    ops: [],
    read: (kvm) => kvm.migration,
    write: (kvm, _, value) => {
      if (value > 1n) return false
      kvm.migration = value
      return true
    },
  }),
]

/** MSRs of interrupts: the local APIC's busiest registers, and the synthetic interrupt controller. */
import { SOURCES } from '../synic.ts'
import { msr, pageRegister } from './declare.ts'

const APIC = 'Local APIC MSR Accesses'
const SYNIC = 'SynIC Registers'

export const interruptMsrs = [
  msr({
    number: 0x40000070,
    name: 'HV_X64_MSR_EOI',
    summary: 'end of interrupt',
    feature: 'apic-msrs',
    ops: ['apic.eoi'],
    section: APIC,
    write: ({ effects }, vcpu) => effects.irq.eoi(vcpu),
  }),
  msr({
    number: 0x40000071,
    name: 'HV_X64_MSR_ICR',
    summary: 'interrupt command register: ICR high and low',
    feature: 'apic-msrs',
    ops: ['apic.icr_read', 'apic.icr_write', 'apic.send_ipi'],
    section: APIC,
    read: ({ effects }, vcpu) => effects.irq.icr(vcpu),
    write: ({ effects }, vcpu, value) => effects.irq.setIcr(vcpu, value),
  }),
  msr({
    number: 0x40000072,
    name: 'HV_X64_MSR_TPR',
    summary: 'task priority register',
    feature: 'apic-msrs',
    ops: ['apic.read', 'apic.write'],
    section: APIC,
    read: ({ effects }, vcpu) => BigInt(effects.irq.tpr(vcpu)),
    write: ({ effects }, vcpu, value) => effects.irq.setTpr(vcpu, Number(value & 0xffn)),
  }),
  msr({
    number: 0x40000080,
    name: 'HV_X64_MSR_SCONTROL',
    summary: 'bit 0: the vCPU takes messages and events',
    value: { kind: 'flags', bits: { enable: 0 } },
    feature: 'synic',
    ops: ['machine.message'],
    section: SYNIC,
    read: (partition, vcpu) => partition.vp(vcpu).synic.control,
    write: (partition, vcpu, value) => {
      partition.vp(vcpu).synic.control = value
    },
  }),
  msr({
    number: 0x40000081,
    name: 'HV_X64_MSR_SVERSION',
    summary: 'version of the synthetic interrupt controller: 1',
    feature: 'synic',
    ops: ['machine.message'],
    section: SYNIC,
    read: () => 1n,
  }),
  ...(['siefp', 'simp'] as const).map((which, i) =>
    msr({
      number: 0x40000082 + i,
      name: `HV_X64_MSR_${which.toUpperCase()}`,
      summary: which === 'simp' ? 'the message page' : 'the event flags page',
      value: pageRegister,
      feature: 'synic',
      ops: ['machine.message'],
      section: SYNIC,
      read: (partition, vcpu) => partition.vp(vcpu).synic.page(which),
      write: (partition, vcpu, value) => partition.vp(vcpu).synic.writePage(which, value),
    }),
  ),
  msr({
    number: 0x40000084,
    name: 'HV_X64_MSR_EOM',
    summary: 'end of message: deliver what waits',
    feature: 'synic',
    ops: ['machine.message'],
    section: SYNIC,
    read: () => 0n,
    write: (partition, vcpu) => partition.vp(vcpu).synic.scan(),
  }),
  ...Array.from({ length: SOURCES }, (_, i) =>
    msr({
      number: 0x40000090 + i,
      name: `HV_X64_MSR_SINT${i}`,
      summary: `synthetic interrupt source ${i}`,
      value: {
        kind: 'fields',
        fields: [
          ['vector', 0, 8],
          ['masked', 16, 1],
          ['autoEoi', 17, 1],
          ['polling', 18, 1],
        ],
      },
      refused: 'unmasked with a vector below 16',
      feature: 'synic',
      ops: ['machine.message'],
      section: SYNIC,
      read: (partition, vcpu) => partition.vp(vcpu).synic.sint(i),
      write: (partition, vcpu, value) => partition.vp(vcpu).synic.writeSint(i, value),
    }),
  ),
]

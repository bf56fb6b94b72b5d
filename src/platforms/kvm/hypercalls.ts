/**
 * KVM's hypercalls (Linux, Documentation/virt/kvm/x86/hypercalls.rst): VMCALL or VMMCALL, number in RAX, arguments in
 * RBX, RCX, RDX, RSI, result in RAX. Outside 64-bit code all have 32 bits.
 */
import type { Register } from '../../paravirt/effects.ts'
import type { Argument, Declaration } from '../../paravirt/requests.ts'
import { byNumber } from '../../paravirt/requests.ts'
import type { FeatureName } from './features.ts'
import type { Kvm } from './kvm.ts'

/** Results by name (Linux, include/uapi/linux/kvm_para.h). */
export const KvmError = {
  EPERM: -1n,
  EFAULT: -14n,
  EINVAL: -22n,
  EOPNOTSUPP: -95n,
  ENOSYS: -1000n,
} as const

export const argumentRegisters = ['rbx', 'rcx', 'rdx', 'rsi'] as const satisfies readonly Register[]

export interface HypercallRequest extends Declaration {
  readonly kind: 'hypercall'
  readonly feature?: FeatureName
  /** `values` in the order of `args`. */
  readonly call: (kvm: Kvm, vcpu: number, values: readonly bigint[], wide: boolean) => bigint
}

const errors = {
  KVM_EPERM: 'from user mode',
  KVM_ENOSYS: 'the feature is off',
} as const

const common = {
  kind: 'hypercall',
  tier: 'call',
  source: 'Linux Documentation/virt/kvm/x86/hypercalls.rst',
} as const

const apicId = (name: string): Argument => ({ name, type: { kind: 'vcpu' } })

const CLOCK_PAIRING_BYTES = 64
const WALLCLOCK = 0n

/** ICR: logical destination, shorthand. */
const ICR_REFUSED = 0x800n | 0xc0000n
const ICR_ASSERT = 0x4000
const ICR_LEVEL = 0x8000
/** Delivery modes that a local APIC takes from another one: fixed, lowest priority, NMI, INIT, start-up. */
const modes = [0, 1, 4, 5, 6]

/** Give a turn away; to itself or to nobody is no turn. */
function yieldTo({ effects }: Kvm, vcpu: number, target: bigint): void {
  if (target < BigInt(effects.cpu.count) && target !== BigInt(vcpu)) effects.lock.yieldTo(Number(target))
}

/** An interrupt to the vCPUs with a bit in `mask`, bit 0 for the APIC id `first`; how many took it. */
function sendMask({ effects }: Kvm, mask: bigint, first: number, icr: number): bigint {
  const level = (icr & ICR_LEVEL) !== 0
  // A level-triggered message without its assertion says that the source has gone.
  if (!modes.includes((icr >> 8) & 7) || (level && (icr & ICR_ASSERT) === 0)) return 0n
  let sent = 0n
  for (let vcpu = first; vcpu < effects.cpu.count && mask >> BigInt(vcpu - first) !== 0n; vcpu++)
    if ((mask >> BigInt(vcpu - first)) & 1n && effects.irq.message(vcpu, icr)) sent++
  return sent
}

export const hypercalls: readonly HypercallRequest[] = [
  {
    ...common,
    number: 1,
    name: 'KVM_HC_VAPIC_POLL_IRQ',
    summary: 'look at interrupts, which happens at every instruction anyway',
    args: [],
    errors: { KVM_EPERM: errors.KVM_EPERM },
    ops: [],
    call: () => 0n,
  },
  {
    ...common,
    number: 5,
    name: 'KVM_HC_KICK_CPU',
    summary: 'end the HLT of a vCPU whatever its interrupt flag says, and let it go on',
    args: [{ name: 'flags', type: { kind: 'u32' } }, apicId('apic_id')],
    errors,
    feature: 'pv-unhalt',
    ops: ['lock.kick', 'lock.wait'],
    call: (kvm, vcpu, [, target]) => {
      const id = BigInt.asUintN(32, target as bigint)
      if (id < BigInt(kvm.effects.cpu.count)) kvm.effects.lock.wake(Number(id))
      yieldTo(kvm, vcpu, id)
      return 0n
    },
  },
  {
    ...common,
    number: 9,
    name: 'KVM_HC_CLOCK_PAIRING',
    summary: 'time of day and TSC of the same moment',
    args: [
      { name: 'address', type: { kind: 'gpa', length: CLOCK_PAIRING_BYTES, align: 1 } },
      { name: 'clock_type', type: { kind: 'choice', values: { KVM_CLOCK_PAIRING_WALLCLOCK: 0 } } },
    ],
    errors: { KVM_EPERM: errors.KVM_EPERM, KVM_EOPNOTSUPP: 'another clock', KVM_EFAULT: 'no RAM' },
    ops: ['time.get_wallclock'],
    call: ({ clock, effects }, vcpu, [address, type]) => {
      if (type !== WALLCLOCK) return KvmError.EOPNOTSUPP
      const { now, tsc } = clock.moment(vcpu)
      const wall = clock.epoch() + now
      const view = new DataView(new ArrayBuffer(CLOCK_PAIRING_BYTES))
      view.setBigInt64(0, wall / 1_000_000_000n, true)
      view.setBigInt64(8, wall % 1_000_000_000n, true)
      view.setBigUint64(16, tsc, true)
      return effects.memory.write(address as bigint, new Uint8Array(view.buffer)) ? 0n : KvmError.EFAULT
    },
  },
  {
    ...common,
    number: 10,
    name: 'KVM_HC_SEND_IPI',
    summary: 'an interrupt to the vCPUs of a mask; how many took it',
    args: [
      { name: 'mask_low', type: { kind: 'u64' } },
      { name: 'mask_high', type: { kind: 'u64' } },
      apicId('first'),
      {
        name: 'icr',
        type: {
          kind: 'fields',
          fields: [
            ['vector', 0, 8],
            ['mode', 8, 3],
            ['logical', 11, 1],
            ['assert', 14, 1],
            ['level', 15, 1],
            ['shorthand', 18, 2],
          ],
        },
      },
    ],
    errors: { ...errors, KVM_EINVAL: 'logical destination or shorthand' },
    feature: 'pv-send-ipi',
    ops: ['apic.send_ipi'],
    call: (kvm, _vcpu, [low, high, first, icr], wide) => {
      if (((icr as bigint) & ICR_REFUSED) !== 0n) return KvmError.EINVAL
      const word = Number(BigInt.asUintN(32, icr as bigint))
      const from = Number(BigInt.asUintN(32, first as bigint))
      const sent = sendMask(kvm, low as bigint, from, word)
      // The lowest id has 32 bits and wraps.
      return sent + sendMask(kvm, high as bigint, (from + (wide ? 64 : 32)) >>> 0, word)
    },
  },
  {
    ...common,
    number: 11,
    name: 'KVM_HC_SCHED_YIELD',
    summary: 'let another vCPU go on',
    args: [apicId('apic_id')],
    errors,
    feature: 'pv-sched-yield',
    ops: ['lock.yield'],
    call: (kvm, vcpu, [target]) => {
      yieldTo(kvm, vcpu, target as bigint)
      return 0n
    },
  },
]

export const hypercallsByNumber = byNumber(hypercalls)

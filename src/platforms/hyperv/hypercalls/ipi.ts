/** Interrupts for sets of vCPUs (TLFS, "Synthetic Cluster IPI"), and the wait for a lock. */
import type { Status } from '../status.ts'
import { type Call, hypercall } from './declare.ts'
import { fromMask, readSet } from './vp-set.ts'
import { isOwnLevel } from './vtl.ts'

const errors = { HV_STATUS_INVALID_PARAMETER: 'a vector not in 16-255; another virtual trust level than 0' }
const setErrors = {
  HV_STATUS_INVALID_PARAMETER: `${errors.HV_STATUS_INVALID_PARAMETER}; a set of unknown format`,
  HV_STATUS_INVALID_HYPERCALL_INPUT: 'not as many banks as the set says',
}
const ops = ['apic.send_ipi', 'lock.kick'] as const

function send({ input, partition }: Call, targets: number[] | Status): Status {
  const vector = input.getUint32(0, true)
  if (vector < 0x10 || vector > 0xff || !isOwnLevel(input.getUint8(4))) return 'HV_STATUS_INVALID_PARAMETER'
  if (typeof targets === 'string') return targets
  for (const vcpu of targets) partition.effects.irq.post(vcpu, vector)
  return 'HV_STATUS_SUCCESS'
}

export const ipis = [
  hypercall({
    number: 0x0008,
    name: 'HvCallNotifyLongSpinWait',
    summary: 'the vCPU waits long for a lock: let others run',
    fields: [['SpinCount', 4]],
    errors: {},
    ops: ['lock.yield'],
    section: 'HvCallNotifyLongSpinWait',
    run: ({ partition, vcpu }) => {
      const { cpu, lock } = partition.effects
      lock.yieldTo((vcpu + 1) % cpu.count)
      return 'HV_STATUS_SUCCESS'
    },
  }),
  hypercall({
    number: 0x000b,
    name: 'HvCallSendSyntheticClusterIpi',
    summary: 'a fixed interrupt for the vCPUs of a mask',
    fields: [
      ['Vector', 4, { kind: 'vector' }],
      ['TargetVtl', 1],
      ['ProcessorMask', 8],
    ],
    errors,
    feature: 'ipi',
    ops,
    section: 'HvCallSendSyntheticClusterIpi',
    run: (call) => send(call, fromMask(call.input.getBigUint64(8, true), call.partition.effects.cpu.count)),
  }),
  hypercall({
    number: 0x0015,
    name: 'HvCallSendSyntheticClusterIpiEx',
    summary: 'a fixed interrupt for a set of vCPUs',
    fields: [
      ['Vector', 4, { kind: 'vector' }],
      ['TargetVtl', 1],
      ['Format', 8],
      ['ValidBanksMask', 8],
    ],
    variable: true,
    errors: setErrors,
    feature: 'ex-masks',
    ops,
    section: 'HvCallSendSyntheticClusterIpiEx',
    run: (call) => send(call, readSet(call.input, 8, call.header, call.partition.effects.cpu.count)),
  }),
]

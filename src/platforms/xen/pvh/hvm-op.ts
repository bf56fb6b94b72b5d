/** hvm_op (xen/hvm/hvm_op.h): what a guest with hardware virtualization asks, apart from devices. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import { type Answer, command, commands } from '../hypercalls/declare.ts'
import { struct } from '../struct.ts'
import type { Call } from '../hypercalls/call.ts'
import { PvhKind } from './kind.ts'
import { Param } from './params.ts'

const source = 'xen/hvm/hvm_op.h'
const EFAULT = 'the structure cannot be read'
const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const index = { c: 'u32', type: { kind: 'choice', values: Param } } as const
const PARAMS = 39

/** This domain as a PVH guest; a PV guest has no parameters. */
function pvhOf({ domain }: Call, dom: number): PvhKind | number {
  if (dom === DOM0) return Errno.EINVAL
  if (dom !== DOMID.SELF && dom !== DOMU) return Errno.ESRCH
  return domain.kind instanceof PvhKind ? domain.kind : Errno.EINVAL
}

const paramErrors = {
  EINVAL: 'no such parameter, or a deprecated one, or of dom0',
  EPERM: 'not for guests',
  ESRCH: 'no such domain',
} as const

const memoryTypes = { ram: 0, none: 2 } as const

export const hvmOp = commands({
  number: 34,
  name: 'hvm_op',
  summary: 'guests of hardware virtualization',
  source,
  longCommand: true,
  commands: [
    command({
      command: 0,
      name: 'HVMOP_set_param',
      summary: 'set a parameter, such as how events are told',
      struct: struct({ domid, pad: 'u16', index, value: 'a64' }),
      errors: { ...paramErrors, ENODEV: 'there is no power management timer', EFAULT },
      source,
      run: (call, block, f): Answer => {
        const which = block.get(f.index)
        if (which >= PARAMS) return Errno.EINVAL
        const kind = pvhOf(call, block.get(f.domid))
        if (typeof kind === 'number') return kind
        const value = block.big(f.value)
        const answer = kind.params.write(which, value)
        if (answer === 'crash') {
          call.domain.crash(`HVMOP_set_param: a bad task state segment (0x${value.toString(16)})`)
          return Errno.EINVAL
        }
        if (answer === 0 && which === Param.CALLBACK_IRQ) {
          kind.setCallback(value)
          call.domain.latchWidth(call.wide)
        }
        return answer
      },
    }),
    command({
      command: 1,
      name: 'HVMOP_get_param',
      summary: 'a parameter, such as where console and xenstore are',
      struct: struct({ domid, pad: 'u16', index, value: { c: 'a64', out: true } }),
      errors: { ...paramErrors, EFAULT: 'the structure cannot be read or written' },
      source,
      run: (call, block, f) => {
        const which = block.get(f.index)
        if (which >= PARAMS) return Errno.EINVAL
        const kind = pvhOf(call, block.get(f.domid))
        if (typeof kind === 'number') return kind
        const value = kind.params.read(which)
        if (typeof value === 'number') return value
        block.setBig(f.value, value)
        return 0
      },
    }),
    command({
      command: 5,
      name: 'HVMOP_flush_tlbs',
      summary: 'forget the translations of all vCPUs; the pointer must be NULL',
      errors: { EINVAL: 'it is not, or a PV guest' },
      ops: ['mmu.flush_tlb_multi'],
      source,
      run: (call) => {
        if (!call.isNull(1) || call.domain.kind.name === 'pv') return Errno.EINVAL
        for (const { id } of call.domain.vcpus) call.domain.effects.mmu.flush(id)
        return 0
      },
    }),
    command({
      command: 9,
      name: 'HVMOP_pagetable_dying',
      summary: 'page tables that will not be used any more; of no use with nested paging',
      struct: struct({ domid, pad: 'u16', pad2: 'u32', gpa: 'a64' }),
      errors: { EINVAL: 'always, for itself', EOPNOTSUPP: 'another domain', ESRCH: 'no such domain', EFAULT },
      source,
      run: (_, block, f) => {
        const dom = block.get(f.domid)
        if (dom === DOMID.SELF || dom === DOMU) return Errno.EINVAL
        return dom === DOM0 ? Errno.EOPNOTSUPP : Errno.ESRCH
      },
    }),
    command({
      command: 10,
      name: 'HVMOP_get_time',
      summary: 'system time',
      struct: struct({ now: { c: 'u64', out: true } }),
      errors: { EFAULT: 'it cannot be written' },
      ops: ['time.clocksource'],
      source,
      run: ({ domain }, block, f) => {
        block.set(f.now, domain.effects.time.now())
        return 0
      },
    }),
    command({
      command: 15,
      name: 'HVMOP_get_mem_type',
      summary: 'what is behind a guest frame number',
      struct: struct({ domid, mem_type: { c: 'u16', out: true }, pad0: 'u16', pad1: 'u16', pfn: 'a64' }),
      errors: { EINVAL: 'a PV guest', ESRCH: 'no such domain', EPERM: 'another domain', EFAULT },
      source,
      run: (call, block, f) => {
        const dom = block.get(f.domid)
        if (dom === DOM0) return Errno.EPERM
        const kind = pvhOf(call, dom)
        if (typeof kind === 'number') return kind
        block.set(f.mem_type, kind.frame(block.whole(f.pfn)) < 0 ? memoryTypes.none : memoryTypes.ram)
        return 0
      },
    }),
    command({
      command: 23,
      name: 'HVMOP_set_evtchn_upcall_vector',
      summary: 'the vector by which a vCPU’s local APIC tells of events',
      struct: struct({ vcpu: { c: 'u32', type: { kind: 'vcpu' } }, vector: { c: 'u8', type: { kind: 'vector' } } }),
      errors: { EINVAL: 'a vector of exceptions, or a PV guest', ENOENT: 'no such vCPU', EFAULT },
      source,
      check: (call) => (call.domain.kind.name === 'pv' ? Errno.EINVAL : 0),
      run: (call, block, f) => {
        const kind = pvhOf(call, DOMID.SELF)
        if (typeof kind === 'number') return kind
        const vector = block.get(f.vector)
        if (vector < 16) return Errno.EINVAL
        const vcpu = block.get(f.vcpu)
        if (!call.domain.vcpu(vcpu)) return Errno.ENOENT
        kind.setVector(vcpu, vector)
        return 0
      },
    }),
    command({
      command: 11,
      name: 'HVMOP_xentrace',
      summary: 'a record in Xen’s trace, which is off',
      struct: struct({
        event: 'u16',
        extra_bytes: 'u16',
        e0: 'u32',
        e1: 'u32',
        e2: 'u32',
        e3: 'u32',
        e4: 'u32',
        e5: 'u32',
        e6: 'u32',
      }),
      errors: { EINVAL: 'more than 28 bytes, or an event of more than 12 bits', EFAULT },
      source,
      run: (_, block, f) => (block.get(f.extra_bytes) > 28 || block.get(f.event) > 0xfff ? Errno.EINVAL : 0),
    }),
    command({
      command: 24,
      name: 'HVMOP_guest_request_vm_event',
      summary: 'an event for a monitor, which there is none of; the pointer must be NULL',
      errors: { EINVAL: 'it is not' },
      source,
      run: (call) => (call.isNull(1) ? 0 : Errno.EINVAL),
    }),
    command({
      command: 25,
      name: 'HVMOP_altp2m',
      summary: 'alternate guest-physical maps, which are not there',
      errors: { EOPNOTSUPP: 'always' },
      source,
      run: () => Errno.EOPNOTSUPP,
    }),
  ],
})

/** vcpu_op (xen/vcpu.h): commands to vCPUs, the caller’s own or others. */
import { Shutdown } from '../constants.ts'
import { Errno, type ErrorName } from '../errno.ts'
import { type Block, type Struct, struct } from '../struct.ts'
import { runstateInfo } from '../time/runstate.ts'
import type { XenVcpu } from '../vcpu.ts'
import type { Op } from '../../../paravirt/ops.ts'
import type { Call } from './call.ts'
import { command, commands } from './declare.ts'

const source = 'xen/vcpu.h'
const MILLISECOND = 1_000_000
/** STIME_DELTA_MAX and one. */
const LONGEST_PERIOD = 1n << 62n

/** Where the argument of vcpu_op is: after command and vCPU. */
const POINTER = 2

/** All commands name a vCPU first; their structure is the third argument's. */
const onVcpu = <Name extends string>(row: {
  readonly command: number
  readonly name: string
  readonly summary: string
  readonly struct?: Struct<Name>
  readonly errors?: Readonly<Partial<Record<ErrorName, string>>>
  readonly ops?: readonly Op[]
  /** Only the calling vCPU’s own timers can be set. */
  readonly own?: true
  readonly run: (call: Call, vcpu: XenVcpu, block: Block, fields: Struct<Name>['fields']) => number
}) =>
  command({
    command: row.command,
    name: row.name,
    summary: row.summary,
    args: [
      { name: 'vcpuid', type: { kind: 'vcpu' } },
      { name: 'arg', type: { kind: 'linear' } },
    ],
    errors: {
      ENOENT: 'no such vCPU',
      ...(row.own ? { EINVAL: 'another vCPU’s' } : {}),
      ...(row.struct ? { EFAULT: 'the structure cannot be read' } : {}),
      ...row.errors,
    },
    ops: row.ops ?? [],
    source,
    run: (call, block) => {
      const vcpu = call.domain.vcpu(call.arg(1))
      if (!vcpu) return Errno.ENOENT
      if (row.own && vcpu.id !== call.vcpu) return Errno.EINVAL
      if (row.struct && !call.copyIn(POINTER, block.bytes, block.size(row.struct))) return Errno.EFAULT
      return row.run(call, vcpu, block, row.struct?.fields as Struct<Name>['fields'])
    },
  })

const area = struct({ address: 'u64' })

export const vcpuOp = commands({
  number: 24,
  name: 'vcpu_op',
  summary: 'commands to vCPUs',
  source,
  check: (call) => (call.domain.vcpu(call.arg(1)) ? 0 : Errno.ENOENT),
  commands: [
    onVcpu({
      command: 0,
      name: 'VCPUOP_initialise',
      summary: 'the state in which a vCPU will begin',
      errors: { EEXIST: 'it has one', EINVAL: 'the state is none', EFAULT: 'it cannot be read' },
      ops: ['apic.startup'],
      run: (call, vcpu) => call.domain.kind.initialise(vcpu.id, call.arg(POINTER), call.high(POINTER), call.vcpu),
    }),
    onVcpu({
      command: 1,
      name: 'VCPUOP_up',
      summary: 'let a vCPU begin',
      errors: { EINVAL: 'it has no state to begin in' },
      ops: ['apic.startup'],
      run: ({ domain }, vcpu) => {
        if (!domain.kind.initialised(vcpu.id)) return Errno.EINVAL
        if (!domain.isUp(vcpu.id)) domain.up(vcpu.id)
        return 0
      },
    }),
    onVcpu({
      command: 2,
      name: 'VCPUOP_down',
      summary: 'stop a vCPU; the last one’s end is the domain’s',
      run: ({ domain }, vcpu) => {
        if (!domain.vcpus.some(({ id }) => id !== vcpu.id && domain.isUp(id))) domain.shutdown(Shutdown.POWEROFF)
        else if (domain.isUp(vcpu.id)) domain.down(vcpu.id)
        return 0
      },
    }),
    onVcpu({
      command: 3,
      name: 'VCPUOP_is_up',
      summary: '1 if a vCPU is up, 0 if it is down; how PV guests count vCPUs',
      run: ({ domain }, vcpu) => (domain.isUp(vcpu.id) ? 1 : 0),
    }),
    onVcpu({
      command: 4,
      name: 'VCPUOP_get_runstate_info',
      summary: 'how long a vCPU was in which state',
      errors: { EFAULT: 'the answer cannot be written' },
      ops: ['time.steal_clock'],
      run: (call, vcpu) => {
        const info = vcpu.runstate.info(call.wide)
        return call.copyOut(POINTER, info.bytes, info.size(runstateInfo)) ? 0 : Errno.EFAULT
      },
    }),
    onVcpu({
      command: 5,
      name: 'VCPUOP_register_runstate_memory_area',
      summary: 'where to write the same whenever it changes',
      struct: area,
      ops: ['time.steal_clock', 'lock.vcpu_is_preempted'],
      run: ({ domain, wide, vcpu: caller }, vcpu, block, f) => {
        const [low, high] = [block.get(f.address), wide ? block.high(f.address) : 0]
        if (!domain.kind.mayAccess(low, high)) return Errno.EFAULT
        vcpu.runstate.register(low, high, wide, caller)
        return 0
      },
    }),
    onVcpu({
      command: 6,
      name: 'VCPUOP_set_periodic_timer',
      summary: 'VIRQ_TIMER again and again',
      struct: struct({ period_ns: 'u64' }),
      errors: { EINVAL: 'under a millisecond or over a century' },
      ops: ['time.set_next_event'],
      run: (_, vcpu, block, f) => {
        const period = block.big(f.period_ns)
        if (period < MILLISECOND || period >= LONGEST_PERIOD) return Errno.EINVAL
        vcpu.timers.setPeriod(Number(period))
        return 0
      },
    }),
    onVcpu({
      command: 7,
      name: 'VCPUOP_stop_periodic_timer',
      summary: 'no more',
      run: (_, vcpu) => {
        vcpu.timers.setPeriod(0)
        return 0
      },
    }),
    onVcpu({
      command: 8,
      name: 'VCPUOP_set_singleshot_timer',
      summary: 'VIRQ_TIMER at a system time, at once if it has passed',
      struct: struct({
        timeout_abs_ns: 'u64',
        flags: { c: 'u32', type: { kind: 'flags', bits: { VCPU_SSHOTTMR_future: 0 } } },
      }),
      own: true,
      ops: ['time.set_next_event'],
      run: (_, vcpu, block, f) => {
        vcpu.timers.set(block.whole(f.timeout_abs_ns))
        return 0
      },
    }),
    onVcpu({
      command: 9,
      name: 'VCPUOP_stop_singleshot_timer',
      summary: 'not any more',
      own: true,
      run: (_, vcpu) => {
        vcpu.timers.stop()
        return 0
      },
    }),
    onVcpu({
      command: 10,
      name: 'VCPUOP_register_vcpu_info',
      summary: 'where a vCPU’s vcpu_info is from now on',
      struct: struct({ mfn: 'u64', offset: 'u32', rsvd: 'u32' }),
      errors: { ENXIO: 'a bad offset', EINVAL: 'a bad frame, registered already, or another vCPU that is up' },
      run: (call, vcpu, block, f) => {
        const answer = vcpu.registerInfo(block.whole(f.mfn), block.get(f.offset), call.vcpu)
        call.domain.time.update(vcpu.id)
        return answer
      },
    }),
    onVcpu({
      command: 11,
      name: 'VCPUOP_send_nmi',
      summary: 'a non-maskable interrupt; the pointer must be NULL',
      errors: { EINVAL: 'it is not' },
      run: (call, vcpu) => {
        if (!call.isNull(POINTER)) return Errno.EINVAL
        call.domain.kind.nmi(vcpu.id)
        return 0
      },
    }),
    onVcpu({
      command: 12,
      name: 'VCPUOP_get_physid',
      summary: 'the processor that a vCPU is pinned to, which only dom0’s are',
      errors: { EINVAL: 'always' },
      run: () => Errno.EINVAL,
    }),
    onVcpu({
      command: 13,
      name: 'VCPUOP_register_vcpu_time_memory_area',
      summary: 'where to keep a second copy of its time',
      struct: area,
      ops: ['time.clocksource'],
      run: ({ domain, wide }, vcpu, block, f) => {
        const [low, high] = [block.get(f.address), wide ? block.high(f.address) : 0]
        if (!domain.kind.mayAccess(low, high)) return Errno.EFAULT
        domain.time.registerArea(vcpu.id, low, high)
        return 0
      },
    }),
  ],
})

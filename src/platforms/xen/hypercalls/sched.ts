/** sched_op and set_timer_op (xen/sched.h, xen/xen.h). */
import { DOM0, DOMU, Shutdown } from '../constants.ts'
import { Errno } from '../errno.ts'
import { struct } from '../struct.ts'
import type { Call } from './call.ts'
import { command, commands, hypercall } from './declare.ts'

const source = 'xen/sched.h'
const EFAULT = 'the structure cannot be read'
const MAX_PORTS = 128

const reason = { c: 'u32', type: { kind: 'choice', values: Shutdown } } as const
const shutdownStruct = struct({ reason })

const portBytes = new Uint8Array(4)
const portView = new DataView(portBytes.buffer)

/** SCHEDOP_poll: wait for one of some ports, or any event, or a time. */
function poll(call: Call, low: number, high: number, count: number, timeout: number): number {
  const { domain, vcpu } = call
  if (count > MAX_PORTS) return Errno.EINVAL
  if (!domain.kind.mayAccess(low, high)) return Errno.EFAULT
  if (domain.kind.eventWaits(vcpu)) return 0
  let port = 0
  for (let i = 0; i < count; i++) {
    const at = low + 4 * i
    if (!domain.guest.copyIn(vcpu, at >>> 0, at > 0xffffffff ? high + 1 : high, portBytes, 4)) return Errno.EFAULT
    port = portView.getUint32(0, true)
    if (!domain.events.exists(port)) return Errno.EINVAL
    if (domain.events.isPending(port)) return 0
  }
  domain.pollers.poll(vcpu, count === 1 ? port : undefined, timeout)
  return 0
}

/** What older guests have instead, with an argument by value. */
export const schedOpCompat = hypercall({
  number: 6,
  name: 'sched_op_compat',
  summary: 'give the processor away, wait, end: as older guests ask for it',
  guest: 'pv',
  args: [
    { name: 'cmd', type: { kind: 'choice', values: { SCHEDOP_yield: 0, SCHEDOP_block: 1, SCHEDOP_shutdown: 2 } } },
    { name: 'arg', type: { kind: 'u32' } },
  ],
  errors: { ENOSYS: 'any other command' },
  ops: ['lock.yield', 'irq.safe_halt', 'machine.restart'],
  source,
  run: (call) => {
    const { domain, vcpu } = call
    const { lock, cpu } = domain.effects
    switch (call.arg(0)) {
      case 0:
        lock.yieldTo((vcpu + 1) % cpu.count)
        return 0
      case 1:
        domain.kind.block(vcpu)
        return 0
      case 2:
        return domain.shutdown(call.arg(1) & 0xff)
      default:
        return Errno.ENOSYS
    }
  },
})

export const schedOp = commands({
  number: 29,
  name: 'sched_op',
  summary: 'give the processor away, wait, end',
  source,
  commands: [
    command({
      command: 0,
      name: 'SCHEDOP_yield',
      summary: 'let other vCPUs have their turn',
      ops: ['lock.yield'],
      source,
      run: ({ domain, vcpu }) => {
        const { lock, cpu } = domain.effects
        lock.yieldTo((vcpu + 1) % cpu.count)
        return 0
      },
    }),
    command({
      command: 1,
      name: 'SCHEDOP_block',
      summary: 'let events in, and wait for one',
      ops: ['irq.safe_halt'],
      source,
      run: ({ domain, vcpu }) => {
        domain.kind.block(vcpu)
        return 0
      },
    }),
    command({
      command: 2,
      name: 'SCHEDOP_shutdown',
      summary: 'the end of the domain, and why',
      struct: shutdownStruct,
      errors: { EFAULT },
      ops: ['machine.restart', 'machine.crash'],
      source,
      run: (call, block, f) => call.domain.shutdown(block.get(f.reason) & 0xff, call.whole(2)),
    }),
    command({
      command: 3,
      name: 'SCHEDOP_poll',
      summary: 'wait for ports, masked or not, at most until a time',
      struct: struct({ ports: 'pointer', nr_ports: 'u32', timeout: 'u64' }),
      errors: { EINVAL: 'no such port, or more than 128', EFAULT: 'the structure or the ports cannot be read' },
      ops: ['lock.wait'],
      source,
      run: (call, block, f) =>
        poll(call, block.get(f.ports), block.high(f.ports), block.get(f.nr_ports), block.whole(f.timeout)),
    }),
    command({
      command: 4,
      name: 'SCHEDOP_remote_shutdown',
      summary: 'the end of another domain',
      struct: struct({ domain_id: 'u16', reason }),
      errors: { ESRCH: 'no such domain', EPERM: 'always, if it exists', EFAULT },
      source,
      run: (_, block, f) => {
        const id = block.get(f.domain_id)
        return id === DOM0 || id === DOMU ? Errno.EPERM : Errno.ESRCH
      },
    }),
    command({
      command: 5,
      name: 'SCHEDOP_shutdown_code',
      summary: 'the reason that the next shutdown will have',
      struct: shutdownStruct,
      errors: { EFAULT },
      source,
      run: ({ domain }, block, f) => {
        domain.shutdownCode ??= block.get(f.reason) & 0xff
        return 0
      },
    }),
    command({
      command: 6,
      name: 'SCHEDOP_watchdog',
      summary: 'set, reset or stop a timer that ends the domain',
      struct: struct({ id: 'u32', timeout: 'u32' }),
      errors: { EINVAL: 'no such watchdog', ENOSPC: 'there are two already', EFAULT },
      source,
      run: (call, block, f) => call.domain.watchdogs.set(block.get(f.id), block.get(f.timeout)),
    }),
    command({
      command: 7,
      name: 'SCHEDOP_pin_override',
      summary: 'pin a vCPU, which only dom0 may',
      errors: { EPERM: 'always' },
      source,
      run: () => Errno.EPERM,
    }),
  ],
})

/** A signed number of nanoseconds in two words; 32-bit guests pass them as two arguments. */
const nanoseconds = (call: Call): number => ((call.wide ? call.high(0) : call.arg(1)) | 0) * 2 ** 32 + call.arg(0)

export const setTimerOp = hypercall({
  number: 15,
  name: 'set_timer_op',
  summary: 'the one-shot timer of the calling vCPU; 0 stops it',
  args: [{ name: 'timeout', type: { kind: 's64' } }],
  ops: ['time.set_next_event'],
  source: 'xen/xen.h',
  run: (call) => {
    call.domain.vcpus[call.vcpu]?.timers.setOp(nanoseconds(call))
    return 0
  },
})

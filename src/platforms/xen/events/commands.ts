/** event_channel_op (xen/event_channel.h). */
import { type Answer, command, commands } from '../hypercalls/declare.ts'
import { type Block, type Field, struct } from '../struct.ts'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import { Status } from './channel.ts'
import type { EventChannels } from './channels.ts'
import { FifoEvents } from './fifo.ts'
import { Virq } from './virq.ts'

const source = 'xen/event_channel.h'
const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const vcpu = { c: 'u32', type: { kind: 'vcpu' } } as const
const portOut = { c: 'u32', out: true } as const

/** A new port goes back in the structure. */
function withPort(block: Block, field: Field, answer: number): number {
  if (answer < 0) return answer
  block.set(field, answer)
  return 0
}

const noSuchPort = 'there is no such port'
const noSpace = 'all ports are in use'

/** A command that takes a port and nothing else. */
const onPort = (
  number: number,
  name: string,
  summary: string,
  errors: { readonly EINVAL: string },
  run: (events: EventChannels, port: number) => number,
) =>
  command({
    command: number,
    name,
    summary,
    struct: struct({ port: 'u32' }),
    errors: { ...errors, EFAULT: 'the structure cannot be read' },
    ops: name === 'EVTCHNOP_send' ? ['apic.send_ipi', 'lock.kick'] : [],
    source,
    run: ({ domain }, block, f) => run(domain.events, block.get(f.port)),
  })

const reset = (number: number, name: string, resuming: boolean) =>
  command({
    command: number,
    name,
    summary: resuming ? 'the continuation of EVTCHNOP_reset' : 'close all ports, and back to the 2-level ABI',
    struct: struct({ dom: domid }),
    errors: {
      ESRCH: 'no such domain',
      EPERM: 'another domain',
      EBUSY: resuming ? 'there is nothing to go on with' : 'another one is under way',
      EFAULT: 'the structure cannot be read',
    },
    source,
    run: (call, block, f): Answer => {
      const dom = block.get(f.dom)
      if (dom !== DOMID.SELF && dom !== DOMU) return dom === DOM0 ? Errno.EPERM : Errno.ESRCH
      const answer = call.domain.events.reset(resuming)
      if (answer === 'continue') call.setArg(0, RESET_CONT)
      return answer
    },
  })

/** Xen's own, for continuations. */
const RESET_CONT = 14

export const eventChannelOp = commands({
  number: 32,
  name: 'event_channel_op',
  summary: 'event channels',
  source,
  commands: [
    command({
      command: 0,
      name: 'EVTCHNOP_bind_interdomain',
      summary: 'bind a new port to another domain’s, which was offered to this one',
      struct: struct({ remote_dom: domid, remote_port: 'u32', local_port: portOut }),
      errors: {
        ESRCH: 'no such domain',
        EINVAL: 'the port is not offered',
        ENOSPC: noSpace,
        EFAULT: 'the structure cannot be read or written',
      },
      source,
      run: ({ domain }, block, f) =>
        withPort(block, f.local_port, domain.events.bindInterdomain(block.get(f.remote_dom), block.get(f.remote_port))),
    }),
    command({
      command: 1,
      name: 'EVTCHNOP_bind_virq',
      summary: 'a new port for a virtual interrupt',
      struct: struct({ virq: { c: 'u32', type: { kind: 'choice', values: Virq } }, vcpu, port: portOut }),
      errors: {
        EINVAL: 'no such virtual interrupt, or a global one not on vCPU 0',
        ENOENT: 'no such vCPU',
        EEXIST: 'it is bound already',
        ENOSPC: noSpace,
        EFAULT: 'the structure cannot be read or written',
      },
      ops: ['time.set_next_event'],
      source,
      run: ({ domain }, block, f) =>
        withPort(block, f.port, domain.events.bindVirq(block.get(f.virq), block.get(f.vcpu))),
    }),
    command({
      command: 2,
      name: 'EVTCHNOP_bind_pirq',
      summary: 'a new port for a physical interrupt, of which a domain without devices has none',
      struct: struct({ pirq: 'u32', flags: 'u32', port: portOut }),
      errors: { EINVAL: 'always', EFAULT: 'the structure cannot be read' },
      source,
      run: () => Errno.EINVAL,
    }),
    onPort(3, 'EVTCHNOP_close', 'close a port', { EINVAL: 'it is closed or does not exist' }, (events, port) =>
      events.close(port),
    ),
    onPort(4, 'EVTCHNOP_send', 'notify the other end', { EINVAL: 'no port to send from' }, (events, port) =>
      events.send(port),
    ),
    command({
      command: 5,
      name: 'EVTCHNOP_status',
      summary: 'what a port is bound to',
      struct: struct({
        dom: domid,
        port: 'u32',
        status: { c: 'u32', out: true },
        vcpu: { c: 'u32', out: true },
        u0: { c: 'u32', out: true },
        u1: { c: 'u32', out: true },
      }),
      errors: {
        ESRCH: 'no such domain',
        EPERM: 'another domain',
        EINVAL: noSuchPort,
        EFAULT: 'the structure cannot be read or written',
      },
      source,
      run: ({ domain }, block, f) => {
        const dom = block.get(f.dom)
        if (dom === DOM0) return Errno.EPERM
        if (dom !== DOMID.SELF && dom !== DOMU) return Errno.ESRCH
        const channel = domain.events.channel(block.get(f.port))
        if (!channel) return Errno.EINVAL
        block.set(f.status, channel.status)
        block.set(f.vcpu, channel.vcpu)
        const at = block.at(f.u0)
        switch (channel.status) {
          case Status.UNBOUND:
            block.view.setUint16(at, channel.remoteDomain, true)
            break
          case Status.INTERDOMAIN:
            block.view.setUint16(at, channel.remoteDomain, true)
            block.set(f.u1, channel.remotePort)
            break
          case Status.VIRQ:
            block.set(f.u0, channel.virq)
            break
          default:
        }
        return 0
      },
    }),
    command({
      command: 6,
      name: 'EVTCHNOP_alloc_unbound',
      summary: 'a new port that another domain may bind to',
      struct: struct({ dom: domid, remote_dom: domid, port: portOut }),
      errors: {
        ESRCH: 'no such domain',
        EPERM: 'for another domain',
        ENOSPC: noSpace,
        EFAULT: 'the structure cannot be read or written',
      },
      source,
      run: ({ domain }, block, f) =>
        withPort(block, f.port, domain.events.allocUnbound(block.get(f.dom), block.get(f.remote_dom))),
    }),
    command({
      command: 7,
      name: 'EVTCHNOP_bind_ipi',
      summary: 'a new port that notifies one of the domain’s own vCPUs',
      struct: struct({ vcpu, port: portOut }),
      errors: { ENOENT: 'no such vCPU', ENOSPC: noSpace, EFAULT: 'the structure cannot be read or written' },
      ops: ['apic.send_ipi'],
      source,
      run: ({ domain }, block, f) => withPort(block, f.port, domain.events.bindIpi(block.get(f.vcpu))),
    }),
    command({
      command: 8,
      name: 'EVTCHNOP_bind_vcpu',
      summary: 'which vCPU a port notifies from now on',
      struct: struct({ port: 'u32', vcpu }),
      errors: {
        ENOENT: 'no such vCPU',
        EINVAL: 'no such port, or one that is a vCPU’s own',
        EFAULT: 'the structure cannot be read',
      },
      source,
      run: ({ domain }, block, f) => domain.events.bindVcpu(block.get(f.port), block.get(f.vcpu)),
    }),
    onPort(9, 'EVTCHNOP_unmask', 'unmask a port, and notify if it is pending', { EINVAL: noSuchPort }, (events, port) =>
      events.unmask(port),
    ),
    reset(10, 'EVTCHNOP_reset', false),
    command({
      command: 11,
      name: 'EVTCHNOP_init_control',
      summary: 'a vCPU’s control block of the FIFO ABI; the first switches the domain to it',
      struct: struct({ control_gfn: 'u64', offset: 'u32', vcpu, link_bits: { c: 'u8', out: true }, pad: 'u8' }),
      errors: {
        ENOENT: 'no such vCPU',
        EINVAL: 'a bad offset or frame, or the vCPU has one',
        EFAULT: 'the structure cannot be read or written',
      },
      source,
      run: ({ domain }, block, f) => {
        block.set(f.link_bits, FifoEvents.LINK_BITS)
        return domain.events.initControl(block.get(f.vcpu), block.whole(f.control_gfn), block.get(f.offset))
      },
    }),
    command({
      command: 12,
      name: 'EVTCHNOP_expand_array',
      summary: 'another page of event words of the FIFO ABI',
      struct: struct({ array_gfn: 'u64' }),
      errors: {
        EOPNOTSUPP: 'the FIFO ABI is not in use',
        ENOSPC: 'there are words for all ports',
        EINVAL: 'a bad frame',
        EFAULT: 'the structure cannot be read',
      },
      source,
      run: ({ domain }, block, f) => domain.events.expandArray(block.whole(f.array_gfn)),
    }),
    command({
      command: 13,
      name: 'EVTCHNOP_set_priority',
      summary: 'the priority of a port of the FIFO ABI',
      struct: struct({ port: 'u32', priority: 'u32' }),
      errors: {
        ENOSYS: 'the 2-level ABI has none',
        EACCES: 'the port is closed',
        EINVAL: 'no such port or priority',
        EFAULT: 'the structure cannot be read',
      },
      source,
      run: ({ domain }, block, f) => domain.events.setPriority(block.get(f.port), block.get(f.priority)),
    }),
    reset(RESET_CONT, 'EVTCHNOP_reset_cont', true),
  ],
})

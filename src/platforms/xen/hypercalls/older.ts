/**
 * Hypercalls as guests made them before interface version 0x00030202: the command is the first word of a structure, and
 * what is now the argument follows it. Xen 4.17's arch/x86/compat.c carries them out as the ones of today.
 */
import type { Argument } from '../../../paravirt/requests.ts'
import { Errno } from '../errno.ts'
import { type Struct, struct } from '../struct.ts'
import type { Call } from './call.ts'
import { type Answer, hypercall } from './declare.ts'

const args: readonly Argument[] = [{ name: 'op', type: { kind: 'linear' } }]
const EFAULT = 'the structure cannot be read'

/** struct evtchn_op and struct physdev_op, each with the largest member of its union. */
const evtchnOp = struct({ cmd: 'u32', u: 'u32', rest1: 'u32', rest2: 'u32', rest3: 'u32', rest4: 'u32', rest5: 'u32' })
const physdevOp = struct({ cmd: 'u32', u: 'pointer', nr_ports: 'u32', value: 'narrow' })

const EVENT_CHANNEL_OP = 32
const PHYSDEV_OP = 33
/** EVTCHNOP_reset and what came after it are not to be had this way. */
const LAST_EVTCHNOP = 9

/** Make hypercall `number` with the command and the argument that the structure holds. */
function forward(call: Call, number: number, of: Struct<'cmd' | 'u'>, knows: (command: number) => boolean): Answer {
  const { block } = call
  if (!call.copyIn(0, block.bytes, block.size(of))) return Errno.EFAULT
  const command = block.get(of.fields.cmd)
  if (!knows(command)) return Errno.ENOSYS
  const [low, high, second, secondHigh] = [call.arg(0), call.high(0), call.arg(1), call.high(1)]
  const at = low + block.at(of.fields.u)
  call.setArg(0, command)
  call.setArg(1, at >>> 0, (high + Math.floor(at / 2 ** 32)) >>> 0)
  const answer = call.dispatch(number)
  call.setArg(0, low, high)
  call.setArg(1, second, secondHigh)
  return answer
}

export const olderHypercalls = [
  hypercall({
    number: 16,
    name: 'event_channel_op_compat',
    summary: 'event_channel_op as older guests make it',
    guest: 'pv',
    args,
    errors: { EFAULT, ENOSYS: 'a command after EVTCHNOP_unmask' },
    source: 'xen/event_channel.h',
    run: (call) => forward(call, EVENT_CHANNEL_OP, evtchnOp, (command) => command <= LAST_EVTCHNOP),
  }),
  hypercall({
    number: 19,
    name: 'physdev_op_compat',
    summary: 'physdev_op as older guests make it',
    guest: 'pv',
    args,
    errors: { EFAULT, ENOSYS: 'no such command' },
    source: 'xen/physdev.h',
    run: (call) => forward(call, PHYSDEV_OP, physdevOp, () => true),
  }),
]

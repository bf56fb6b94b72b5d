/**
 * multicall (xen/xen.h): hypercalls one after another. Each one's result is written to its entry before the next is
 * read. A call that is to go on makes the list go on there.
 */
import { Errno } from '../errno.ts'
import { struct } from '../struct.ts'
import type { Call } from './call.ts'
import { type Answer, hypercall } from './declare.ts'

/** Calls that are made before other vCPUs have their turn. */
const SLICE = 256
const ARGUMENTS = 6

const entry = struct({
  op: 'long',
  result: 'long',
  a0: 'long',
  a1: 'long',
  a2: 'long',
  a3: 'long',
  a4: 'long',
  a5: 'long',
})
const { fields } = entry
const args = [fields.a0, fields.a1, fields.a2, fields.a3, fields.a4, fields.a5] as const

function run(call: Call): Answer {
  const { inner } = call
  // The caller is one of a list itself.
  if (!inner) return Errno.EINVAL
  const count = call.arg(1)
  const list = inner.entry
  list.wide = call.wide
  const size = list.size(entry)
  const goOn = (done: number): 'continue' => {
    const low = call.arg(0) + done * size
    call.setArg(0, low >>> 0, (call.high(0) + Math.floor(low / 2 ** 32)) >>> 0)
    call.setArg(1, count - done)
    return 'continue'
  }
  if (!call.domain.kind.mayAccess(call.arg(0), call.high(0))) return Errno.EFAULT
  for (let i = 0; i < count; i++) {
    if (i === SLICE) return goOn(i)
    if (!call.copyIn(0, list.bytes, size, i * size)) return Errno.EFAULT
    inner.begin(call.vcpu, call.wide)
    for (let k = 0; k < ARGUMENTS; k++) {
      const field = args[k] as (typeof args)[number]
      inner.setArg(k, list.get(field), list.high(field))
    }
    const number = list.high(fields.op) === 0 ? list.get(fields.op) : -1
    const answer = inner.dispatch(number)
    if (answer === 'continue') {
      for (let k = 0; k < ARGUMENTS; k++) list.setBig(args[k] as (typeof args)[number], inner.big(k))
      return call.copyOut(0, list.bytes, size, i * size) ? goOn(i) : Errno.EFAULT
    }
    list.set(fields.result, answer === 'done' ? 0 : answer)
    const offset = list.at(fields.result)
    const written = call.copyOut(0, list.bytes.subarray(offset, offset + size / 8), size / 8, i * size + offset)
    // Nothing is left of whoever made the list.
    if (answer === 'done') return 'done'
    if (!written) return Errno.EFAULT
  }
  return 0
}

export const multicall = hypercall({
  number: 13,
  name: 'multicall',
  summary: 'many hypercalls at once',
  args: [
    { name: 'call_list', type: { kind: 'linear' } },
    { name: 'nr_calls', type: { kind: 'u32' } },
  ],
  errors: { EINVAL: 'from within another one', EFAULT: 'the list cannot be read or written' },
  source: 'xen/xen.h',
  run,
})

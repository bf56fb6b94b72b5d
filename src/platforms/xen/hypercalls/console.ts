/** console_io (xen/xen.h): Xen’s own console, which is dom0’s unless Xen was built to let all write there. */
import { Errno } from '../errno.ts'
import { hypercall } from './declare.ts'

const WRITE = 0
/** Bytes that one call takes before others have their turn. */
const SLICE = 4096

export const consoleIo = hypercall({
  number: 18,
  name: 'console_io',
  summary: 'write to Xen’s console',
  args: [
    { name: 'cmd', type: { kind: 'choice', values: { CONSOLEIO_write: 0, CONSOLEIO_read: 1 } } },
    { name: 'count', type: { kind: 'u32' } },
    { name: 'buffer', type: { kind: 'linear' } },
  ],
  errors: { EPERM: 'always, but for writing with the feature verbose-debug', EFAULT: 'the text cannot be read' },
  ops: ['machine.message'],
  source: 'xen/xen.h',
  run: (call) => {
    const { domain } = call
    if (call.arg(0) !== WRITE || !domain.features.has('verbose-debug')) return Errno.EPERM
    const count = Math.min(call.arg(1), SLICE)
    const text = new Uint8Array(count)
    if (!call.copyIn(2, text, count)) return Errno.EFAULT
    domain.debugConsole(text)
    if (count === call.arg(1)) return 0
    const low = call.arg(2) + count
    call.setArg(2, low >>> 0, (call.high(2) + Math.floor(low / 2 ** 32)) >>> 0)
    call.setArg(1, call.arg(1) - count)
    return 'continue'
  },
})

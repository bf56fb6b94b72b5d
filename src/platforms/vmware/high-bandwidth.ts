/**
 * The backdoor's high-bandwidth form: a message's bytes at once, by REP OUTSB or REP INSB, or by a hypercall that does
 * the same. EBX has the command and, in its high half, the status; EDX's high half the channel; the cookie is in EBP
 * and EDI on the way out, in ESI and EBP on the way in (open-vm-tools, lib/message/message.c).
 */
import type { Declaration } from '../../paravirt/requests.ts'
import { type Frame, high, withHigh } from './frame.ts'
import { type Cookie, Status } from './messages.ts'
import type { Vmware } from './vmware.ts'

const MESSAGE = 0

export const highBandwidth = {
  kind: 'command',
  number: MESSAGE,
  name: 'BDOORHB_CMD_MESSAGE',
  summary: 'all bytes of a message, or as many as the guest likes',
  args: [
    { name: 'status', type: { kind: 'fields', fields: [['success', 16, 1]] } },
    { name: 'channel', type: { kind: 'fields', fields: [['id', 16, 16]] } },
    { name: 'count', type: { kind: 'u32' } },
  ],
  errors: { status_0: 'another command, no such channel, not now, or too much' },
  feature: 'messages',
  ops: ['machine.message'],
  tier: 'call',
  source: 'open-vm-tools lib/message/message.c',
} as const satisfies Declaration

const wanted = ({ ebx }: Frame) => (ebx & 0xffff) === MESSAGE && (high(ebx) & Status.SUCCESS) !== 0
const outCookie = ({ ebp, edi }: Frame): Cookie => ({ high: ebp, low: edi })
const inCookie = ({ esi, ebp }: Frame): Cookie => ({ high: esi, low: ebp })

/** Bytes from the guest. After a failure the status in EBX is 0, and so it stays for the bytes that follow. */
export function highOut(vmware: Vmware, frame: Frame, bytes: Uint8Array): boolean {
  const done =
    vmware.has('messages') &&
    wanted(frame) &&
    vmware.messages.send(high(frame.edx), outCookie(frame), bytes) === Status.SUCCESS
  if (!done) frame.ebx = withHigh(frame.ebx, Status.FAIL)
  return done
}

/** `length` bytes to the guest; undefined: it gets none. */
export function highIn(vmware: Vmware, frame: Frame, length: number): Uint8Array | undefined {
  const id = high(frame.edx)
  const cookie = inCookie(frame)
  const { messages } = vmware
  const offered = vmware.has('messages') && wanted(frame) && messages.left(id, cookie) >= length
  const bytes = offered ? messages.receive(id, cookie, length) : undefined
  if (!bytes) frame.ebx = withHigh(frame.ebx, Status.FAIL)
  return bytes
}

/** BDOOR_CMD_MESSAGE: type in ECX's high half, channel in EDX's, cookie in ESI and EDI; status in ECX's high half. */
import type { Argument } from '../../paravirt/requests.ts'
import type { Command } from './command.ts'
import { type Frame, type FrameRegister, high, withHigh } from './frame.ts'
import { type Cookie, MessageType, Protocol, Status } from './messages.ts'
import type { Vmware } from './vmware.ts'

const MESSAGE = 30

const cookieOf = ({ esi, edi }: Frame): Cookie => ({ high: esi, low: edi })

interface Kind {
  readonly name: string
  readonly summary: string
  readonly args: readonly Argument[]
  readonly inputs: readonly FrameRegister[]
  readonly run: (vmware: Vmware, frame: Frame) => number
}

const channel: Argument = { name: 'channel', type: { kind: 'fields', fields: [['id', 16, 16]] } }
const status: Argument = { name: 'status', type: { kind: 'flags', bits: { success: 0 } } }

const kinds: readonly Kind[] = [
  {
    name: 'OPEN',
    summary: 'open a channel',
    args: [
      {
        name: 'protocol',
        type: {
          kind: 'choice',
          values: {
            'RPCI|COOKIE': Protocol.RPCI + 0x80000000,
            'TCLO|COOKIE': Protocol.TCLO + 0x80000000,
            RPCI: Protocol.RPCI,
            TCLO: Protocol.TCLO,
          },
        },
      },
    ],
    inputs: ['ebx'],
    run: ({ messages }, frame) => {
      const opened = messages.open(frame.ebx)
      if (!opened) return Status.FAIL
      frame.edx = withHigh(frame.edx, opened.id)
      frame.esi = opened.cookie.high
      frame.edi = opened.cookie.low
      return Status.SUCCESS
    },
  },
  {
    name: 'SENDSIZE',
    summary: 'begin a request of so many bytes',
    args: [channel, { name: 'size', type: { kind: 'u32' } }],
    inputs: ['edx', 'ebx'],
    run: ({ messages }, frame) => messages.sendSize(high(frame.edx), cookieOf(frame), frame.ebx),
  },
  {
    name: 'SENDPAYLOAD',
    summary: 'the next four bytes of a request',
    args: [channel, { name: 'bytes', type: { kind: 'u32' } }],
    inputs: ['edx', 'ebx'],
    run: ({ messages }, frame) => {
      const id = high(frame.edx)
      const cookie = cookieOf(frame)
      const bytes = Uint8Array.of(frame.ebx, frame.ebx >>> 8, frame.ebx >>> 16, frame.ebx >>> 24)
      return messages.send(id, cookie, bytes.subarray(0, messages.missing(id, cookie)))
    },
  },
  {
    name: 'RECVSIZE',
    summary: 'the answer’s size in EBX, if there is one',
    args: [channel],
    inputs: ['edx'],
    run: ({ messages }, frame) => {
      const { status: answer, size } = messages.receiveSize(high(frame.edx), cookieOf(frame))
      if (size === undefined) return answer
      frame.ebx = size
      frame.edx = withHigh(frame.edx, MessageType.SENDSIZE)
      return answer
    },
  },
  {
    name: 'RECVPAYLOAD',
    summary: 'the next four bytes of the answer in EBX; without status success, no more of it',
    args: [channel, status],
    inputs: ['edx', 'ebx'],
    run: ({ messages }, frame) => {
      const id = high(frame.edx)
      if ((frame.ebx & Status.SUCCESS) === 0) return messages.received(id, cookieOf(frame))
      const bytes = messages.receive(id, cookieOf(frame), 4)
      if (!bytes) return Status.FAIL
      frame.ebx = bytes.reduceRight((word, byte) => ((word << 8) | byte) >>> 0, 0)
      frame.edx = withHigh(frame.edx, MessageType.SENDPAYLOAD)
      return Status.SUCCESS
    },
  },
  {
    name: 'RECVSTATUS',
    summary: 'the answer was received',
    args: [channel, status],
    inputs: ['edx', 'ebx'],
    run: ({ messages }, frame) => messages.received(high(frame.edx), cookieOf(frame)),
  },
  {
    name: 'CLOSE',
    summary: 'close the channel',
    args: [channel],
    inputs: ['edx'],
    run: ({ messages }, frame) => messages.close(high(frame.edx), cookieOf(frame)),
  },
]

export const messageCommands: readonly Command[] = kinds.map(({ name, summary, args, inputs, run }, type) => ({
  kind: 'command',
  number: MESSAGE | (type << 16),
  name: `MESSAGE_TYPE_${name}`,
  summary,
  args,
  inputs,
  errors: { status_0: 'no such channel, not now, or too much', '-1': 'the feature is off' },
  feature: 'messages',
  ops: ['machine.message'],
  tier: 'call',
  source: 'open-vm-tools lib/message/message.c',
  outcome: ({ ecx }) => (high(ecx) === Status.FAIL ? 'status_0' : BigInt(high(ecx))),
  run: (vmware, _vcpu, frame) => {
    frame.ecx = withHigh(frame.ecx, run(vmware, frame))
    return frame.eax
  },
}))

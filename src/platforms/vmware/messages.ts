/**
 * Message channels: the guest sends a size and then the bytes, and fetches the answer in the same way (open-vm-tools,
 * lib/message/message.c and guest_msg_def.h). The bytes go four at a time, or all at once by the high-bandwidth forms.
 */
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Rpc } from './rpc.ts'

export const Status = { FAIL: 0, SUCCESS: 1, DORECV: 2, HB: 0x80 } as const

/** What the host would send. */
export const MessageType = { SENDSIZE: 1, SENDPAYLOAD: 2 } as const

const CHANNELS = 8
const MAX_SIZE = 64 * 1024
const COOKIE_FLAG = 0x80000000
/** Protocols: requests of the guest's, and of the host's, of which there are none. */
export const Protocol = { RPCI: 0x49435052, TCLO: 0x4f4c4354 } as const

export type Cookie = {
  readonly high: number
  readonly low: number
}

type Channel = {
  readonly protocol: number
  /** Undefined: the guest wanted none. */
  readonly cookie: Cookie | undefined
  request: Uint8Array | undefined
  /** Bytes of the request that are still to come. */
  missing: number
  reply: Uint8Array | undefined
  /** Bytes of the reply that were fetched. */
  fetched: number
}

export class Messages implements Stateful {
  readonly #channels: (Channel | undefined)[] = Array.from({ length: CHANNELS }, () => undefined)
  readonly #rpc: Rpc
  #opened = 0

  constructor(report: (lines: readonly string[]) => void) {
    this.#rpc = new Rpc(report)
  }

  transfer(state: Transfer): void {
    state.list('channels', this.#channels)
    state.part('rpc', this.#rpc)
    this.#opened = state.field('opened', this.#opened)
  }

  /** Undefined: an unknown protocol, or no channel is free. */
  open(protocolAndFlags: number): { id: number; cookie: Cookie } | undefined {
    const protocol = protocolAndFlags & ~COOKIE_FLAG
    const id = this.#channels.indexOf(undefined)
    if ((protocol !== Protocol.RPCI && protocol !== Protocol.TCLO) || id < 0) return undefined
    const withCookie = (protocolAndFlags & COOKIE_FLAG) !== 0
    const cookie = withCookie ? this.#cookie() : { high: 0, low: 0 }
    this.#channels[id] = {
      protocol,
      cookie: withCookie ? cookie : undefined,
      request: undefined,
      missing: 0,
      reply: undefined,
      fetched: 0,
    }
    return { id, cookie }
  }

  sendSize(id: number, cookie: Cookie, size: number): number {
    const channel = this.#find(id, cookie)
    if (!channel || size > MAX_SIZE) return Status.FAIL
    channel.request = new Uint8Array(size)
    channel.missing = size
    channel.reply = undefined
    if (size === 0) this.#answer(channel)
    return Status.SUCCESS | Status.HB
  }

  /** The next bytes of a request, which are not more than it lacks. */
  send(id: number, cookie: Cookie, bytes: Uint8Array): number {
    const channel = this.#find(id, cookie)
    const request = channel?.request
    if (!channel || !request || bytes.length === 0 || bytes.length > channel.missing) return Status.FAIL
    request.set(bytes, request.length - channel.missing)
    channel.missing -= bytes.length
    if (channel.missing === 0) this.#answer(channel)
    return Status.SUCCESS
  }

  /** How many bytes of the request are still to come. */
  missing(id: number, cookie: Cookie): number {
    return this.#find(id, cookie)?.missing ?? 0
  }

  /** The length of the answer, undefined if none waits. */
  receiveSize(id: number, cookie: Cookie): { status: number; size: number | undefined } {
    const channel = this.#find(id, cookie)
    if (!channel) return { status: Status.FAIL, size: undefined }
    if (!channel.reply) return { status: Status.SUCCESS, size: undefined }
    channel.fetched = 0
    return { status: Status.SUCCESS | Status.DORECV | Status.HB, size: channel.reply.length }
  }

  /** How many bytes of the answer were not fetched yet. */
  left(id: number, cookie: Cookie): number {
    const channel = this.#find(id, cookie)
    return channel?.reply ? channel.reply.length - channel.fetched : 0
  }

  /** The next bytes of the answer, at most `length`; undefined: there are none. */
  receive(id: number, cookie: Cookie, length: number): Uint8Array | undefined {
    const channel = this.#find(id, cookie)
    if (!channel?.reply || channel.fetched >= channel.reply.length) return undefined
    const bytes = channel.reply.slice(channel.fetched, channel.fetched + length)
    channel.fetched += bytes.length
    return bytes
  }

  /** The guest has the answer, or wants no more of it. */
  received(id: number, cookie: Cookie): number {
    const channel = this.#find(id, cookie)
    if (!channel?.reply) return Status.FAIL
    channel.reply = undefined
    return Status.SUCCESS
  }

  close(id: number, cookie: Cookie): number {
    if (!this.#find(id, cookie)) return Status.FAIL
    this.#channels[id] = undefined
    return Status.SUCCESS
  }

  #find(id: number, cookie: Cookie): Channel | undefined {
    const channel = this.#channels[id]
    const own = channel?.cookie
    return own && (own.high !== cookie.high || own.low !== cookie.low) ? undefined : channel
  }

  #answer(channel: Channel): void {
    const request = channel.request as Uint8Array
    channel.request = undefined
    channel.fetched = 0
    // What the guest sends on the host's channel are answers.
    if (channel.protocol === Protocol.RPCI)
      channel.reply = new TextEncoder().encode(this.#rpc.answer(new TextDecoder().decode(request)))
  }

  /** Another one for every channel, so that one process does not use another's by mistake. */
  #cookie(): Cookie {
    this.#opened++
    return { high: Math.imul(this.#opened, 0x9e3779b1) >>> 0, low: Math.imul(this.#opened, 0x85ebca77) >>> 0 }
  }
}

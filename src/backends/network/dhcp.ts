/** A DHCP server that gives each card the same address for good (RFC 2131, 2132). */
import { viewOf } from '../../devices/net/bytes.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { type Ipv4, ipv4At, ipv4Number, ipv4Of, localBroadcast, netmask, type Plan, sameBytes } from './addresses.ts'

export const DHCP_SERVER = 67
export const DHCP_CLIENT = 68

const BOOTREQUEST = 1
const BOOTREPLY = 2
const MAGIC = 0x63825363
/** Fixed fields up to the options. */
const FIXED = 240
/** Clients may expect BOOTP's length. */
const MINIMUM = 300
const LEASE_SECONDS = 86400

const Option = {
  PAD: 0,
  MASK: 1,
  ROUTER: 3,
  NAME_SERVER: 6,
  BROADCAST: 28,
  REQUESTED: 50,
  LEASE: 51,
  TYPE: 53,
  SERVER: 54,
  END: 255,
} as const
const Type = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const

export class DhcpServer implements Stateful {
  readonly #plan: Plan
  /** Cards in the order of their addresses. */
  readonly #cards: string[] = []

  constructor(plan: Plan) {
    this.#plan = plan
  }

  transfer(state: Transfer): void {
    state.list('cards', this.#cards)
  }

  /** The answer to a client's message, to be sent as a broadcast; undefined: there is none. */
  answer(message: Uint8Array): Uint8Array | undefined {
    if (message.length < FIXED) return undefined
    const view = viewOf(message)
    if (view.getUint8(0) !== BOOTREQUEST || view.getUint8(2) !== 6 || view.getUint32(236) !== MAGIC) return undefined
    const options = parseOptions(message.subarray(FIXED))
    const server = options.get(Option.SERVER)
    if (server && !sameBytes(server, this.#plan.gateway)) return undefined
    const address = this.#addressOf(message.subarray(28, 34))
    switch (options.get(Option.TYPE)?.[0]) {
      case Type.DISCOVER:
        return address && this.#reply(message, Type.OFFER, address)
      case Type.REQUEST: {
        const asked = options.get(Option.REQUESTED) ?? message.subarray(12, 16)
        const right = address !== undefined && sameBytes(asked, address)
        return right ? this.#reply(message, Type.ACK, address) : this.#reply(message, Type.NAK, undefined)
      }
      case Type.INFORM:
        return this.#reply(message, Type.ACK, undefined)
      default:
        return undefined
    }
  }

  #addressOf(card: Uint8Array): Ipv4 | undefined {
    const key = card.join(':')
    let index = this.#cards.indexOf(key)
    if (index < 0 && this.#cards.length < this.#plan.count) index = this.#cards.push(key) - 1
    return index < 0 ? undefined : ipv4Of(ipv4Number(this.#plan.first) + index)
  }

  #reply(request: Uint8Array, type: number, address: Ipv4 | undefined): Uint8Array {
    const { gateway, nameServer, prefix } = this.#plan
    const options: number[] = []
    const add = (code: number, value: readonly number[]) => void options.push(code, value.length, ...value)
    add(Option.TYPE, [type])
    add(Option.SERVER, gateway)
    if (type !== Type.NAK) {
      if (address) add(Option.LEASE, ipv4Of(LEASE_SECONDS))
      add(Option.MASK, ipv4Of(netmask(prefix)))
      add(Option.BROADCAST, localBroadcast(this.#plan))
      add(Option.ROUTER, gateway)
      add(Option.NAME_SERVER, nameServer)
    }
    options.push(Option.END)
    const reply = new Uint8Array(Math.max(MINIMUM, FIXED + options.length))
    const view = viewOf(reply)
    // Hardware type and length, transaction, flags, relay and the card are the request's.
    reply.set(request.subarray(0, 8))
    reply.set(request.subarray(10, 12), 10)
    reply.set(request.subarray(24, 44), 24)
    view.setUint8(0, BOOTREPLY)
    view.setUint8(3, 0)
    if (type !== Type.NAK) reply.set(address ?? ipv4At(request, 12), address ? 16 : 12)
    if (type !== Type.NAK) reply.set(gateway, 20)
    view.setUint32(236, MAGIC)
    reply.set(options, FIXED)
    return reply
  }
}

function parseOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>()
  for (let at = 0; at < bytes.length && bytes[at] !== Option.END; ) {
    const code = bytes[at] as number
    if (code === Option.PAD) {
      at++
      continue
    }
    const length = bytes[at + 1] ?? 0
    options.set(code, bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return options
}

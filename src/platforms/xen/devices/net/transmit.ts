/**
 * Packets from the guest: slots on the transmit ring become frames, with the checks and answers of xen-netback. Some
 * mistakes cost a packet; what no frontend would do by accident ends the device (`fatal`).
 */
import type { NetDevice } from '../../../../devices/net/net.ts'
import type { RingWatch } from '../../../../paravirt/observe.ts'
import type { ArgumentValue, Declaration } from '../../../../paravirt/requests.ts'
import type { Sharing } from '../../../../paravirt/sharing.ts'
import type { BackRing } from '../ring.ts'
import {
  decodeExtra,
  decodeTx,
  encodeTxResponse,
  ERROR_NAME,
  type Extra,
  ExtraType,
  FATAL_SLOTS,
  GsoType,
  macText,
  MAX_SLOTS,
  netDeclarations,
  Response,
  TxFlag,
  type TxRequest,
} from './requests.ts'

const PAGE = 4096
const ETHERNET_HEADER = 14
/** Packets before the vCPUs get their turn again. */
const SLICE = 64

export interface TransmitOptions {
  readonly device: NetDevice
  readonly ring: BackRing
  readonly sharing: Sharing
  readonly rings: RingWatch
  /** What the device is called where its requests are told. */
  readonly name: string
  /** Tell the guest of responses. */
  readonly notify: () => void
  readonly schedule: () => void
  /** The guest has broken the protocol: the device is dead until it is connected again. */
  readonly fatal: (why: string) => void
}

/** Slots of a packet after its first, and extra information. */
interface Packet {
  readonly first: TxRequest
  readonly extras: readonly Extra[]
  readonly rest: readonly TxRequest[]
  readonly asks: Declaration
}

class Fatal extends Error {}

export class Transmitter {
  readonly #options: TransmitOptions

  constructor(options: TransmitOptions) {
    this.#options = options
  }

  run(): void {
    const { ring, schedule, fatal } = this.#options
    try {
      for (let packets = 0; ; packets++) {
        if (ring.overflown) throw new Fatal('impossible number of requests')
        if (ring.waiting === 0) {
          this.#announce()
          ring.listen()
          if (ring.waiting === 0) return
        }
        if (packets === SLICE) {
          this.#announce()
          schedule()
          return
        }
        this.#packet()
      }
    } catch (error) {
      if (!(error instanceof Fatal)) throw error
      fatal(error.message)
    }
  }

  #announce(): void {
    if (this.#options.ring.announce()) this.#options.notify()
  }

  #packet(): void {
    const { ring, device } = this.#options
    const available = ring.waiting
    const first = decodeTx(ring.peek())
    const extras = first.flags & TxFlag.EXTRA_INFO ? this.#extras(available - 1) : []
    const ofType = (type: number) => extras.findLast((extra) => extra.type === type)
    const join = ofType(ExtraType.MULTICAST_ADD)
    const leave = join ? undefined : ofType(ExtraType.MULTICAST_DELETE)
    const group = join ?? leave
    if (group) {
      const packet = { first, extras, rest: [], asks: join ? netDeclarations.join : netDeclarations.leave }
      if (this.#refused(packet)) return this.#answer(packet, Response.ERROR)
      const done = join ? device.joinGroup(join.address) : true
      if (leave) device.leaveGroup(leave.address)
      return this.#answer(packet, done ? Response.OKAY : Response.ERROR)
    }
    const rest = first.flags & TxFlag.MORE_DATA ? this.#rest(1 + extras.length, available - 1 - extras.length) : []
    const packet = { first, extras, rest, asks: netDeclarations.transmit }
    // The first slot says how long the packet is, the others how long they are.
    const own = rest.reduce((left, { size }) => left - size, first.size)
    const tooLong = rest.some((_, i) => rest.slice(0, i + 1).reduce((left, { size }) => left - size, first.size) < 0)
    if (tooLong || rest.length > MAX_SLOTS || own < ETHERNET_HEADER) return this.#answer(packet, Response.ERROR)
    if (first.offset + own > PAGE) throw new Fatal('a slot crosses a page')
    const gso = ofType(ExtraType.GSO)
    if (gso && gso.size === 0) throw new Fatal('GSO size must not be zero')
    if (gso && gso.gsoType !== GsoType.TCPV4 && gso.gsoType !== GsoType.TCPV6) throw new Fatal('bad GSO type')
    const bytes = this.#refused(packet) ? undefined : this.#gather(packet, own)
    if (!bytes) return this.#answer(packet, Response.ERROR)
    device.send({
      bytes,
      blankChecksum: (first.flags & TxFlag.CHECKSUM_BLANK) !== 0,
      segmentSize: gso?.size,
    })
    this.#answer(packet, Response.OKAY)
  }

  #extras(available: number): Extra[] {
    const extras: Extra[] = []
    for (;;) {
      if (extras.length >= available) throw new Fatal('missing extra info')
      const extra = decodeExtra(this.#options.ring.peek(1 + extras.length))
      if (extra.type === 0 || extra.type > ExtraType.XDP) throw new Fatal(`invalid extra type ${extra.type}`)
      extras.push(extra)
      if (!extra.more) return extras
    }
  }

  #rest(from: number, available: number): TxRequest[] {
    const slots: TxRequest[] = []
    for (;;) {
      if (slots.length >= available) throw new Fatal('a packet without its end')
      if (slots.length >= FATAL_SLOTS) throw new Fatal(`a packet of more than ${FATAL_SLOTS} slots`)
      const slot = decodeTx(this.#options.ring.peek(from + slots.length))
      slots.push(slot)
      if (slot.offset + slot.size > PAGE) throw new Fatal('a slot crosses a page')
      if (!(slot.flags & TxFlag.MORE_DATA)) return slots
    }
  }

  /** The packet's bytes; undefined if they are not granted. */
  #gather({ first, rest }: Packet, own: number): Uint8Array | undefined {
    const bytes = new Uint8Array(first.size)
    let at = 0
    for (const { reference, offset, size } of [{ ...first, size: own }, ...rest]) {
      const part = this.#options.sharing.read(reference, offset, size)
      if (!part) return undefined
      bytes.set(part, at)
      at += size
    }
    return bytes
  }

  #refused(packet: Packet): boolean {
    return this.#options.rings.refusal(packet.asks, () => this.#values(packet)) !== undefined
  }

  #values({ first, extras, rest, asks }: Packet): ArgumentValue[] {
    const { name } = this.#options
    const last = (type: number) => extras.findLast((extra) => extra.type === type)
    const common = [name, BigInt(first.id)]
    const group = asks === netDeclarations.transmit ? undefined : last(asks.number)
    if (group) return [...common, macText(group.address)]
    const gso = last(ExtraType.GSO)?.size ?? 0
    return [...common, ...[first.size, first.flags, 1 + extras.length + rest.length, gso].map(BigInt)]
  }

  /** A response for each slot. */
  #answer(packet: Packet, status: number): void {
    const { ring, rings } = this.#options
    const { first, extras, rest, asks } = packet
    rings.note(asks, () => this.#values(packet), status === Response.OKAY ? 0n : ERROR_NAME)
    ring.take(1 + extras.length + rest.length)
    ring.respond(encodeTxResponse(first.id, status))
    for (const _ of extras) ring.respond(encodeTxResponse(0, Response.NULL))
    for (const { id } of rest) ring.respond(encodeTxResponse(id, status))
  }
}

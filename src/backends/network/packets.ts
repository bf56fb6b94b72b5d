/** Packets of the small network, taken apart and put together: Ethernet, IPv4, UDP, ICMP (RFC 791, 768, 792). */
import { fold, sum16, viewOf } from '../../devices/net/bytes.ts'
import { ETHERNET_HEADER, EtherType, Protocol } from '../../devices/net/offload.ts'
import { type Ipv4, ipv4At } from './addresses.ts'

const IP_HEADER = 20
const UDP_HEADER = 8
const TTL = 64

export function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + payload.length)
  frame.set(to, 0)
  frame.set(from, 6)
  viewOf(frame).setUint16(12, type)
  frame.set(payload, ETHERNET_HEADER)
  return frame
}

export interface Datagram {
  readonly from: Ipv4
  readonly to: Ipv4
  readonly protocol: number
  /** Header and payload as they came, without padding. */
  readonly whole: Uint8Array
  readonly payload: Uint8Array
}

/** A frame's IPv4 datagram; undefined if it is damaged, or a fragment. */
export function parseIpv4(frame: Uint8Array): Datagram | undefined {
  const packet = frame.subarray(ETHERNET_HEADER)
  if (packet.length < IP_HEADER || (packet[0] as number) >> 4 !== 4) return undefined
  const view = viewOf(packet)
  const header = ((packet[0] as number) & 15) * 4
  const total = view.getUint16(2)
  if (header < IP_HEADER || total < header || total > packet.length) return undefined
  if (fold(sum16(packet, 0, header)) !== 0 || (view.getUint16(6) & 0x3fff) !== 0) return undefined
  return {
    from: ipv4At(packet, 12),
    to: ipv4At(packet, 16),
    protocol: view.getUint8(9),
    whole: packet.subarray(0, total),
    payload: packet.subarray(header, total),
  }
}

export function ipv4(from: Ipv4, to: Ipv4, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(IP_HEADER + payload.length)
  const view = viewOf(packet)
  view.setUint8(0, 0x45)
  view.setUint16(2, packet.length)
  view.setUint8(8, TTL)
  view.setUint8(9, protocol)
  packet.set(from, 12)
  packet.set(to, 16)
  view.setUint16(10, fold(sum16(packet, 0, IP_HEADER)))
  packet.set(payload, IP_HEADER)
  return packet
}

export interface UdpDatagram {
  readonly source: number
  readonly destination: number
  readonly data: Uint8Array
}

export function parseUdp({ payload }: Datagram): UdpDatagram | undefined {
  if (payload.length < UDP_HEADER) return undefined
  const view = viewOf(payload)
  const length = view.getUint16(4)
  if (length < UDP_HEADER || length > payload.length) return undefined
  return { source: view.getUint16(0), destination: view.getUint16(2), data: payload.subarray(UDP_HEADER, length) }
}

export function udp(from: Ipv4, to: Ipv4, { source, destination, data }: UdpDatagram): Uint8Array {
  const datagram = new Uint8Array(UDP_HEADER + data.length)
  const view = viewOf(datagram)
  view.setUint16(0, source)
  view.setUint16(2, destination)
  view.setUint16(4, datagram.length)
  datagram.set(data, UDP_HEADER)
  const addresses = sum16(Uint8Array.of(...from, ...to))
  const checksum = fold(sum16(datagram, 0, datagram.length, addresses + Protocol.UDP + datagram.length))
  view.setUint16(6, checksum === 0 ? 0xffff : checksum)
  return ipv4(from, to, Protocol.UDP, datagram)
}

/** An ICMP message with its checksum. */
export function icmp(from: Ipv4, to: Ipv4, message: Uint8Array): Uint8Array {
  const bytes = message.slice()
  const view = viewOf(bytes)
  view.setUint16(2, 0)
  view.setUint16(2, fold(sum16(bytes)))
  return ipv4(from, to, Protocol.ICMP, bytes)
}

export const ipv4Frame = (to: Uint8Array, from: Uint8Array, packet: Uint8Array): Uint8Array =>
  ethernet(to, from, EtherType.IPV4, packet)

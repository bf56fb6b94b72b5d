/**
 * A small network with one machine on it, the gateway: it gives out addresses by DHCP, answers ARP, ping and its own
 * names, and refuses everything else at once, as there is no way out. It needs nothing of the host, answers within
 * `send` and keeps no time, so that runs can be repeated. There is no IPv6: nobody answers.
 */
import { viewOf } from '../../devices/net/bytes.ts'
import { completeChecksum, ETHERNET_HEADER, EtherType, Protocol } from '../../devices/net/offload.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { BROADCAST, type Ipv4, ipv4At, isLocal, localBroadcast, MAC_BROADCAST, plan, sameBytes } from './addresses.ts'
import { DHCP_CLIENT, DHCP_SERVER, DhcpServer } from './dhcp.ts'
import { DNS_PORT, NameServer } from './dns.ts'
import { type Datagram, ethernet, icmp, ipv4, ipv4Frame, parseIpv4, parseUdp, udp } from './packets.ts'
import type { NetworkPort } from './port.ts'

const ARP_REQUEST = 1
const ARP_REPLY = 2
const ARP_LENGTH = 28
const Icmp = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const
const Unreachable = { NETWORK: 0, HOST: 1, PROTOCOL: 2, PORT: 3 } as const
const TCP_RST_ACK = 0x14
const TCP_RST = 4

export class UserNetwork implements Stateful {
  readonly #dhcp = new DhcpServer(plan)
  readonly #names = new NameServer(plan)
  readonly #ports = new Set<UserPort>()

  transfer(state: Transfer): void {
    state.part('dhcp', this.#dhcp)
  }

  /** A new socket for a card. */
  plug(): NetworkPort {
    const port: UserPort = new UserPort(this, (frame) => this.#frame(port, frame))
    this.#ports.add(port)
    return port
  }

  #frame(from: UserPort, frame: Uint8Array): void {
    if (frame.length < ETHERNET_HEADER) return
    const to = frame.subarray(0, 6)
    // A switch that does not learn: the others see what is not for the gateway alone.
    if (!sameBytes(to, plan.mac)) for (const port of this.#ports) if (port !== from) port.receive?.(frame.slice())
    if (!sameBytes(to, plan.mac) && !sameBytes(to, MAC_BROADCAST)) return
    const answer = this.#answer(frame)
    if (answer) from.receive?.(answer)
  }

  #answer(frame: Uint8Array): Uint8Array | undefined {
    const type = viewOf(frame).getUint16(12)
    if (type === EtherType.ARP) return arp(frame)
    const datagram = type === EtherType.IPV4 ? parseIpv4(frame) : undefined
    const packet = datagram && this.#datagram(datagram)
    if (!packet) return undefined
    const broadcast = sameBytes(packet.subarray(16, 20), BROADCAST)
    return ipv4Frame(broadcast ? MAC_BROADCAST : frame.subarray(6, 12), plan.mac, packet)
  }

  #datagram(datagram: Datagram): Uint8Array | undefined {
    const { to, protocol } = datagram
    const broadcast = sameBytes(to, BROADCAST) || sameBytes(to, localBroadcast(plan))
    const message = protocol === Protocol.UDP ? parseUdp(datagram) : undefined
    if (message?.destination === DHCP_SERVER && (broadcast || sameBytes(to, plan.gateway))) {
      const answer = this.#dhcp.answer(message.data)
      return answer && udp(plan.gateway, BROADCAST, { source: DHCP_SERVER, destination: DHCP_CLIENT, data: answer })
    }
    if (broadcast || (to[0] as number) >= 224 || sameBytes(datagram.from, [0, 0, 0, 0])) return undefined
    if (!sameBytes(to, plan.gateway) && !sameBytes(to, plan.nameServer))
      return unreachable(datagram, isLocal(to, plan) ? Unreachable.HOST : Unreachable.NETWORK)
    if (protocol === Protocol.ICMP) return echo(datagram)
    if (protocol === Protocol.TCP) return refuse(datagram)
    if (protocol !== Protocol.UDP) return unreachable(datagram, Unreachable.PROTOCOL)
    if (!message) return undefined
    const query = message.destination === DNS_PORT && sameBytes(to, plan.nameServer)
    if (!query) return unreachable(datagram, Unreachable.PORT)
    const data = this.#names.answer(message.data)
    return data && udp(to, datagram.from, { source: DNS_PORT, destination: message.source, data })
  }
}

class UserPort implements NetworkPort {
  readonly state: Stateful
  readonly send: (frame: Uint8Array) => void
  receive: ((frame: Uint8Array) => void) | undefined

  constructor(state: Stateful, send: (frame: Uint8Array) => void) {
    this.state = state
    this.send = send
  }

  attach(receive: ((frame: Uint8Array) => void) | undefined): void {
    this.receive = receive
  }
}

/** Who has the gateway's address, or the name server's (RFC 826). */
function arp(frame: Uint8Array): Uint8Array | undefined {
  const packet = frame.subarray(ETHERNET_HEADER)
  if (packet.length < ARP_LENGTH) return undefined
  const view = viewOf(packet)
  const ethernetAndIp = view.getUint16(0) === 1 && view.getUint16(2) === EtherType.IPV4 && view.getUint16(4) === 0x604
  const target = ipv4At(packet, 24)
  if (!ethernetAndIp || view.getUint16(6) !== ARP_REQUEST) return undefined
  if (!sameBytes(target, plan.gateway) && !sameBytes(target, plan.nameServer)) return undefined
  const reply = packet.slice(0, ARP_LENGTH)
  viewOf(reply).setUint16(6, ARP_REPLY)
  reply.set(plan.mac, 8)
  reply.set(target, 14)
  reply.set(packet.subarray(8, 18), 18)
  return ethernet(frame.subarray(6, 12), plan.mac, EtherType.ARP, reply)
}

function echo({ from, to, payload }: Datagram): Uint8Array | undefined {
  if (payload.length < 8 || payload[0] !== Icmp.ECHO) return undefined
  const message = payload.slice()
  message[0] = Icmp.ECHO_REPLY
  return icmp(to, from, message)
}

/** With the header and the first 8 bytes of what could not be delivered; never about an ICMP error (RFC 1122 3.2.2). */
function unreachable({ from, whole, payload, protocol }: Datagram, code: number): Uint8Array | undefined {
  if (protocol === Protocol.ICMP && payload[0] !== Icmp.ECHO) return undefined
  const quoted = whole.subarray(0, whole.length - payload.length + 8)
  const message = new Uint8Array(8 + quoted.length)
  message[0] = Icmp.UNREACHABLE
  message[1] = code
  message.set(quoted, 8)
  return icmp(plan.gateway, from, message)
}

/** No port is open: a reset for whatever comes (RFC 9293, 3.10.7.1). */
function refuse({ from, to, payload }: Datagram): Uint8Array | undefined {
  if (payload.length < 20) return undefined
  const view = viewOf(payload)
  const flags = view.getUint8(13)
  if (flags & TCP_RST) return undefined
  const length = payload.length - (view.getUint8(12) >> 4) * 4
  const acknowledged = (flags & 0x10) !== 0
  const reset = new Uint8Array(20)
  const out = viewOf(reset)
  out.setUint16(0, view.getUint16(2))
  out.setUint16(2, view.getUint16(0))
  if (acknowledged) out.setUint32(4, view.getUint32(8))
  // SYN and FIN count as a byte each.
  else out.setUint32(8, (view.getUint32(4) + length + (flags & 1) + ((flags >> 1) & 1)) >>> 0)
  out.setUint8(12, 0x50)
  out.setUint8(13, acknowledged ? TCP_RST : TCP_RST_ACK)
  return withTcpChecksum(to, from, reset)
}

function withTcpChecksum(from: Ipv4, to: Ipv4, segment: Uint8Array): Uint8Array {
  const frame = ipv4Frame(plan.mac, plan.mac, ipv4(from, to, Protocol.TCP, segment))
  completeChecksum(frame)
  return frame.subarray(ETHERNET_HEADER)
}

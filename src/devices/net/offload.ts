/**
 * What a guest may leave to its card: the checksum of TCP and UDP, and cutting a large TCP segment into frames. Done
 * here, so that the network behind sees only finished frames.
 */
import { fold, sum16, viewOf } from './bytes.ts'

export const ETHERNET_HEADER = 14
export const EtherType = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const
export const Protocol = { ICMP: 1, TCP: 6, UDP: 17 } as const

const IPV6_HEADER = 40
/** Hop-by-hop, routing and destination options: {next, length in 8 bytes without the first 8}. */
const optionHeaders = new Set([0, 43, 60])
const CHECKSUM_OFFSET: Readonly<Record<number, number>> = { [Protocol.TCP]: 16, [Protocol.UDP]: 6 }
const TCP_FIN = 1
const TCP_PSH = 8
const TCP_CWR = 0x80

interface Place {
  readonly version: 4 | 6
  readonly protocol: number
  readonly ip: number
  /** Where TCP or UDP begins and where the datagram ends. */
  readonly transport: number
  readonly end: number
}

/** Where things are in a frame with TCP or UDP in it; undefined if there is no such thing, or it is cut off. */
function locate(frame: Uint8Array): Place | undefined {
  if (frame.length < ETHERNET_HEADER + 20) return undefined
  const view = viewOf(frame)
  const ip = ETHERNET_HEADER
  const type = view.getUint16(12)
  if (type === EtherType.IPV4) {
    const length = (view.getUint8(ip) & 15) * 4
    const protocol = view.getUint8(ip + 9)
    const fragment = view.getUint16(ip + 6) & 0x3fff
    if (length < 20 || fragment !== 0) return undefined
    return check(frame, { version: 4, protocol, ip, transport: ip + length, end: ip + view.getUint16(ip + 2) })
  }
  if (type !== EtherType.IPV6 || frame.length < ip + IPV6_HEADER) return undefined
  let protocol = view.getUint8(ip + 6)
  let at = ip + IPV6_HEADER
  while (optionHeaders.has(protocol) && at + 8 <= frame.length) {
    protocol = view.getUint8(at)
    at += 8 + 8 * view.getUint8(at + 1)
  }
  const payload = view.getUint16(ip + 4)
  return check(frame, { version: 6, protocol, ip, transport: at, end: ip + IPV6_HEADER + payload })
}

function check(frame: Uint8Array, place: Place): Place | undefined {
  const { protocol, transport } = place
  const header = protocol === Protocol.TCP ? 20 : protocol === Protocol.UDP ? 8 : Infinity
  return transport + header <= frame.length ? place : undefined
}

/** Fill in the checksum of TCP or UDP. False: there is none in this frame. */
export function completeChecksum(frame: Uint8Array): boolean {
  const place = locate(frame)
  if (!place) return false
  setChecksum(frame, place, Math.min(place.end, frame.length))
  return true
}

function setChecksum(frame: Uint8Array, { version, protocol, ip, transport }: Place, end: number): void {
  const view = viewOf(frame)
  const at = transport + (CHECKSUM_OFFSET[protocol] as number)
  view.setUint16(at, 0)
  const addresses = version === 4 ? sum16(frame, ip + 12, ip + 20) : sum16(frame, ip + 8, ip + 40)
  const checksum = fold(sum16(frame, transport, end, addresses + protocol + (end - transport)))
  view.setUint16(at, checksum === 0 && protocol === Protocol.UDP ? 0xffff : checksum)
}

/** Cut a TCP segment into frames of at most `size` bytes of payload each. Undefined: it is no TCP. */
export function segment(frame: Uint8Array, size: number): Uint8Array[] | undefined {
  const place = locate(frame)
  if (place?.protocol !== Protocol.TCP || size <= 0) return undefined
  const { version, ip, transport } = place
  const view = viewOf(frame)
  const header = transport + (view.getUint8(transport + 12) >> 4) * 4
  if (header < transport + 20 || header > frame.length) return undefined
  const sequence = view.getUint32(transport + 4)
  const id = version === 4 ? view.getUint16(ip + 4) : 0
  const flags = view.getUint8(transport + 13)
  const frames: Uint8Array[] = []
  for (let from = header; from < frame.length || frames.length === 0; from += size) {
    const payload = frame.subarray(from, from + size)
    const last = from + size >= frame.length
    const part = new Uint8Array(header + payload.length)
    part.set(frame.subarray(0, header))
    part.set(payload, header)
    const to = viewOf(part)
    to.setUint32(transport + 4, (sequence + from - header) >>> 0)
    to.setUint8(transport + 13, flags & ~(last ? 0 : TCP_FIN | TCP_PSH) & ~(frames.length === 0 ? 0 : TCP_CWR))
    if (version === 4) {
      to.setUint16(ip + 2, part.length - ip)
      to.setUint16(ip + 4, (id + frames.length) & 0xffff)
      to.setUint16(ip + 10, 0)
      to.setUint16(ip + 10, fold(sum16(part, ip, transport)))
    } else to.setUint16(ip + 4, part.length - ip - IPV6_HEADER)
    setChecksum(part, place, part.length)
    frames.push(part)
  }
  return frames
}

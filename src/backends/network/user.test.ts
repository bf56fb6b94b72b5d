import * as fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { completeChecksum, EtherType, Protocol } from '../../devices/net/offload.ts'
import { fold, sum16, viewOf } from '../../devices/net/bytes.ts'
import { type Ipv4, MAC_BROADCAST, plan } from './addresses.ts'
import { ethernet, icmp, ipv4, ipv4Frame, parseIpv4, parseUdp, udp } from './packets.ts'
import type { NetworkPort } from './port.ts'
import { UserNetwork } from './user.ts'

const MAC = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 1)
const GUEST: Ipv4 = [10, 0, 2, 15]
const ANY: Ipv4 = [0, 0, 0, 0]
const EVERYBODY: Ipv4 = [255, 255, 255, 255]

let port: NetworkPort
let received: Uint8Array[]

function ask(frame: Uint8Array): Uint8Array[] {
  received.length = 0
  port.send(frame)
  return received
}

/** The datagram of the only answer, whose checksums are right. */
function answer(packet: Uint8Array, to: Uint8Array = plan.mac) {
  const [frame, ...others] = ask(ipv4Frame(to, MAC, packet))
  expect(others).toEqual([])
  const datagram = frame && parseIpv4(frame)
  if (!frame || !datagram) throw new Error('no answer')
  return { frame, ...datagram }
}

beforeEach(() => {
  received = []
  port = new UserNetwork().plug()
  port.attach((frame) => received.push(frame))
})

describe('ARP', () => {
  const request = (target: Ipv4, operation = 1) => {
    const packet = new Uint8Array(28)
    packet.set([0, 1, 8, 0, 6, 4, 0, operation])
    packet.set(MAC, 8)
    packet.set(GUEST, 14)
    packet.set(target, 24)
    return ethernet(MAC_BROADCAST, MAC, EtherType.ARP, packet)
  }

  test.each([[plan.gateway], [plan.nameServer]])('who has %s', (target) => {
    const [frame] = ask(request(target))
    if (!frame) throw new Error('no answer')
    expect(frame.subarray(0, 6)).toEqual(MAC)
    expect(Array.from(frame.subarray(20, 22))).toEqual([0, 2])
    expect(frame.subarray(22, 28)).toEqual(plan.mac)
    expect(Array.from(frame.subarray(28, 32))).toEqual(target)
    expect(Array.from(frame.subarray(38, 42))).toEqual(GUEST)
  })

  test('nobody answers for others, or to replies', () => {
    expect(ask(request(GUEST))).toEqual([])
    expect(ask(request([10, 0, 2, 77]))).toEqual([])
    expect(ask(request(plan.gateway, 2))).toEqual([])
  })
})

describe('ICMP', () => {
  const ping = Uint8Array.of(8, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3)

  test('the gateway answers an echo request with what was in it', () => {
    const { from, to, payload } = answer(icmp(GUEST, plan.gateway, ping))
    expect([from, to]).toEqual([plan.gateway, GUEST])
    expect(payload[0]).toBe(0)
    expect(payload.subarray(4)).toEqual(ping.subarray(4))
    expect(fold(sum16(payload))).toBe(0)
  })

  test.each([
    ['another network', [93, 184, 216, 34], 0],
    ['a machine that is not there', [10, 0, 2, 99], 1],
  ] as const)('%s cannot be reached', (_, to, code) => {
    const sent = icmp(GUEST, to, ping)
    const { payload } = answer(sent)
    expect(Array.from(payload.subarray(0, 2))).toEqual([3, code])
    expect(payload.subarray(8)).toEqual(sent.subarray(0, 28))
  })

  test('no error about an error, none about broadcasts', () => {
    expect(ask(ipv4Frame(plan.mac, MAC, icmp(GUEST, [1, 1, 1, 1], Uint8Array.of(3, 1, 0, 0, 0, 0, 0, 0))))).toEqual([])
    expect(
      ask(ipv4Frame(MAC_BROADCAST, MAC, udp(GUEST, EVERYBODY, { source: 1, destination: 2, data: ping }))),
    ).toEqual([])
  })
})

describe('DHCP', () => {
  const message = (type: number, options: readonly number[] = [], mac = MAC) => {
    const data = new Uint8Array(300)
    data.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef])
    data.set(mac, 28)
    data.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options, 255], 236)
    return udp(ANY, EVERYBODY, { source: 68, destination: 67, data })
  }
  const lease = (packet: Uint8Array) => {
    const datagram = answer(packet, MAC_BROADCAST)
    const udpMessage = parseUdp(datagram)
    if (!udpMessage) throw new Error('no UDP')
    expect([udpMessage.source, udpMessage.destination]).toEqual([67, 68])
    expect(datagram.frame.subarray(0, 6)).toEqual(MAC_BROADCAST)
    const { data } = udpMessage
    const options = new Map<number, number[]>()
    for (let at = 240; data[at] !== 255; at += 2 + (data[at + 1] as number))
      options.set(data[at] as number, Array.from(data.subarray(at + 2, at + 2 + (data[at + 1] as number))))
    return { address: Array.from(data.subarray(16, 20)), transaction: viewOf(data).getUint32(4), options }
  }

  test('an address, with router, mask and name server', () => {
    const offer = lease(message(1))
    expect(offer).toMatchObject({ address: GUEST, transaction: 0xdeadbeef })
    expect(offer.options.get(53)).toEqual([2])
    const ack = lease(message(3, [50, 4, ...GUEST, 54, 4, ...plan.gateway]))
    expect(ack.address).toEqual(GUEST)
    expect(Object.fromEntries(ack.options)).toEqual({
      53: [5],
      54: plan.gateway,
      51: [0, 1, 0x51, 0x80],
      1: [255, 255, 255, 0],
      28: [10, 0, 2, 255],
      3: plan.gateway,
      6: plan.nameServer,
    })
  })

  test("another card gets another address, and cannot have the first one's", () => {
    lease(message(1))
    const other = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 2)
    expect(lease(message(1, [], other)).address).toEqual([10, 0, 2, 16])
    expect(lease(message(3, [50, 4, ...GUEST], other)).options.get(53)).toEqual([6])
    expect(lease(message(1)).address).toEqual(GUEST)
  })

  test('what is for another server is not answered', () => {
    expect(ask(ipv4Frame(MAC_BROADCAST, MAC, message(3, [54, 4, 10, 0, 2, 9])))).toEqual([])
  })
})

test('names: the gateway has one, others do not exist', () => {
  const query = (name: string, type = 1) => {
    const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)])
    const data = Uint8Array.of(0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1)
    const reply = parseUdp(answer(udp(GUEST, plan.nameServer, { source: 5000, destination: 53, data })))
    return reply?.data ?? new Uint8Array()
  }
  expect(Array.from(query('gateway').subarray(-4))).toEqual(plan.gateway)
  expect(viewOf(query('gateway', 28)).getUint16(6)).toBe(0)
  expect((query('example.org')[3] as number) & 15).toBe(3)
})

test('TCP and other ports of the gateway are closed', () => {
  const syn = new Uint8Array(20)
  syn.set([0x12, 0x34, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2])
  const frame = ipv4Frame(plan.mac, MAC, ipv4(GUEST, plan.gateway, Protocol.TCP, syn))
  completeChecksum(frame)
  const { frame: reply, payload } = answer(frame.subarray(14))
  expect(viewOf(payload).getUint32(8)).toBe(10)
  expect(payload[13]).toBe(0x14)
  const before = reply.slice()
  completeChecksum(reply)
  expect(reply).toEqual(before)
  const closed = answer(udp(GUEST, plan.gateway, { source: 1, destination: 9, data: new Uint8Array() }))
  expect(Array.from(closed.payload.subarray(0, 2))).toEqual([3, 3])
})

test('two cards see each other, and the gateway only once', () => {
  const network = new UserNetwork()
  const [a, b] = [network.plug(), network.plug()]
  const seen: string[] = []
  a.attach((frame) => seen.push(`a ${frame.length}`))
  b.attach((frame) => seen.push(`b ${frame.length}`))
  a.send(ethernet(MAC_BROADCAST, MAC, 0x88b5, new Uint8Array(10)))
  b.send(ethernet(MAC, MAC, 0x88b5, new Uint8Array(11)))
  a.send(ipv4Frame(plan.mac, MAC, icmp(GUEST, plan.gateway, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0))))
  expect(seen).toEqual(['b 24', 'a 25', 'a 42'])
})

test('garbage is passed over', () => {
  const frames = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc
      .tuple(fc.constantFrom(0x0800, 0x0806, 0x86dd), fc.uint8Array({ maxLength: 80 }))
      .map(([type, payload]) => ethernet(plan.mac, MAC, type, payload)),
    fc
      .tuple(
        fc.constantFrom(1, 6, 17, 2),
        fc.constantFrom(plan.gateway, plan.nameServer, GUEST),
        fc.uint8Array({ maxLength: 300 }),
      )
      .map(([protocol, to, payload]) => ipv4Frame(plan.mac, MAC, ipv4(GUEST, to, protocol, payload))),
    fc
      .tuple(fc.constantFrom(53, 67), fc.uint8Array({ maxLength: 300 }))
      .map(([destination, data]) =>
        ipv4Frame(
          plan.mac,
          MAC,
          udp(GUEST, destination === 53 ? plan.nameServer : plan.gateway, { source: 1, destination, data }),
        ),
      ),
  )
  fc.assert(
    fc.property(frames, (frame) => {
      expect(ask(frame).length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 500 },
  )
})

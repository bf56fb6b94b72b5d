/** The virtio network card as the Launcher has it: a TAP device with IFF_VNET_HDR, over `devices/net`. */
import type { NetworkPort } from '../../../backends/network/port.ts'
import { NetDevice } from '../../../devices/net/net.ts'
import { type Kind, VirtioId } from './device.ts'
import { type Told, virtioRequests } from './requests.ts'
import { joined, LauncherError, type Virtqueue } from './virtqueue.ts'

const INPUT = 0
/** struct virtio_net_hdr. */
const HEADER = 10
const NEEDS_CSUM = 1
/** VIRTIO_NET_HDR_GSO_TCPV4, _TCPV6; bit 7 is ECN. */
const gsoTypes: readonly number[] = [1, 4]
const ECN = 0x80
/**
 * VIRTIO_NET_F_: CSUM, GUEST_CSUM, MAC, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, HOST_TSO4, HOST_TSO6, HOST_ECN; then
 * VIRTIO_F_NOTIFY_ON_EMPTY and VIRTIO_RING_F_INDIRECT_DESC.
 */
const features = [0, 1, 5, 7, 8, 9, 11, 12, 13, 24, 28]

/** `mac`: six bytes. */
export function netKind(
  port: NetworkPort,
  mac: Uint8Array,
  later: (action: () => void) => () => void,
  { rings, name }: Told,
): Kind {
  const net = new NetDevice(port)
  const config = new Uint8Array(8)
  config.set(mac)
  /** Where frames go, while there is a driver. */
  let waiting: Virtqueue | undefined
  const input = (queue: Virtqueue) => {
    for (let frame = net.next; frame; frame = net.next) {
      const chain = queue.take()
      if (!chain) break
      if (chain.out.length > 0) throw new LauncherError('Output buffers in net input queue?')
      net.take()
      const into = joined(chain.in)
      const packet = new Uint8Array(HEADER + frame.length)
      packet.set(frame, HEADER)
      into.write(packet)
      const given = Math.min(packet.length, into.length)
      queue.give(chain.head, given)
      rings.note(virtioRequests.receive, () => [name], BigInt(given))
    }
    queue.trigger()
  }
  const deliver = later(() => waiting && input(waiting))
  return {
    type: VirtioId.NET,
    queues: 2,
    features,
    config,
    service: (queue, index) => {
      if (index === INPUT) return input(queue)
      for (let chain = queue.take(); chain; chain = queue.take()) {
        if (chain.in.length > 0) throw new LauncherError('Input buffers in net output queue?')
        const packet = joined(chain.out).read()
        send(net, packet)
        queue.give(chain.head, 0)
        rings.note(virtioRequests.transmit, () => [name, BigInt(packet.length)], 0n)
      }
      queue.trigger()
    },
    start: ({ queues }) => {
      waiting = queues[INPUT]
      net.start(deliver)
    },
    transfer: (state) => state.part('net', net),
    stop: () => {
      waiting = undefined
      net.stop()
    },
  }
}

/** A packet with its header. Throws LauncherError for what a TAP device refuses. */
function send(net: NetDevice, packet: Uint8Array): void {
  if (packet.length < HEADER) throw new LauncherError('Write to tun failed?')
  const view = new DataView(packet.buffer, packet.byteOffset, HEADER)
  const gso = view.getUint8(1)
  const size = view.getUint16(4, true)
  if (gso !== 0 && (!gsoTypes.includes(gso & ~ECN) || size === 0)) throw new LauncherError('Write to tun failed?')
  net.send({
    bytes: packet.subarray(HEADER),
    blankChecksum: (view.getUint8(0) & NEEDS_CSUM) !== 0,
    segmentSize: gso === 0 ? undefined : size,
  })
}

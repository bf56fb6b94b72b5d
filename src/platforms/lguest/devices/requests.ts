/**
 * What a guest asks of the Launcher's devices, by a chain of buffers on one of their queues (virtio 0.9.5, appendices C to
 * F; Linux's include/uapi/linux/virtio_blk.h).
 */
import type { RingWatch } from '../../../paravirt/observe.ts'
import { type Argument, type Declaration, ringRequest } from '../../../paravirt/requests.ts'

/** Who watches a device's requests, and what it is called there. */
export interface Told {
  readonly rings: RingWatch
  readonly name: string
}

const device: Argument = { name: 'device', type: { kind: 'text' } }
const length: Argument = { name: 'length', type: { kind: 'u32' } }
const text: Argument = { name: 'text', type: { kind: 'text' } }
const sector: Argument = { name: 'sector', type: { kind: 'u64' } }
const IOERR = 'VIRTIO_BLK_S_IOERR'

export const virtioRequests = {
  read: ringRequest({
    number: 0,
    name: 'VIRTIO_BLK_T_IN',
    summary: 'read sectors',
    args: [device, sector, length],
    errors: { [IOERR]: 'sectors beyond the disk, or not whole ones, or the disk has failed' },
    source: 'virtio 0.9.5, appendix D',
  }),
  write: ringRequest({
    number: 1,
    name: 'VIRTIO_BLK_T_OUT',
    summary: 'write sectors, and with a barrier what was written before is safe',
    args: [device, sector, length, { name: 'barrier', type: { kind: 'u8' } }],
    errors: { [IOERR]: 'not whole sectors, a disk that is read-only, or it has failed' },
    source: 'virtio 0.9.5, appendix D',
  }),
  scsi: ringRequest({
    number: 2,
    name: 'VIRTIO_BLK_T_SCSI_CMD',
    summary: 'a command of SCSI',
    args: [device],
    errors: { VIRTIO_BLK_S_UNSUPP: 'always' },
    source: 'virtio 0.9.5, appendix D',
  }),
  receive: ringRequest({
    number: 0,
    name: 'virtio_net.receiveq',
    summary: 'fill a buffer with a frame; told when that is done, with the number of bytes',
    args: [device],
    source: 'virtio 0.9.5, appendix C',
  }),
  transmit: ringRequest({
    number: 1,
    name: 'virtio_net.transmitq',
    summary: 'send a packet: its header and its bytes',
    args: [device, length],
    source: 'virtio 0.9.5, appendix C',
  }),
  type: ringRequest({
    number: 0,
    name: 'virtio_console.receiveq',
    summary: 'fill a buffer with what is typed; told when that is done, with the number of bytes',
    args: [device],
    source: 'virtio 0.9.5, appendix E',
  }),
  show: ringRequest({
    number: 1,
    name: 'virtio_console.transmitq',
    summary: 'show text',
    args: [device, text],
    source: 'virtio 0.9.5, appendix E',
  }),
  random: ringRequest({
    number: 0,
    name: 'virtio_rng.requestq',
    summary: 'fill a buffer with random bytes',
    args: [device, length],
    source: 'virtio 0.9.5, appendix F',
  }),
} as const satisfies Record<string, Declaration>

/**
 * The ports of the Xen platform device (docs/misc/hvm-emulated-unplug; QEMU's xen_platform): by which a guest finds it,
 * says who it is, and has emulated disks and network cards taken away. None are here, so that is only told to those who
 * watch.
 */
import type { Declaration } from '../../../paravirt/requests.ts'

const MAGIC = 0x49d2
const PROTOCOL = 1
const FIRST = 0x10
/** PFFLAG_ROM_LOCK: the area of ROMs cannot be written. */
export const ROM_LOCK = 1

/** What the ports do. */
export interface PlatformPorts {
  flags: number
  /** A byte for the device model's log. */
  log(byte: number): void
}

/** An access of `bytes` bytes to `number`. */
interface PortRequest extends Declaration {
  readonly kind: 'port'
  readonly bytes: 1 | 2 | 4
  readonly read?: (ports: PlatformPorts) => number
  readonly write?: (ports: PlatformPorts, value: number) => void
}

const port = (
  row: Pick<PortRequest, 'number' | 'bytes' | 'name' | 'summary' | 'read' | 'write'> & Partial<PortRequest>,
): PortRequest => ({
  kind: 'port',
  args: row.write ? [{ name: 'value', type: { kind: ({ 1: 'u8', 2: 'u16', 4: 'u32' } as const)[row.bytes] } }] : [],
  errors: {},
  ops: [],
  tier: 'call',
  source: 'Xen: docs/misc/hvm-emulated-unplug.pandoc',
  ...row,
})

export const ports: readonly PortRequest[] = [
  port({
    number: FIRST,
    bytes: 2,
    name: 'XEN_IOPORT_MAGIC',
    summary: 'read: the number by which the device is known, 0x49d2',
    ops: ['machine.detect'],
    read: () => MAGIC,
  }),
  port({
    number: FIRST,
    bytes: 2,
    name: 'XEN_IOPORT_UNPLUG',
    summary: 'write: take emulated devices away; there are none, so nothing happens',
    args: [
      {
        name: 'devices',
        type: { kind: 'flags', bits: { IDE_DISKS: 0, NICS: 1, AUX_IDE_DISKS: 2, NVME_DISKS: 3 } },
      },
    ],
    write: () => {},
  }),
  port({
    number: FIRST,
    bytes: 4,
    name: 'XEN_IOPORT_DRVVER',
    summary: 'write: the version of the guest’s drivers',
    write: () => {},
  }),
  port({
    number: FIRST,
    bytes: 1,
    name: 'XEN_IOPORT_PLATFLAGS',
    summary: 'bit 0: 0xc0000 to 0xfffff cannot be written',
    read: (device) => device.flags,
    write: (device, value) => {
      device.flags = value & ROM_LOCK
    },
  }),
  port({
    number: FIRST + 2,
    bytes: 1,
    name: 'XEN_IOPORT_PROTOVER',
    summary: 'read: version of this protocol, 1',
    ops: ['machine.detect'],
    read: () => PROTOCOL,
  }),
  port({
    number: FIRST + 2,
    bytes: 1,
    name: 'XEN_IOPORT_SYSLOG',
    summary: 'write: a byte for the log of the device model, here the console',
    ops: ['machine.message'],
    write: (device, value) => device.log(value),
  }),
  port({
    number: FIRST + 2,
    bytes: 2,
    name: 'XEN_IOPORT_PRODNUM',
    summary: 'write: the number of the guest’s drivers as a product',
    write: () => {},
  }),
]

/** How many ports from `FIRST` on are the device's, whatever is at them. */
const COUNT = 16
export const isPlatformPort = (number: number): boolean => number >= FIRST && number < FIRST + COUNT

export const portRead = (number: number, bytes: number): PortRequest | undefined =>
  ports.find((row) => row.number === number && row.bytes === bytes && row.read)
export const portWrite = (number: number, bytes: number): PortRequest | undefined =>
  ports.find((row) => row.number === number && row.bytes === bytes && row.write)

/** Requests and responses of network rings (xen/io/netif.h). */
import { type Argument, type Declaration, ringRequest } from '../../../../paravirt/requests.ts'

/** Both requests and extra information are this long on the transmit ring; on the receive ring entries are 8 bytes. */
export const TX_ENTRY = 12
export const RX_ENTRY = 8

export const TxFlag = { CHECKSUM_BLANK: 1, DATA_VALIDATED: 2, MORE_DATA: 4, EXTRA_INFO: 8 } as const
export const RxFlag = { DATA_VALIDATED: 1, CHECKSUM_BLANK: 2, MORE_DATA: 4, EXTRA_INFO: 8 } as const
export const ExtraType = { GSO: 1, MULTICAST_ADD: 2, MULTICAST_DELETE: 3, HASH: 4, XDP: 5 } as const
export const GsoType = { TCPV4: 1, TCPV6: 2 } as const
/** NETIF_RSP_*. */
export const Response = { ERROR: -1, OKAY: 0, NULL: 1 } as const
export const ERROR_NAME = 'NETIF_RSP_ERROR'

/** Slots of a packet: more are dropped (NETBK_LEGACY_SLOTS_MAX), many more are an attack (fatal_skb_slots). */
export const MAX_SLOTS = 18
export const FATAL_SLOTS = 20

export interface TxRequest {
  readonly reference: number
  readonly offset: number
  readonly flags: number
  readonly id: number
  readonly size: number
}

export function decodeTx(bytes: Uint8Array): TxRequest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return {
    reference: view.getUint32(0, true),
    offset: view.getUint16(4, true),
    flags: view.getUint16(6, true),
    id: view.getUint16(8, true),
    size: view.getUint16(10, true),
  }
}

export interface Extra {
  readonly type: number
  readonly more: boolean
  /** GSO. */
  readonly size: number
  readonly gsoType: number
  /** Multicast: a group. */
  readonly address: Uint8Array
}

export function decodeExtra(bytes: Uint8Array): Extra {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return {
    type: view.getUint8(0),
    more: (view.getUint8(1) & 1) !== 0,
    size: view.getUint16(2, true),
    gsoType: view.getUint8(4),
    address: bytes.slice(2, 8),
  }
}

export function encodeTxResponse(id: number, status: number): Uint8Array {
  const bytes = new Uint8Array(4)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, id, true)
  view.setInt16(2, status, true)
  return bytes
}

export function decodeRx(bytes: Uint8Array): { readonly id: number; readonly reference: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return { id: view.getUint16(0, true), reference: view.getUint32(4, true) }
}

export function encodeRxResponse(id: number, flags: number, status: number): Uint8Array {
  const bytes = new Uint8Array(RX_ENTRY)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, id, true)
  view.setUint16(4, flags, true)
  view.setInt16(6, status, true)
  return bytes
}

const argument = (name: string, kind: 'text' | 'u8' | 'u16' | 'u32'): Argument => ({ name, type: { kind } })
const common = [argument('device', 'text'), argument('id', 'u16')]

/** What a guest can ask of its network cards. */
export const netDeclarations = {
  transmit: ringRequest({
    number: 0,
    name: 'netif_tx_request',
    summary: 'send a packet, which is in one or more slots',
    args: [
      ...common,
      argument('size', 'u16'),
      {
        name: 'flags',
        type: { kind: 'flags', bits: { csum_blank: 0, data_validated: 1, more_data: 2, extra_info: 3 } },
      },
      argument('slots', 'u8'),
      argument('gso_size', 'u16'),
    ],
    errors: {
      [ERROR_NAME]: 'less than an Ethernet header, more than 18 slots, slots longer than the packet, a bad grant',
    },
    source: 'xen/io/netif.h',
  }),
  receive: ringRequest({
    number: 1,
    name: 'netif_rx_request',
    summary: 'fill a page with what has arrived; told when that is done, with the number of bytes',
    args: [...common, argument('gref', 'u32')],
    errors: { [ERROR_NAME]: 'a bad grant' },
    source: 'xen/io/netif.h',
  }),
  join: ringRequest({
    number: ExtraType.MULTICAST_ADD,
    name: 'XEN_NETIF_EXTRA_TYPE_MCAST_ADD',
    summary: 'receive what is sent to a group, too',
    args: [...common, argument('addr', 'text')],
    errors: { [ERROR_NAME]: 'there are 64 groups' },
    source: 'xen/io/netif.h',
  }),
  leave: ringRequest({
    number: ExtraType.MULTICAST_DELETE,
    name: 'XEN_NETIF_EXTRA_TYPE_MCAST_DEL',
    summary: 'receive it no more',
    args: [...common, argument('addr', 'text')],
    source: 'xen/io/netif.h',
  }),
} as const satisfies Record<string, Declaration>

/** As people write it. */
export const macText = (address: Uint8Array): string =>
  Array.from(address, (byte) => byte.toString(16).padStart(2, '0')).join(':')

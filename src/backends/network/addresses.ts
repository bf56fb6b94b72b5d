/** Ethernet and IPv4 addresses: bytes, text, and those of the small network (as QEMU's user network has them). */

export type Ipv4 = readonly [number, number, number, number]

export interface Plan {
  readonly network: Ipv4
  /** Bits of the prefix. */
  readonly prefix: number
  readonly gateway: Ipv4
  readonly nameServer: Ipv4
  /** The first address that is given out; the next ones follow. */
  readonly first: Ipv4
  /** How many there are. */
  readonly count: number
  /** The gateway's, and the name server's, which is the same machine. */
  readonly mac: Uint8Array
}

export const plan: Plan = {
  network: [10, 0, 2, 0],
  prefix: 24,
  gateway: [10, 0, 2, 2],
  nameServer: [10, 0, 2, 3],
  first: [10, 0, 2, 15],
  count: 16,
  mac: Uint8Array.of(0x52, 0x55, 10, 0, 2, 2),
}

export const BROADCAST: Ipv4 = [255, 255, 255, 255]
export const MAC_BROADCAST = Uint8Array.of(255, 255, 255, 255, 255, 255)

export const sameBytes = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
  a.length === b.length && Array.prototype.every.call(a, (byte, i) => byte === b[i])

export const ipv4At = (bytes: Uint8Array, at: number): Ipv4 => Array.from(bytes.subarray(at, at + 4)) as unknown as Ipv4

export const ipv4Number = ([a, b, c, d]: Ipv4): number => ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
export const ipv4Of = (value: number): Ipv4 => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]

export const netmask = (prefix: number): number => (prefix === 0 ? 0 : 0xffffffff << (32 - prefix)) >>> 0

/** On the network itself, its broadcast address included. */
export const isLocal = (address: Ipv4, { network, prefix }: Plan): boolean =>
  ((ipv4Number(address) ^ ipv4Number(network)) & netmask(prefix)) === 0

export const localBroadcast = ({ network, prefix }: Plan): Ipv4 =>
  ipv4Of((ipv4Number(network) | ~netmask(prefix)) >>> 0)

/**
 * Port and memory-mapped I/O: who answers which address. What nobody answers reads as all ones and swallows writes,
 * as on a bus that floats high. Values are unsigned; addresses exact to 2^52.
 */

export interface PortDevice {
  read(port: number, size: number): number
  write(port: number, size: number, value: number): void
}

/** `vcpu` is who asks: local APICs answer each processor at the same address. */
export interface MmioDevice {
  read(offset: number, size: number, vcpu: number): number
  write(offset: number, size: number, value: number, vcpu: number): void
}

interface PortEntry {
  readonly device: PortDevice
  readonly width: number
}

const NOBODY: PortEntry = { device: { read: (_, size) => ones(size), write: () => {} }, width: 4 }

export class Ports {
  readonly #entries: PortEntry[] = [NOBODY]
  /** Index in `#entries` of each port's owner. */
  readonly #owner = new Uint16Array(0x10000)

  /** Ports first..last; accesses wider than `width` bytes, or reaching past the device, arrive in halves. */
  register(first: number, last: number, device: PortDevice, width: 1 | 2 | 4 = 1): void {
    this.#owner.fill(this.#entries.length, first, last + 1)
    this.#entries.push({ device, width })
  }

  read(port: number, size: number): number {
    const owner = this.#owner[port & 0xffff]
    const entry = this.#entries[owner]
    if (size === 1 || (size <= entry.width && owner === this.#owner[port + size - 1])) {
      return entry.device.read(port & 0xffff, size)
    }
    const half = size >> 1
    return (this.read(port, half) | (this.read(port + half, half) << (half * 8))) >>> 0
  }

  write(port: number, size: number, value: number): void {
    const owner = this.#owner[port & 0xffff]
    const entry = this.#entries[owner]
    if (size === 1 || (size <= entry.width && owner === this.#owner[port + size - 1])) {
      entry.device.write(port & 0xffff, size, unsigned(value, size))
      return
    }
    const half = size >> 1
    this.write(port, half, value)
    this.write(port + half, half, value >>> (half * 8))
  }
}

interface Region {
  readonly base: number
  readonly end: number
  readonly device: MmioDevice
}

export class Mmio {
  readonly #regions: Region[] = []
  #last: Region | undefined

  register(base: number, length: number, device: MmioDevice): void {
    if (!this.isFree(base, length)) throw new Error(`MMIO regions overlap at 0x${base.toString(16)}`)
    this.#regions.push({ base, end: base + length, device })
  }

  isFree(base: number, length: number): boolean {
    return this.#regions.every((region) => base >= region.end || region.base >= base + length)
  }

  unregister(base: number): void {
    const index = this.#regions.findIndex((region) => region.base === base)
    if (index >= 0) this.#regions.splice(index, 1)
    this.#last = undefined
  }

  read(address: number, size: number, vcpu: number): number {
    const region = this.#find(address)
    return region === undefined ? ones(size) : region.device.read(address - region.base, size, vcpu)
  }

  write(address: number, size: number, value: number, vcpu: number): void {
    const region = this.#find(address)
    if (region !== undefined) region.device.write(address - region.base, size, unsigned(value, size), vcpu)
  }

  #find(address: number): Region | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.base && address < last.end) return last
    for (const region of this.#regions) {
      if (address >= region.base && address < region.end) return (this.#last = region)
    }
    return undefined
  }
}

/** What a bus gives that nobody drives. */
export function ones(size: number): number {
  return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1
}

function unsigned(value: number, size: number): number {
  return size === 4 ? value >>> 0 : value & ones(size)
}

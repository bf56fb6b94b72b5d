/**
 * Ports of a PV guest that has none (xen/arch/x86/pv/emul-priv-op.c, `guest_io_read`, `guest_io_write`): Xen keeps the
 * index of the RTC and the address of PCI configuration for each domain; behind them, as everywhere, all is ones. The
 * virtual PIT is dom0's only.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

const RTC_INDEX = 0x70
const PCI_ADDRESS = 0xcf8

export class PvPorts implements Stateful {
  #rtcIndex = 0
  #pciAddress = 0

  transfer(state: Transfer): void {
    this.#rtcIndex = state.field('rtcIndex', this.#rtcIndex)
    this.#pciAddress = state.field('pciAddress', this.#pciAddress)
  }

  /** 1, 2 or 4 bytes, unsigned. */
  read(port: number, size: number): number {
    if (port === PCI_ADDRESS && size === 4) return this.#pciAddress
    let data = 0
    for (let i = size - 1; i >= 0; i--) data = data * 256 + (port + i === RTC_INDEX ? this.#rtcIndex : 0xff)
    return data
  }

  write(port: number, size: number, value: number): void {
    if (port === PCI_ADDRESS && size === 4) this.#pciAddress = value >>> 0
    else if (port <= RTC_INDEX && port + size > RTC_INDEX) this.#rtcIndex = (value >>> (8 * (RTC_INDEX - port))) & 0xff
  }
}

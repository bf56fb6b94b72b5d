/**
 * PCI configuration mechanism 1 (PCI Local Bus Specification 3.2.2.3.2): CONFIG_ADDRESS at 0xcf8, CONFIG_DATA at
 * 0xcfc. The bus has a host bridge, which Linux wants to see before it trusts the mechanism, and what the platform adds.
 * The reset control register 0xcf9 lies inside CONFIG_ADDRESS and is told apart by the size of the access.
 */
import { ones } from '../../machine/bus.ts'
import type { PortDevice } from '../../machine/bus.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { PciFunction } from './function.ts'

const CONFIG_DATA = 0xcfc
const ENABLE = 0x80000000
const RESET_CONTROL = 0xcf9

const CLASS_HOST_BRIDGE = 0x060000
/** Intel's "virtual host bridge": no chipset quirks are known for it. */
const INTEL = 0x8086
const VIRTUAL_HOST_BRIDGE = 0x0d57

/** A function of a device on bus 0: device << 3 | function. */
export interface PciSlot {
  readonly devfn: number
  readonly function: PciFunction
}

export class PciHost implements PortDevice, Stateful {
  readonly #resetControl: PortDevice
  #address = 0
  /** By bus << 8 | device << 3 | function. */
  readonly #functions = new Map<number, PciFunction>()

  constructor(resetControl: PortDevice, slots: readonly PciSlot[] = []) {
    this.#resetControl = resetControl
    this.#functions.set(0, new PciFunction(INTEL, VIRTUAL_HOST_BRIDGE, CLASS_HOST_BRIDGE, 0))
    for (const slot of slots) this.#functions.set(slot.devfn, slot.function)
  }

  transfer(state: Transfer): void {
    this.#address = state.field('address', this.#address)
    state.parts('functions', [...this.#functions.values()])
  }

  read(port: number, size: number): number {
    if (port < CONFIG_DATA) {
      if (size === 4) return this.#address
      return port === RESET_CONTROL && size === 1 ? this.#resetControl.read(port, 1) : ones(size)
    }
    const target = this.#target()
    return target === undefined ? ones(size) : target.read(this.#register(port), size)
  }

  write(port: number, size: number, value: number): void {
    if (port < CONFIG_DATA) {
      if (size === 4) this.#address = (value & 0x80fffffc) >>> 0
      else if (port === RESET_CONTROL && size === 1) this.#resetControl.write(port, 1, value)
    } else this.#target()?.write(this.#register(port), size, value)
  }

  #target(): PciFunction | undefined {
    return this.#address >= ENABLE ? this.#functions.get((this.#address >> 8) & 0xffff) : undefined
  }

  #register(port: number): number {
    return (this.#address & 0xfc) | (port & 3)
  }
}

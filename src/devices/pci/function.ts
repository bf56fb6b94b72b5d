/** A PCI function's configuration space (PCI Local Bus Specification 6.1): 256 bytes and which bits software can set. */

import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

export class PciFunction implements Stateful {
  readonly #bytes = new Uint8Array(256)
  readonly #writable = new Uint8Array(256)

  constructor(vendor: number, device: number, classCode: number, revision: number) {
    this.define(0x00, 2, vendor)
    this.define(0x02, 2, device)
    this.define(0x08, 1, revision)
    this.define(0x09, 3, classCode)
  }

  transfer(state: Transfer): void {
    state.array('bytes', this.#bytes)
    state.array('writable', this.#writable)
  }

  /** Set a register of 1 to 4 bytes and its writable bits. */
  define(register: number, size: number, value: number, writable = 0): void {
    for (let i = 0; i < size; i++) {
      this.#bytes[register + i] = value >>> (8 * i)
      this.#writable[register + i] = writable >>> (8 * i)
    }
  }

  read(register: number, size: number): number {
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#bytes[register + i]
    return value
  }

  write(register: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const writable = this.#writable[register + i]
      const byte = value >>> (8 * i)
      this.#bytes[register + i] = (this.#bytes[register + i] & ~writable) | (byte & writable)
    }
  }
}

/** A kernel's variables in its memory, by its symbols. */
import type { SymbolTable } from './symbols.ts'

export class GuestMemory {
  readonly symbols: SymbolTable
  readonly wordSize: 4 | 8
  readonly #read: (linear: bigint, length: number) => Uint8Array | undefined

  /** `read` gives bytes at a linear address, undefined where there are none. */
  constructor(symbols: SymbolTable, bits: 32 | 64, read: (linear: bigint, length: number) => Uint8Array | undefined) {
    this.symbols = symbols
    this.wordSize = bits === 64 ? 8 : 4
    this.#read = read
  }

  bytes(address: bigint, length: number): Uint8Array | undefined {
    return this.#read(address, length)
  }

  /** A view of bytes. Throws RangeError where there are none: whoever follows a guest's pointers catches it once. */
  view(address: bigint, length: number): DataView {
    const bytes = this.#read(address, length)
    if (!bytes) throw new RangeError(`nothing is mapped at 0x${address.toString(16)}`)
    return new DataView(bytes.buffer, bytes.byteOffset, length)
  }

  u32(address: bigint): number {
    return this.view(address, 4).getUint32(0, true)
  }

  word(address: bigint): bigint {
    const view = this.view(address, this.wordSize)
    return this.wordSize === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true))
  }

  /** The variable's address. Throws RangeError if the kernel has none of this name. */
  symbol(name: string): bigint {
    const address = this.symbols.address(name)
    if (address === undefined) throw new RangeError(`the kernel has no symbol ${name}`)
    return address
  }
}

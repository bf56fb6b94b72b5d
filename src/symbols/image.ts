/** A kernel's unpacked image by the addresses that it is linked to: what its code was before it patched itself. */
import type { Elf } from '../boot/elf.ts'
import { GuestMemory } from './guest.ts'
import type { SymbolTable } from './symbols.ts'

export function imageMemory({ segments, bits }: Pick<Elf, 'segments' | 'bits'>, symbols: SymbolTable): GuestMemory {
  const starts = ['_text', '_stext'].flatMap((name) => symbols.address(name) ?? [])
  const first = starts.toSorted((a, b) => (a < b ? -1 : 1))[0] ?? 0n
  // The image begins with the kernel's text, and is linked to one distance from where it is loaded.
  const distance = first - BigInt(segments[0]!.address)
  return new GuestMemory(symbols, bits, (address, length) => {
    const physical = Number(address - distance)
    const segment = segments.find((s) => physical >= s.address && physical + length <= s.address + s.size)
    if (!segment) return undefined
    const bytes = new Uint8Array(length)
    bytes.set(segment.bytes.subarray(physical - segment.address, physical - segment.address + length))
    return bytes
  })
}

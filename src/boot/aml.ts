/**
 * As much of AML, the byte code of ACPI, as a table of devices needs (ACPI Specification, "ACPI Machine Language"):
 * names, integers, packages, devices, and the resource descriptors of _CRS.
 */
import { ascii, join, u16, u32 } from './bytes.ts'
import type { Bytes } from './bytes.ts'

export function integer(value: number): Bytes {
  if (value < 2) return [value]
  if (value < 0x100) return [0x0a, value]
  return value < 0x10000 ? join(0x0b, u16(value)) : join(0x0c, u32(value))
}

/** One segment of four characters, after a `\` if it is relative to the root. */
function nameString(name: string): Bytes {
  const segment = name.replace('\\', '')
  return join(name === segment ? [] : ascii('\\'), ascii(segment.padEnd(4, '_')))
}

/** The length that a package begins with counts itself. */
function withLength(body: Bytes): Bytes {
  for (let size = 1; ; size++) {
    const length = body.length + size
    if (size === 1 && length < 0x40) return [length, ...body]
    if (size > 1 && length < 2 ** (4 + 8 * (size - 1))) {
      const lead = ((size - 1) << 6) | (length & 15)
      return [lead, ...Array.from({ length: size - 1 }, (_, i) => (length >> (4 + 8 * i)) & 0xff), ...body]
    }
  }
}

export const name = (path: string, value: Bytes): Bytes => join(0x08, nameString(path), value)
export const scope = (path: string, ...body: Bytes[]): Bytes => join(0x10, withLength(join(nameString(path), ...body)))
export const device = (path: string, ...body: Bytes[]): Bytes =>
  join(0x5b, 0x82, withLength(join(nameString(path), ...body)))
export const packageOf = (...elements: Bytes[]): Bytes => join(0x12, withLength(join(elements.length, ...elements)))

export const method = (path: string, args: number, ...body: Bytes[]): Bytes =>
  join(0x14, withLength(join(nameString(path), args, ...body)))
export const reference = (path: string): Bytes => nameString(path)
/** The first argument of a method. */
export const ARG0: Bytes = [0x68]
export const store = (value: Bytes, path: string): Bytes => join(0x70, value, nameString(path))
export const returned = (value: Bytes): Bytes => join(0xa4, value)
/** What follows is done if the value is not 0. */
export const when = (value: Bytes, ...body: Bytes[]): Bytes => join(0xa0, withLength(join(value, ...body)))

/** "PNP0501" as the compressed integer that _HID wants. */
export function eisaId(id: string): Bytes {
  const letter = (i: number) => id.charCodeAt(i) - 0x40
  const high = (letter(0) << 10) | (letter(1) << 5) | letter(2)
  const low = Number.parseInt(id.slice(3), 16)
  return [0x0c, high >> 8, high & 0xff, low >> 8, low & 0xff]
}

/** A _CRS: descriptors and the end tag, with a checksum of 0 that means none. */
export function resources(...descriptors: Bytes[]): Bytes {
  const bytes = join(...descriptors, 0x79, 0)
  return name('_CRS', join(0x11, withLength(join(integer(bytes.length), bytes))))
}

/** I/O ports at a fixed place. */
export const io = (first: number, count: number): Bytes => join(0x47, 1, u16(first), u16(first), 1, count)

/** An edge-triggered ISA interrupt, active high. */
export const irq = (line: number, shared = false): Bytes => join(0x23, u16(1 << line), shared ? 0x11 : 0x01)

// Address space descriptors: what the bridge passes on, with fixed ends.
const FIXED = 0x0c

export const busNumbers = (first: number, last: number): Bytes => wordSpace(2, 0, first, last)
export const ioWindow = (first: number, last: number): Bytes => wordSpace(1, 3, first, last)

function wordSpace(type: number, flags: number, first: number, last: number): Bytes {
  const range = join(u16(0), u16(first), u16(last), u16(0), u16(last - first + 1))
  return join(0x88, u16(3 + range.length), type, FIXED, flags, range)
}

/** Memory, writable, not cacheable. */
export function memoryWindow(first: number, last: number): Bytes {
  const range = join(u32(0), u32(first), u32(last), u32(0), u32(last - first + 1))
  return join(0x87, u16(3 + range.length), 0, FIXED, 1, range)
}

/** Machine code as data: bytes, with labels for the short jumps among them. */

/** A byte, a place, or the distance from the end of this byte to a place. */
export type Part = number | { readonly label: string } | { readonly to: string }

export const label = (name: string): Part => ({ label: name })
/** The last byte of a short jump. */
export const to = (name: string): Part => ({ to: name })
/** A 32-bit immediate. */
export const dword = (value: number): readonly number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff)

/** Pieces one after another. */
export const pieces = (...parts: readonly (readonly Part[])[]): readonly Part[] => parts.flat()

/** Hand `number` to the host. All registers stay as they are, flags too: it goes by the stack. */
export const tell = (number: number): readonly Part[] =>
  pieces(
    [0x68, ...dword(number)], // push number
    [0x0f, 0x01, 0xc1], // vmcall
    [0x8d, 0x64, 0x24, 0x04], // lea esp, [esp+4]
  )

/** Throws for a label that is missing or too far. */
export function assemble(parts: readonly Part[]): { bytes: readonly number[]; labels: ReadonlyMap<string, number> } {
  const labels = new Map<string, number>()
  let length = 0
  for (const part of parts)
    if (typeof part === 'object' && 'label' in part) labels.set(part.label, length)
    else length++
  const bytes: number[] = []
  for (const part of parts) {
    if (typeof part === 'number') bytes.push(part)
    else if ('to' in part) {
      const distance = (labels.get(part.to) ?? NaN) - (bytes.length + 1)
      if (!(distance >= -128 && distance < 128)) throw new Error(`no short jump reaches ${part.to}`)
      bytes.push(distance & 0xff)
    }
  }
  return { bytes, labels }
}

/** The configuration that a kernel carries (CONFIG_IKCONFIG): gzip between two marks (kernel/configs.c of Linux). */
import { gunzipSync } from 'node:zlib'
import type { Elf } from '../boot/elf.ts'

const BEGIN = 'IKCFG_ST'
const END = 'IKCFG_ED'
/** No configuration is larger; one that says so is a bomb. */
const LARGEST = 4 << 20

/** Its text; undefined: it carries none that can be read. */
export function embeddedConfig({ segments }: Pick<Elf, 'segments'>): string | undefined {
  for (const { bytes } of segments) {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let at = buffer.indexOf(BEGIN); at >= 0; at = buffer.indexOf(BEGIN, at + 1)) {
      const end = buffer.indexOf(END, at)
      if (end < 0) break
      try {
        return gunzipSync(buffer.subarray(at + BEGIN.length, end), { maxOutputLength: LARGEST }).toString('latin1')
      } catch {
        // The marks stand in code, too.
      }
    }
  }
  return undefined
}

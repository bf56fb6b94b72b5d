/**
 * `node test/bisect/patch.ts FOLDER OUT`: the default kernel with the patches in FOLDER (*.json), written to OUT as an
 * ELF vmlinux. A patch replaces bytes in the function or variable of a symbol: a kernel with a history, without a
 * compiler.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeElf } from '../../src/boot/elf.ts'
import { loadKernel } from '../../src/boot/kernel.ts'
import { DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'
import { decodeKallsyms } from '../../src/symbols/kallsyms.ts'

export interface Patch {
  readonly symbol: string
  /** A regular expression for bytes, a character each. */
  readonly find: string
  /** So many characters, latin1. */
  readonly replace: string
}

const [folder, out] = process.argv.slice(2) as [string, string]
const { elf } = await loadKernel(await kernelFile(DEFAULT_KERNEL))
const symbols = decodeKallsyms(elf!)!
const distance = symbols.address('_stext')! - BigInt(elf!.segments[0]!.address)
// The cached image is shared: patches go into a copy.
const segments = elf!.segments.map((segment) => ({ ...segment, bytes: segment.bytes.slice() }))

for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
  const { symbol, find, replace } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Patch
  const start = symbols.address(symbol)
  const end = start === undefined ? undefined : symbols.end(start)
  if (start === undefined || end === undefined) throw new Error(`${name}: the kernel has no ${symbol}`)
  const physical = Number(start - distance)
  const { bytes, address } = segments.find((s) => physical >= s.address && physical < s.address + s.bytes.length)!
  const place = bytes.subarray(physical - address, physical - address + Number(end - start))
  const found = new RegExp(find, 's').exec(Buffer.from(place).toString('latin1'))
  if (!found || found[0].length !== replace.length) throw new Error(`${name}: ${symbol} does not have what it replaces`)
  place.set(Buffer.from(replace, 'latin1'), found.index)
}
writeFileSync(out, writeElf({ ...elf!, segments }))

/** System.map, which nm(1) writes when a kernel is built; /proc/kallsyms looks the same. */
import { readFileSync } from 'node:fs'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import { SymbolTable, type SymbolEntry } from './symbols.ts'

/** Throws InputError for a file that is none. */
export function readSystemMap(path: string): SymbolTable {
  let text: string
  try {
    text = readFileSync(path, 'latin1')
  } catch (error) {
    throw new InputError(`--system-map ${path}: ${fileProblem(error)}`)
  }
  return parseSystemMap(text, `--system-map ${path}`)
}

export function parseSystemMap(text: string, name: string): SymbolTable {
  const entries: SymbolEntry[] = []
  for (const [, address, type, symbol, module] of text.matchAll(/^([\da-f]{8,16}) (\S) (\S+)(?:[ \t]+(\S+))?$/gim))
    if (module === undefined) entries.push({ address: BigInt(`0x${address}`), type: type!, name: symbol! })
  if (entries.length === 0)
    throw new InputError(
      `${name}: not a System.map: no line of address, type and name; Debian has it in the -dbg package`,
    )
  if (entries.every(({ address }) => address === 0n))
    throw new InputError(`${name}: all its addresses are zero; take it as root, or with kernel.kptr_restrict=0`)
  return new SymbolTable(entries)
}

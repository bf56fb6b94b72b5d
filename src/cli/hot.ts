/**
 * `--hot N`: what translated code did in a run: the regions that executed most, with their guest code, how often each
 * block was executed, and where and why control left; with `--hot-wasm FOLDER` their WebAssembly, too.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { interpreter } from '#processor'
import { Disassembler } from '../cpu/disassemble/disassembler.ts'
import { Mode } from '../cpu/layout.ts'
import type { HotExit, HotRegion, Profile } from '../cpu/translator/profile.ts'
import { InputError } from '../errors.ts'

const MOST = 1000

/** How many regions. */
export function parseHot(text: string): number {
  const count = /^\d+$/.test(text.trim()) ? Number(text) : 0
  if (count < 1 || count > MOST) throw new InputError(`--hot '${text}' is not a number from 1 to ${MOST}`)
  return count
}

/** The folder for WebAssembly text, made if it is not there. */
export function prepareFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new InputError(`--hot-wasm ${path}: ${code === 'EEXIST' || code === 'ENOTDIR' ? 'not a folder' : message}`)
  }
}

const number = (n: number) => n.toLocaleString('en-US')
const share = (part: number, of: number) => `${((100 * part) / Math.max(of, 1)).toFixed(1)} %`
const address = (linear: bigint) => linear.toString(16).padStart(8, '0')

/** The listing; `instructions` were executed in the whole run. */
export async function hotLines(
  profile: Profile,
  count: number,
  instructions: number,
  folder: string | undefined,
): Promise<string[]> {
  const { regions, executed, made } = profile.hottest(count)
  const disassembler = new Disassembler(interpreter())
  const lines = [
    `${regions.length} hottest of ${number(made)} regions, which executed ${number(executed)} of ` +
      `${number(instructions)} instructions (${share(executed, instructions)})`,
  ]
  for (const [i, region] of regions.entries()) {
    const listing = regionLines(region, disassembler, executed)
    lines.push('', `#${i + 1}  ${listing[0]}`, ...listing.slice(1))
    if (folder === undefined) continue
    const name = `${String(i + 1).padStart(String(regions.length).length, '0')}-${address(region.linear)}.wat`
    const comment = listing.map((line) => `;; ${line}`.trimEnd())
    writeFileSync(join(folder, name), `${[...comment, ...(await wasmText(region))].join('\n')}\n`)
  }
  return lines
}

function regionLines(region: HotRegion, disassembler: Disassembler, executed: number): string[] {
  const { linear, mode, entries, instructions, exits } = region
  const bits = mode & Mode.LONG ? 64 : 32
  const lines = [
    `${address(linear)}, ${bits}-bit code: ${number(region.executed)} instructions executed ` +
      `(${share(region.executed, executed)} of all translated), ${number(entries)} entries`,
  ]
  for (const exit of exits) lines.push(`  left ${number(exit.count).padStart(13)}  ${exitText(exit)}`)
  for (const { linear: at, bytes, executions } of instructions) {
    const { text } = disassembler.instruction(bytes, 0, at, mode)
    lines.push(`  ${number(executions).padStart(18)}  ${address(at)}  ${text}`)
  }
  return lines
}

function exitText({ reason, detail, linear }: HotExit): string {
  return `${address(linear)}  ${reason}${detail ? ` (${detail})` : ''}`
}

/** The function of a region, with what its module imports. */
async function wasmText({ module, index }: HotRegion): Promise<string[]> {
  const { BinaryReader, WasmDisassembler } = await import('wasmparser')
  const reader = new BinaryReader()
  const bytes = module.slice()
  reader.setData(bytes.buffer, 0, bytes.length)
  const lines = (new WasmDisassembler().disassemble(reader) ?? '').split('\n')
  const name = new RegExp(`"r${index}" \\(func ([^ )]+)\\)`).exec(lines.join('\n'))?.[1]
  const begin = lines.findIndex((line) => line.startsWith(`  (func ${name} (`))
  const end = lines.indexOf('  )', begin)
  const imports = lines.slice(1, begin).filter((line) => line.includes('(import '))
  return ['(module', ...imports, ...lines.slice(begin, end + 1), ')']
}

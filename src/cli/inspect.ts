/** `paravirt inspect`: a kernel told in words, and where it can be run. */
import { loadKernel } from '../boot/kernel.ts'
import { InputError } from '../errors.ts'
import { inspectKernel, type Inspection } from '../inspect/inspect.ts'
import { findKernelPath } from './kernel-path.ts'

export interface InspectOptions {
  readonly config?: true
  readonly json?: true
}

export async function inspect(name: string | undefined, options: InspectOptions): Promise<string[]> {
  const { path, source } = await findKernelPath(name)
  const found = inspectKernel(await loadKernel(path, source))
  if (options.config) {
    if (found.config !== undefined) return found.config.trimEnd().split('\n')
    throw new InputError(`${source}: it carries no configuration (CONFIG_IKCONFIG); Debian has it in /boot/config-*`)
  }
  return options.json
    ? [JSON.stringify({ ...found, config: found.config !== undefined })]
    : inspectionLines(source, found)
}

const hex = (value: number): string => `0x${value.toString(16)}`

function inspectionLines(source: string, found: Inspection): string[] {
  const { version, bits, compression, protocol, image, entries, notes, symbols, knows, config } = found
  const kind = protocol ? `bzImage, boot protocol ${protocol}, ${compression ?? 'uncompressed'}` : 'ELF'
  const size = image ? `; ${(image.bytes / 2 ** 20).toFixed(1)} MiB of memory from ${hex(image.from)}` : ''
  return [
    `${source}: ${version}`,
    `  ${bits} bits, ${kind}${size}`,
    `  entries: ${Object.entries(entries)
      .map(([method, address]) => `${method} ${hex(address)}`)
      .join(', ')}`,
    `  symbols: ${symbols === undefined ? 'none (CONFIG_KALLSYMS)' : symbols.toLocaleString('en-US')}`,
    `  configuration: ${config === undefined ? 'not embedded (CONFIG_IKCONFIG)' : 'embedded; --config prints it'}`,
    `  looks for: ${knows === undefined ? 'not known: its symbols are without data (CONFIG_KALLSYMS_ALL)' : knows.join(', ') || 'no hypervisor'}`,
    ...(notes.length > 0 ? ['  notes for Xen:', ...notes.map((line) => `    ${line}`)] : []),
    '  --on:',
    ...Object.entries(found.platforms).map(
      ([name, reason]) => `    ${name.padEnd(9)} ${reason === undefined ? 'yes' : `no: ${reason}`}`,
    ),
  ]
}

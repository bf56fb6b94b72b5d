/**
 * `npm run determinism -- [KERNEL] [--instructions N]`: deterministic boots, to power-off unless N comes first: by the
 * interpreter alone, in slices of another length, with the translator, and translating whatever is seen. Their
 * registers must be the same at each million of instructions, their RAM at each hundredth.
 */
import { parseArgs } from 'node:util'
import { DEFAULT_KERNEL } from '../src/packages/debian.ts'
import { fingerprint } from './fingerprint.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { instructions: { type: 'string', default: 'Infinity' } },
})
const common = {
  kernel: positionals[0] ?? DEFAULT_KERNEL,
  memory: 512 << 20,
  exec: 'uname -a; ls -lR / | sha256sum',
  instructions: Number(values.instructions),
  ramEvery: 100,
}
const first = await fingerprint({ ...common, translate: false })
console.log(`first boot: ${first.at(-1)!.instructions} instructions`)
const hex = (value: number | undefined) => (value === undefined ? '-' : value.toString(16).padStart(8, '0'))
const text = (at: (typeof first)[number] | undefined) =>
  at ? `${at.instructions} registers ${hex(at.registers)} RAM ${hex(at.ram)}` : 'nothing'
const others = {
  'shorter slices': { every: 250_000, translate: false },
  translator: { translate: true },
  'eager translator': { translate: 'eager' },
} as const
for (const [name, options] of Object.entries(others)) {
  const second = await fingerprint({ ...common, ...options })
  const different = first.findIndex((checkpoint, i) => text(checkpoint) !== text(second[i]))
  if (different < 0 && first.length === second.length) console.log(`${name}: ${first.length} states, all the same`)
  else {
    console.log(`${name}: first difference\n  ${text(first.at(different))}\n  ${text(second.at(different))}`)
    process.exitCode = 1
  }
}

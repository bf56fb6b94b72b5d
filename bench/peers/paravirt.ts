/**
 * `node bench/peers/paravirt.ts KERNEL INITRD MEMORY APPEND`: a machine as the command's, whose end (SIGTERM) prints on
 * stderr, as JSON, what the command does not say: what translating cost.
 */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../../src/boot/kernel.ts'
import { parseMemory } from '../../src/cli/options.ts'
import { Machine } from '../../src/machine/machine.ts'

const [kernel, initrd, memory, cmdline] = process.argv.slice(2) as [string, string, string, string]
const ending = new AbortController()
process.on('SIGTERM', () => ending.abort())
const machine = await Machine.create({
  memory: parseMemory(memory),
  cpu: 'inorder',
  platform: 'native',
  boot: { kernel: await loadKernel(kernel), initrd: readFileSync(initrd), cmdline },
  serial: { com1: (bytes) => void process.stdout.write(bytes) },
})
await machine.run(ending.signal)
const stats = { instructions: machine.stats().instructions, translator: machine.core.translator?.stats }
process.stderr.write(`${JSON.stringify(stats)}\n`)
process.exit(0)

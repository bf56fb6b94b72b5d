/**
 * `node bench/translator.ts [ROUNDS] [--only SET,NAME,...] [--percent N] [--hot N]`: a boot and the bench's programs by
 * the interpreter alone and with the translator, in turn and deterministic, so that both do the same. --percent says
 * how much of a program's full round is done (30), --hot lists the N busiest regions of the last run.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import { programs } from './guest.ts'
import { median, table } from './measure.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    hot: { type: 'string', default: '0' },
    only: { type: 'string', default: '' },
    percent: { type: 'string', default: '30' },
  },
})
const rounds = Number(positionals[0] ?? 1)
const kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
const program = { mode: 0o100755, bytes: readFileSync(programs()) }
const initrd = buildInitramfs({
  busybox: readFileSync(await busyboxFile('amd64')),
  files: new Map([['/programs', program]]),
  exec: `/programs 1 ${values.percent} ${values.only.replaceAll(',', ' ')} >/dev/console`,
})

/** This thread's processor time in seconds: other work on the host counts little. */
function now(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1e6
}

/** Seconds of the boot and of each program. */
async function run(translate: boolean): Promise<{ seconds: Map<string, number>; machine: Machine }> {
  const seconds = new Map<string, number>()
  let line = ''
  let last = now()
  const machine = await Machine.create({
    memory: 512 << 20,
    cpu: 'inorder',
    platform: 'native',
    deterministic: true,
    translate,
    boot: { kernel, initrd, cmdline: 'console=ttyS0 quiet panic=-1' },
    serial: {
      com1(bytes) {
        const lines = (line + Buffer.from(bytes).toString()).split('\n')
        line = lines.pop()!
        for (const text of lines) {
          const at = now()
          const [word, name] = text.trim().split(' ')
          if (word === 'begin' && seconds.size === 0) seconds.set('boot', at - last)
          else if (word === 'end') seconds.set(name!, at - last)
          if (word === 'begin' || word === 'end') last = at
        }
      },
    },
  })
  last = now()
  await machine.run()
  return { seconds, machine }
}

const times = { interpreter: new Map<string, number[]>(), translator: new Map<string, number[]>() }
let machine: Machine | undefined
for (let round = 0; round < rounds; round++)
  for (const translate of [false, true]) {
    const done = await run(translate)
    machine = done.machine
    const into = translate ? times.translator : times.interpreter
    for (const [name, s] of done.seconds) into.set(name, [...(into.get(name) ?? []), s])
  }
const rows = [...times.interpreter].map(([name, list]) => {
  const [one, other] = [median(list), median(times.translator.get(name)!)]
  return [name, (one * 1000).toFixed(0), (other * 1000).toFixed(0), (one / other).toFixed(2)]
})
console.log(table([['milliseconds', 'interpreter', 'translator', 'gain'], ...rows]))
const translator = machine!.core.translator!
console.log(translator.stats)
const hot = translator.list().slice(0, Number(values.hot))
if (hot.length > 0) {
  const line = ({ linear, samples, instructions, bytes }: (typeof hot)[number]) =>
    [linear.toString(16).padStart(16, '0'), samples, instructions, bytes].map(String)
  console.log(table([['region', 'samples', 'instructions', 'bytes'], ...hot.map(line)]))
}

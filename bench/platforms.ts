/**
 * `node bench/platforms.ts [--kernel FILE] [ROUNDS] [PLATFORM...]`: the same kernel, initramfs and vCPUs on each platform in turn, from
 * the start of the process to init's first line, by processor time; then what the guest did that a hypervisor without
 * paravirtualization would have had to trap, against what it asked for instead, in batches (sensitive.ts). ROUNDS 0: only this.
 */
import { parseArgs } from 'node:util'
import { DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import type { PlatformName } from '../src/platforms/index.ts'
import { measureUntil, median, type Sample, table, verdict } from './measure.ts'
import { command } from './peers.ts'
import { count, type Counted, rows } from './sensitive.ts'

const FIRST_LINE = 'paravirt: user space'
const APPEND = 'cryptomgr.notests'
/** Issue 5: times native. */
const GOAL = 1.5

const { values, positionals } = parseArgs({ allowPositionals: true, options: { kernel: { type: 'string' } } })
const [rounds = '7', ...chosen] = positionals
const platforms = chosen.length > 0 ? chosen : ['native', 'kvm', 'xen-pvh', 'xen-pv']
const kernel = values.kernel ?? (await kernelFile(DEFAULT_KERNEL))
const samples = new Map<string, Sample[]>(platforms.map((platform) => [platform, []]))
for (let round = 0; round < Number(rounds); round++)
  for (const [platform, taken] of samples) {
    const ours = await command('run', kernel, '--on', platform, '--append', APPEND, '--stats')
    taken.push(await measureUntil(FIRST_LINE, ours.command, ours.args))
  }

const instructionsOf = ({ errors }: Sample) => Number(/(\d+) instructions/.exec(errors)?.[1] ?? 0)
const columns = [...samples].map(([platform, taken]) => ({
  platform,
  cpu: median(taken.map(({ cpu }) => cpu)),
  wall: median(taken.map(({ wall }) => wall)),
  instructions: median(taken.map(instructionsOf)),
}))
const first = columns[0] as (typeof columns)[number]
if (Number(rounds) > 0) {
  console.log(`boot to init's first line, ${values.kernel ?? DEFAULT_KERNEL}, 1 vCPU, ${APPEND}; medians of ${rounds}`)
  console.log(
    table([
      ['', ...columns.map(({ platform }) => platform)],
      ['CPU, s', ...columns.map(({ cpu }) => cpu.toFixed(2))],
      [`of ${first.platform}'s`, ...columns.map(({ cpu }) => (cpu / first.cpu).toFixed(2))],
      ['wall, s', ...columns.map(({ wall }) => wall.toFixed(2))],
      ['instructions, 10^6', ...columns.map(({ instructions }) => (instructions / 1e6).toFixed(0))],
    ]),
  )
  const pv = columns.find(({ platform }) => platform === 'xen-pv')
  if (pv) verdict(`xen-pv at most ${GOAL} of ${first.platform}'s time`, pv.cpu <= GOAL * first.cpu)
}

const counts: Counted[] = []
for (const platform of platforms) counts.push(await count(platform as PlatformName, kernel, APPEND))
const row = (name: string, cell: (each: Counted) => number) => [name, ...counts.map((each) => String(cell(each)))]
console.log('\na boot that runs one command: what trap-and-emulate would have to trap')
console.log(
  table([
    ['', ...counts.map(({ platform }) => platform)],
    ...rows.map((name) => row(name, ({ done }) => done.get(name) as number)),
    row('all of it', ({ done }) => [...done.values()].reduce((sum, each) => sum + each, 0)),
  ]),
)
console.log('\nand what the hypervisor is asked instead')
console.log(
  table([
    ['', ...counts.map(({ platform }) => platform)],
    row('operations asked for', ({ wishes }) => wishes),
    row('requests, batches as one', ({ requests }) => requests),
    [
      'operations in a request',
      ...counts.map(({ wishes, requests }) => (requests > 0 ? (wishes / requests).toFixed(2) : '-')),
    ],
  ]),
)

/**
 * `npm run bench:browser -- [ROUNDS] [--only SET,NAME,...] [--repeat N]`: the same boot and programs in Node and in a
 * worker of a page in headless Chromium, in turn.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildWeb } from '../scripts/web/build.ts'
import { openChromium } from '../scripts/web/chromium.ts'
import { serve } from '../scripts/web/server.ts'
import type { Guest } from './guest.ts'
import { prepareGuest } from './guest.ts'
import type { Line, Sample } from './measure.ts'
import { measureUntil, median, peakMemory, table, threadTime } from './measure.ts'
import { paravirt } from './peers.ts'
import { bySet, figure, middle, work } from './work.ts'

/** How many times as long as in Node it may take. */
const GOAL = 1.3

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, repeat: { type: 'string', default: '5' } },
})
const rounds = Number(positionals[0] ?? 1)
const task = [options.repeat, '100', ...options.only.split(',').filter((name) => name !== '')]

const folder = mkdtempSync(join(tmpdir(), 'paravirt-web-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
await buildWeb(folder)
let version = ''

/** From the page's first request to the line that says that all is done. */
async function inChromium(guest: Guest): Promise<Sample> {
  const server = await serve(folder, { kernel: guest.kernel, initrd: guest.initrd })
  const chromium = await openChromium()
  try {
    version = chromium.version
    const { page } = chromium
    const cpu = () => chromium.renderers().reduce((sum, pid) => sum + threadTime(pid), 0)
    const lines: Line[] = []
    let partial = ''
    const done = new Promise<void>((resolve, reject) => {
      page.on('pageerror', reject)
      page.on('close', reject)
      void page.exposeFunction('onOutput', (text: string, milliseconds: number) => {
        const whole = (partial + text).split('\n')
        partial = whole.pop()!
        for (const line of whole) lines.push({ text: line.trimEnd(), at: milliseconds / 1000, cpu: cpu() })
        if (lines.at(-1)?.text === 'bench: done') resolve()
      })
    })
    await page.goto(`${server.url}?cmdline=${encodeURIComponent(guest.append)}&memory=${parseInt(guest.memory, 10)}`)
    await done
    const peak = Math.max(...chromium.renderers().map(peakMemory))
    const { at, cpu: spent } = lines.at(-1)!
    await page.evaluate('machine.stop()')
    const errors = await page.evaluate<string>('machine.ended.then(({ translator }) => translator)')
    return { wall: at, cpu: spent, peak, lines, errors }
  } finally {
    await chromium.close()
    server.close()
  }
}

const guest = await prepareGuest({ extra: 'quiet rdinit=/bench', work: task })
const node = await paravirt(guest)
const samples: Record<'node' | 'chromium', Sample[]> = { node: [], chromium: [] }
for (let round = 0; round < rounds; round++) {
  samples.node.push(await measureUntil('bench: done', node.command, node.args))
  samples.chromium.push(await inChromium(guest))
}

console.log(`\nNode ${process.version} and Chromium ${version}: milliseconds, medians of ${rounds}`)
const INIT = 'paravirt: user space'
const boot = (list: readonly Sample[]) => median(list.map(({ lines }) => lines.find(({ text }) => text === INIT)!.at))
const milliseconds = (seconds: number) => (seconds * 1000).toFixed(0)
const bootTimes = [boot(samples.node), boot(samples.chromium)] as const

const runs = {
  node: samples.node.map(({ lines }) => work(lines)),
  chromium: samples.chromium.map(({ lines }) => work(lines)),
}
const kinds = [...runs.node[0]!]
const steady = (where: keyof typeof runs, name: string, clock: 'wall' | 'cpu') =>
  middle(runs[where].map((run) => figure(run.get(name)![clock]))).steady
const ratio = (name: string, clock: 'wall' | 'cpu') => steady('chromium', name, clock) / steady('node', name, clock)
const same = (name: string) => new Set([...runs.node, ...runs.chromium].map((run) => run.get(name)?.check)).size === 1
const rows = kinds.map(([name]) => [
  name,
  milliseconds(steady('node', name, 'wall')),
  milliseconds(steady('chromium', name, 'wall')),
  ratio(name, 'wall').toFixed(2),
  ratio(name, 'cpu').toFixed(2),
  same(name) ? 'same' : 'DIFFERENT',
])
if (rows.some((row) => row.at(-1) !== 'same')) process.exitCode = 1
const bootRow = ['boot', ...bootTimes.map(milliseconds), (bootTimes[1] / bootTimes[0]).toFixed(2), '', '']
console.log(table([['', 'node', 'chromium', 'ratio', 'by CPU', 'results'], bootRow, ...rows]))

const means = (clock: 'wall' | 'cpu') =>
  bySet(new Map(kinds.map(([name, { set }]) => [name, { set, value: ratio(name, clock) }])))
const [wall, cpu] = [means('wall'), means('cpu')]
const lines = [...wall].map(([set, mean]) => [
  set,
  mean.toFixed(2),
  cpu.get(set)!.toFixed(2),
  mean <= GOAL ? 'met' : 'missed',
])
console.log(`\ngeometric means (chromium/node), goal ${GOAL}`)
console.log(table([['set', 'ratio', 'by CPU', ''], ...lines]))
for (const [where, list] of Object.entries(samples)) {
  const peak = Math.max(...list.map((sample) => sample.peak))
  console.log(`${where}: peak memory ${peak.toFixed(0)} MiB; ${list.map(({ errors }) => errors.trim()).join('; ')}`)
}

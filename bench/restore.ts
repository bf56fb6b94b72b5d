/**
 * `npm run bench:restore`: how much sooner a restored shell answers than one that boots, on each platform. Each time a
 * process of its own, in turn; the time is that of its processors (and on the wall) from its start until the answer.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Machine, platforms, type PlatformName } from '../src/index.ts'
import { median } from './measure.ts'

const ROUNDS = 3
const GOAL = 20

interface Times {
  readonly cpu: number
  readonly wall: number
}

/** In a process of its own: until the shell on the console has answered. */
async function answer(how: string, what: string): Promise<void> {
  const machine = how === 'boot' ? await Machine.boot({ on: what as PlatformName }) : await Machine.restore(what)
  if (how === 'boot') await machine.console.waitFor('~ # ')
  machine.console.write('echo $((6 * 7))\n')
  await machine.console.waitFor(/^42\r$/m)
  const { user, system } = process.cpuUsage()
  process.stdout.write(JSON.stringify({ cpu: (user + system) / 1e6, wall: performance.now() / 1000 } satisfies Times))
  process.exit()
}

async function compare(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-restore-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const child = (how: string, what: string) =>
    JSON.parse(execFileSync(process.execPath, [import.meta.filename, how, what], { encoding: 'utf8' })) as Times
  console.log('platform   MiB   boot s (CPU)   restore s (CPU)   times sooner (CPU)')
  for (const on of platforms) {
    const file = join(folder, `${on}.snap`)
    const machine = await Machine.boot({ on })
    await machine.console.waitFor('~ # ')
    const bytes = new Uint8Array(await new Response(machine.snapshot()).arrayBuffer())
    await machine.stop()
    writeFileSync(file, bytes)
    const rounds = Array.from({ length: ROUNDS }, () => ({ boot: child('boot', on), restore: child('restore', file) }))
    const of = (how: 'boot' | 'restore', clock: keyof Times) => median(rounds.map((round) => round[how][clock]))
    const times = (clock: keyof Times) => of('boot', clock) / of('restore', clock)
    const both = (how: 'boot' | 'restore') => `${of(how, 'wall').toFixed(2)} (${of(how, 'cpu').toFixed(2)})`
    console.log(
      `${on.padEnd(9)} ${(bytes.length / 2 ** 20).toFixed(1).padStart(5)}   ${both('boot').padEnd(13)}  ${both('restore').padEnd(16)}  ` +
        `${times('wall').toFixed(1)} (${times('cpu').toFixed(1)})${times('wall') < GOAL ? `, less than ${GOAL}` : ''}`,
    )
  }
}

const [how, what] = process.argv.slice(2)
if (how === undefined || what === undefined) await compare()
else await answer(how, what)

/**
 * `npm run bench:restore [ROUNDS] [PLATFORM...]`: how much sooner a restored shell answers than one that boots, on each
 * platform. In a program that has booted a machine, by the library; and as a command of the published package, from the
 * start of its process. Times are the processors' and, in brackets, those on the wall.
 */
import { spawn, execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleForNode, root } from '../scripts/bundle.ts'
import { Machine, platforms, type PlatformName } from '../src/index.ts'
import { median } from './measure.ts'

const GOAL = 20
/** Clock ticks in a second: what /proc counts in. */
const TICKS = 100
/** The default kernel has no way into these. */
const OTHER_KERNELS: readonly PlatformName[] = ['vmi', 'lguest', 'xen-pv32']
const COMMAND = 'echo $((6 * 7))\n'
const ANSWER = /^42\r$/m
const PROMPT = '~ # '

/** Seconds. */
interface Time {
  readonly cpu: number
  readonly wall: number
}

interface Library {
  readonly boot: Time
  readonly shell: Time[]
  readonly exec: Time[]
}

async function timed(work: () => Promise<unknown>): Promise<Time> {
  const [cpu, wall] = [process.cpuUsage(), performance.now()]
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return { cpu: (user + system) / 1e6, wall: (performance.now() - wall) / 1000 }
}

/** In a process of its own: boots, saves into `file`, restores some times. */
async function library(on: PlatformName, file: string, rounds: number): Promise<Library> {
  let machine!: Machine
  const ask = async () => {
    machine.console.write(COMMAND)
    await machine.console.waitFor(ANSWER)
  }
  const boot = await timed(async () => {
    machine = await Machine.boot({ on })
    await machine.console.waitFor(PROMPT)
    await ask()
  })
  writeFileSync(file, new Uint8Array(await new Response(machine.snapshot()).arrayBuffer()))
  await machine.stop()
  const again = async (answered: () => Promise<unknown>) => {
    const time = await timed(async () => {
      machine = await Machine.restore(file)
      await answered()
    })
    await machine.stop()
    return time
  }
  const [shell, exec]: Time[][] = [[], []]
  for (let round = 0; round < rounds; round++) {
    shell.push(await again(ask))
    exec.push(await again(() => machine.exec(COMMAND)))
  }
  return { boot, shell, exec }
}

/** `paravirt ARGUMENTS`, from its start until the shell on its terminal has answered. */
async function command(bin: string, ...args: string[]): Promise<Time> {
  const start = performance.now()
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['pipe', 'pipe', 'ignore'] })
  let output = ''
  let asked = args[0] === 'restore'
  if (asked) child.stdin.write(COMMAND)
  for await (const bytes of child.stdout as AsyncIterable<Buffer>) {
    output += bytes.toString('latin1')
    if (!asked && output.includes(PROMPT)) asked = child.stdin.write(COMMAND) || true
    if (ANSWER.test(output)) break
  }
  const wall = (performance.now() - start) / 1000
  // proc(5): utime and stime are the fields 14 and 15 of stat, the third comes after the name.
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  child.kill('SIGKILL')
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS, wall }
}

const middle = (times: readonly Time[]): Time => ({
  cpu: median(times.map(({ cpu }) => cpu)),
  wall: median(times.map(({ wall }) => wall)),
})
const text = ({ cpu, wall }: Time) => `${cpu.toFixed(2)} (${wall.toFixed(2)})`
const sooner = (boot: Time, restored: Time) => {
  const times = boot.cpu / restored.cpu
  return `${times.toFixed(1)}${times < GOAL ? ` < ${GOAL}` : ''}`
}

async function compare(rounds: number, which: readonly PlatformName[]): Promise<void> {
  // Its dependencies are found from there.
  const folder = mkdtempSync(join(root, 'node_modules/.bench-restore-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const part of ['bin', 'package.json']) cpSync(join(root, part), join(folder, part), { recursive: true })
  await bundleForNode(join(folder, 'dist'))
  const bin = join(folder, 'bin/paravirt.cjs')
  const row = (cells: readonly string[]) =>
    console.log(
      cells
        .map((cell) => cell.padEnd(16))
        .join('')
        .trimEnd(),
    )
  row(['platform', 'how', 'boot s', 'restored s', 'times sooner'])
  for (const on of which) {
    const file = join(folder, `${on}.snap`)
    const self = [import.meta.filename, '--library', on, file, String(rounds)]
    const measured = JSON.parse(execFileSync(process.execPath, self, { encoding: 'utf8' })) as Library
    for (const how of ['shell', 'exec'] as const) {
      const restored = middle(measured[how])
      row([on, `library, ${how}`, text(measured.boot), text(restored), sooner(measured.boot, restored)])
    }
    // The first of each fills caches.
    await command(bin, 'restore', file)
    const pairs: { boot: Time; restored: Time }[] = []
    for (let round = 0; round < rounds; round++)
      pairs.push({
        boot: await command(bin, 'run', '--on', on),
        restored: await command(bin, 'restore', file),
      })
    const boot = middle(pairs.map((pair) => pair.boot))
    const restored = middle(pairs.map((pair) => pair.restored))
    row([on, 'command', text(boot), text(restored), sooner(boot, restored)])
  }
}

const args = process.argv.slice(2)
if (args[0] === '--library') {
  const [, on, file, rounds] = args as [string, PlatformName, string, string]
  process.stdout.write(JSON.stringify(await library(on, file, Number(rounds))), () => process.exit())
} else {
  const named = args.filter((word) => (platforms as readonly string[]).includes(word)) as PlatformName[]
  const which = named.length > 0 ? named : platforms.filter((platform) => !OTHER_KERNELS.includes(platform))
  await compare(Number(args.find((word) => /^\d+$/.test(word)) ?? 3), which)
}

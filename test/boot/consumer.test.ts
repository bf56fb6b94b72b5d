/** The package as somebody else's project gets it: packed, installed, its types checked strictly, and used. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const project = mkdtempSync(join(tmpdir(), 'paravirt-consumer-'))
const run = promisify(execFile)
afterAll(() => rmSync(project, { recursive: true }))

const program = `
import { BootError, InputError, Machine, platforms, type BootOptions, type ExecResult, type PlatformName } from 'paravirt'

const options: BootOptions = { kernel: new Uint8Array(), on: 'kvm', memory: '256M', signal: AbortSignal.timeout(5000) }
export const name: PlatformName = 'hyperv'
// @ts-expect-error there is no such platform
export const wrong: PlatformName = 'virtualbox'
// @ts-expect-error an option that does not exist
export const unknown: BootOptions = { kernal: 'vmlinux' }

export async function use(machine: Machine): Promise<void> {
  const text: ExecResult<string> = await machine.exec('true')
  const bytes: ExecResult<Uint8Array> = await machine.exec('true', { encoding: 'bytes', stdin: text.stdout })
  machine.hook({ cpuid: 1 }, ({ leaf, subleaf, proceed }) => (leaf === subleaf ? proceed() : [0, 0, 0, 0]))
  machine.hook({ msr: [0x10, 0x1b] }, (call) => (call.access === 'read' ? 5n : '#GP'))
  // @ts-expect-error a leaf has four words
  machine.hook({ cpuid: 'all' }, () => [1, 2])
  machine.on('exit', ({ reason }) => reason.kind)
  // @ts-expect-error there is no such event
  machine.on('boot', () => {})
  const snapshot: ReadableStream<Uint8Array> = machine.snapshot()
  await using other: Machine = await Machine.restore(snapshot, { paused: true })
  await other.writeFile('/tmp/x', bytes.stdout)
}

console.log(platforms.includes('native'))
await Machine.boot(options).catch((error: unknown) => console.log(error instanceof BootError, error instanceof InputError))
await Machine.boot({ memory: '1 potato' }).catch((error: unknown) => console.log((error as Error).message))
`

beforeAll(async () => {
  const npm = { cwd: root, env: { ...process.env, npm_config_loglevel: 'error' } }
  await run('npm', ['pack', '--pack-destination', project], npm)
  const { name, version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    name: string
    version: string
    dependencies: Record<string, string>
  }
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, name), { recursive: true })
  await run('tar', ['xzf', `${name}-${version}.tgz`, '--strip-components=1', '-C', join(modules, name)], {
    cwd: project,
  })
  // As npm would install them, but from here.
  for (const dependency of [...Object.keys(dependencies), '@types/node', 'undici-types']) {
    mkdirSync(dirname(join(modules, dependency)), { recursive: true })
    symlinkSync(join(root, 'node_modules', dependency), join(modules, dependency))
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(project, 'main.ts'), program)
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        exactOptionalPropertyTypes: true,
        module: 'nodenext',
        target: 'es2024',
        lib: ['esnext', 'dom'],
        types: ['node'],
        outDir: 'out',
      },
      files: ['main.ts'],
    }),
  )
}, 600_000)

test('its declarations are right by themselves and for who uses them', async () => {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, '-p', '.'], { cwd: project }).catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toBe('')
}, 200_000)

test('the command runs, and so does its worker', async () => {
  const home = join(project, 'node_modules/paravirt')
  const paravirt = (...args: string[]) =>
    run(process.execPath, [join(home, 'bin/paravirt.cjs'), ...args], { cwd: project, timeout: 100_000 })
  expect((await paravirt('--version')).stdout).toBe(
    `${(JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string }).version}\n`,
  )
  expect((await paravirt('demo')).stdout).toContain('xen-pv')
  const { stdout } = await paravirt('matrix', join(home, 'dist/pvops64.elf'), '--platforms', 'kvm', '--json').catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toContain('"power-off"')
}, 200_000)

test('it works there', async () => {
  const { stdout } = await run(process.execPath, ['out/main.js'], { cwd: project, timeout: 100_000 })
  expect(stdout).toBe('true\ntrue true\nMachine.boot: memory: is not a whole number of MiB\n')
}, 200_000)

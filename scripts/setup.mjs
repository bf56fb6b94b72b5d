/**
 * Makes a fresh clone ready, then runs the given script on the project's own Node:
 * `node scripts/setup.mjs [--packages=a,b] [script args...]`. Plain JavaScript without dependencies, because it is
 * what runs before anything is installed, on whatever Node the machine has (20 or newer).
 */
// @ts-check
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
const nodeBinary = join(modules, '.bin', 'node')

/** @param {string} text */
const say = (text) => process.stderr.write(`setup: ${text}\n`)

/** @param {string} text @returns {never} */
function fail(text) {
  say(text)
  process.exit(1)
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
function run(command, args, env = process.env) {
  // Progress goes to stderr, so that stdout stays the started program's.
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] })
  if (error) fail(`${command}: ${error.message}`)
  return status === 0
}

/** @param {string} path @returns {Record<string, { version?: string, optional?: boolean }>} */
const lockedPackages = (path) => JSON.parse(readFileSync(path, 'utf8')).packages

/** Whether node_modules holds exactly what the lock file says: versions are compared, not dates. */
function installed() {
  try {
    const want = lockedPackages(join(root, 'package-lock.json'))
    const have = lockedPackages(join(modules, '.package-lock.json'))
    for (const [name, { version, optional }] of Object.entries(want))
      if (name !== '' && !optional && have[name]?.version !== version) return false
    return existsSync(nodeBinary)
  } catch {
    return false
  }
}

/** Installs the Debian packages that are missing. @param {string[]} names */
function installDebianPackages(names) {
  const missing = names.filter((name) => {
    const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' })
    return !stdout?.endsWith(' installed')
  })
  if (missing.length === 0) return
  const list = missing.join(' ')
  if (spawnSync('apt-get', ['--version']).error) fail(`this needs the Debian packages ${list}, and there is no apt-get`)
  if (process.getuid?.() !== 0)
    fail(`this needs Debian packages; run: sudo apt-get install --no-install-recommends ${list}`)
  say(`installing Debian packages: ${list}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '-q', '--no-install-recommends', ...missing]
  // A fresh machine has no package lists, an old one has stale ones: fetch them only if the first try fails.
  if (!run('apt-get', install, env) && !(run('apt-get', ['update', '-q'], env) && run('apt-get', install, env)))
    fail(`apt-get could not install ${list}`)
}

const [first, ...rest] = process.argv.slice(2)
const packages = first?.startsWith('--packages=') ? first.slice('--packages='.length).split(',') : []
const command = packages.length > 0 || first === undefined ? rest : [first, ...rest]

if (!installed()) {
  say('installing npm packages (first run, or the lock file changed)')
  if (!run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])) fail('npm ci failed')
  // The `node` package fetches its binary in an install script, which npm can be told not to run.
  if (!existsSync(nodeBinary)) run('npm', ['rebuild', 'node', '--ignore-scripts=false', '--loglevel=error'])
  if (!installed()) fail('npm ci left node_modules incomplete')
  say('npm packages are installed')
}
installDebianPackages(packages)

if (command.length > 0) {
  const child = spawn(nodeBinary, command, { stdio: 'inherit' })
  child.on('error', (error) => fail(error.message))
  // Ctrl-C reaches both processes by the terminal; what is sent to this one only is passed on. The child decides.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGQUIT'])) process.on(signal, () => {})
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (signal ? constants.signals[signal] : 0)))
}

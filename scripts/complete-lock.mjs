/**
 * Completes package-lock.json after `npm install PACKAGE`. Where a registry does not carry the builds of a tool for
 * other platforms, npm leaves these optional packages out of the lock file, and `npm ci` then calls it out of sync.
 * They are pinned by their dependents, so their entries can be written without asking anyone.
 */
// @ts-check
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const systems = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32']
const processors = ['arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']
let added = 0

for (const dependent of Object.values(lock.packages))
  for (const [name, version] of Object.entries(dependent.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key]) continue
    const words = name.split(/[-/]/)
    const os = systems.filter((system) => words.includes(system))
    const cpu = processors.filter((processor) => words.includes(processor))
    if (os.length === 0 || cpu.length === 0 || !/^\d/.test(version))
      throw new Error(`${name}@${version}: not a platform's build of a tool`)
    const libc = words.includes('musl') ? { libc: ['musl'] } : {}
    lock.packages[key] = { version, cpu, ...(dependent.dev ? { dev: true } : {}), ...libc, optional: true, os }
    added++
  }

const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1))
lock.packages = Object.fromEntries(sorted)
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} entries added\n`)

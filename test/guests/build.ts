/** Builds the test kernels of guests/ with the system's C compiler, into the cache. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { basename, join } from 'node:path'
import { cacheFolder } from '../../src/cache.ts'

const folder = join(import.meta.dirname, '../../guests')
const lib = join(folder, 'lib')

/** The test kernels by name; 32-bit ones end in 32, the others in 64. */
export const guests = readdirSync(folder)
  .filter((name) => name.endsWith('.c'))
  .map((name) => name.slice(0, -2))

const flags = (
  '-O1 -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -fcf-protection=none ' +
  '-fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-toplevel-reorder -mgeneral-regs-only -Wall -Werror -Wl,--build-id=none ' +
  '-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments'
).split(' ')

/** Path of the built kernel: an ELF file with a PVH entry. `name` may lie in a folder of guests/. */
export function buildGuest(name: string, bits = name.endsWith('32') ? 32 : 64): string {
  const sources = [join(folder, `${name}.c`), join(lib, `start${bits}.S`), join(lib, 'guest.c')]
  if (bits === 64) sources.push(join(lib, 'long.c'))
  else sources.push(join(lib, 'protected.c'), join(lib, 'real.S'), join(lib, 'real.c'))
  const options = [`-m${bits}`, '-I', lib, '-T', join(lib, 'guest.ld'), ...(bits === 64 ? ['-mno-red-zone'] : [])]
  // A PVH guest of Xen has no serial port, but Xen's debug console; firmware of an HVM guest has the device model's log.
  if (name.includes('xen-pvh')) options.push('-DCONSOLE_PORT=0xe9')
  if (name.includes('xen-hvm')) options.push('-DCONSOLE_PORT=0x12')
  const used = [
    join(folder, 'platforms/xen-pvh-calls64.c'),
    ...['guest.h', 'guest.ld'].map((file) => join(lib, file)),
    ...headers,
  ]
  if (name.includes('-calls')) sources.push(...asking)
  return compile(basename(name), options, sources, used)
}

const xen = join(folder, 'xen')
const xenOptions = ['-m64', '-mno-red-zone', '-mcmodel=kernel', '-T', join(xen, 'guest.ld')]
/** What guests of Xen of all kinds ask. */
const asking = ['xen-calls.c', 'xen-rings.c'].map((file) => join(lib, file))
const headers = ['xen-calls.h', 'xen-rings.h'].map((file) => join(lib, file))
const filesIn = (place: string) => readdirSync(place).map((file) => join(place, file))

/**
 * Path of the kernel for Xen PV in guests/xen. What it notes depends on where its code lies, so that its image must stay
 * as it was when real answers were recorded.
 */
export function buildXenGuest(): string {
  const files = filesIn(xen).filter((file) => /\.\w+$/.test(file))
  return compile('xen', xenOptions, sourcesIn(files), files)
}

const sourcesIn = (files: readonly string[]): string[] => files.filter((file) => /\.[cS]$/.test(file))

/** The same with guests/xen/every: it asks everything once. */
export function buildXenCalls(): string {
  const calls = join(xen, 'every/calls.c')
  const files = filesIn(xen).filter((file) => /\.\w+$/.test(file))
  const sources = [...sourcesIn(files), calls, ...asking]
  const used = [...files, ...filesIn(join(xen, 'every')), ...headers]
  return compile('xen-calls', [...xenOptions, '-DEVERY', '-I', lib, '-I', xen], sources, used)
}

/** That of 32 bits, in guests/xen/narrow. */
export function buildNarrowXenCalls(): string {
  const narrow = join(xen, 'narrow')
  const files = [...filesIn(narrow), ...asking, ...headers]
  const options = ['-m32', '-march=i686', '-T', join(narrow, 'guest.ld'), '-I', lib]
  return compile('xen-calls32', options, sourcesIn(files), files)
}

/** Compiles and links, unless it was done before with the same options and the same files. */
function compile(name: string, more: readonly string[], sources: readonly string[], files: readonly string[]): string {
  const options = [...more, ...flags]
  const hash = createHash('sha256').update(options.join(' '))
  for (const path of [...sources, ...files]) hash.update(readFileSync(path))
  const path = join(cacheFolder(), `guest-${name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(path)) return path
  const temporary = `${path}.${process.pid}`
  const { status, stderr, error } = spawnSync('gcc', [...options, '-o', temporary, ...sources], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`gcc ${name}: ${error?.message ?? stderr}`)
  renameSync(temporary, path)
  return path
}

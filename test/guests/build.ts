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
  return compile(basename(name), options, sources, [join(lib, 'guest.h'), join(lib, 'guest.ld')])
}

/** Path of the kernel for Xen PV in guests/xen. */
export function buildXenGuest(): string {
  const own = join(folder, 'xen')
  const files = readdirSync(own).map((file) => join(own, file))
  const sources = files.filter((file) => /\.[cS]$/.test(file))
  const options = ['-m64', '-mno-red-zone', '-mcmodel=kernel', '-T', join(own, 'guest.ld')]
  return compile('xen', options, sources, files)
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

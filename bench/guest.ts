/** The guest of the benchmarks: the same kernel, initramfs and command line for this machine and for QEMU. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { writeElf } from '../src/boot/elf.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { cacheFolder, writeWhole } from '../src/cache.ts'
import { DEFAULT_COMMAND_LINE } from '../src/cli/command-line.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'

export interface Guest {
  /** The unpacked kernel, with its PVH entry. */
  readonly kernel: string
  readonly initrd: string
  readonly memory: string
  readonly append: string
}

const MEMORY = '512M'

const benchInit = `#!/bin/sh
echo 'paravirt: user space'
/bin/busybox mount -t proc proc /proc
/programs
echo 'bench: done'
# Whoever measures looks at the process once more, then ends it.
/bin/busybox sleep 5
/bin/busybox poweroff -f
`

/** The static program; built once for its source. */
export function programs(): string {
  const source = join(import.meta.dirname, 'programs', 'programs.c')
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const path = join(cacheFolder(), `bench-programs-${hash}`)
  if (!existsSync(path)) execFileSync('gcc', ['-O2', '-static', '-o', path, source, '-lm'], { stdio: 'inherit' })
  return path
}

/** `extra` is added to the command line. */
export async function prepareGuest(extra: string): Promise<Guest> {
  const kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  if (!kernel.elf) throw new Error(`${kernel.name} cannot be unpacked here`)
  const executable = (bytes: Uint8Array | string) => ({ mode: 0o100755, bytes: Buffer.from(bytes) })
  const initrd = buildInitramfs({
    busybox: readFileSync(await busyboxFile('amd64')),
    files: new Map([
      ['/programs', executable(readFileSync(programs()))],
      ['/bench', executable(benchInit)],
    ]),
  })
  const paths = { kernel: join(cacheFolder(), 'bench-vmlinux'), initrd: join(cacheFolder(), 'bench-initrd') }
  writeWhole(paths.kernel, writeElf(kernel.elf))
  writeWhole(paths.initrd, initrd)
  return { ...paths, memory: MEMORY, append: [DEFAULT_COMMAND_LINE, extra].join(' ').trim() }
}

export interface Peer {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
}

export function paravirt(guest: Guest): Peer {
  const args = [join(import.meta.dirname, '../bin/paravirt.cjs'), 'run', guest.kernel, '--initrd', guest.initrd]
  // The command adds the default command line itself.
  const append = guest.append.slice(DEFAULT_COMMAND_LINE.length).trim()
  return {
    name: 'paravirt',
    command: process.execPath,
    args: [...args, '--memory', guest.memory, '--stats', ...(append ? ['--append', append] : [])],
  }
}

export function tcg(guest: Guest): Peer {
  const machine = ['-M', 'pc', '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', guest.memory]
  const devices = ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot']
  const boot = ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append]
  return { name: 'qemu tcg', command: 'qemu-system-x86_64', args: [...machine, ...devices, ...boot] }
}

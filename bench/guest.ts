/** The guests of the benchmarks: the same kernel, initramfs and command line for this machine and for its peers. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeElf } from '../src/boot/elf.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { cacheFolder, writeWhole } from '../src/cache.ts'
import { DEFAULT_COMMAND_LINE } from '../src/cli/command-line.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'

export type Bits = 64 | 32

export interface Guest {
  /** The unpacked kernel, for those who enter it directly. */
  readonly kernel: string
  /** As it was packed, for those who boot like firmware. */
  readonly image: string
  readonly initrd: string
  readonly memory: string
  readonly append: string
}

export interface GuestOptions {
  readonly bits?: Bits
  /** Added to the command line. */
  readonly extra?: string
  /** Arguments of the program (bench/programs/main.c); without them it does not run. */
  readonly work?: readonly string[]
}

const MEMORY = '512M'
/** The kernel for 32 bits is the one without PAE, which all peers boot. */
const KERNELS = { 64: DEFAULT_KERNEL, 32: 'linux-image-686' }
const ARCHITECTURES = { 64: 'amd64', 32: 'i386' } as const
/** No -march: x86-64-v1, and the same for 32 bits. */
const FLAGS = {
  64: ['-O2', '-static', '-pthread', '-fno-math-errno'],
  32: ['-O2', '-static', '-pthread', '-fno-math-errno', '-m32', '-msse2', '-mfpmath=sse'],
}

const benchInit = (work: readonly string[] | undefined) => `#!/bin/sh
echo 'paravirt: user space'
/bin/busybox mount -t proc proc /proc
${work ? `/programs ${work.join(' ')}` : ''}
echo 'bench: done'
# Whoever measures looks at the process once more, then ends it.
/bin/busybox sleep 5
/bin/busybox poweroff -f
`

/** The static program; built once for its sources. */
export function programs(bits: Bits = 64): string {
  const folder = join(import.meta.dirname, 'programs')
  const files = readdirSync(folder).sort()
  const hash = createHash('sha256').update(FLAGS[bits].join(' '))
  for (const file of files) hash.update(readFileSync(join(folder, file)))
  const path = join(cacheFolder(), `bench-programs-${bits}-${hash.digest('hex').slice(0, 16)}`)
  const sources = files.filter((file) => file.endsWith('.c')).map((file) => join(folder, file))
  if (!existsSync(path)) execFileSync('gcc', [...FLAGS[bits], '-o', path, ...sources], { stdio: 'inherit' })
  return path
}

/** A busybox that this machine can execute itself. */
export async function busybox(bits: Bits = 64): Promise<string> {
  const path = join(cacheFolder(), `bench-${ARCHITECTURES[bits]}`, 'busybox')
  writeWhole(path, readFileSync(await busyboxFile(ARCHITECTURES[bits])))
  chmodSync(path, 0o755)
  return path
}

export async function prepareGuest({ bits = 64, extra = '', work }: GuestOptions): Promise<Guest> {
  const image = await kernelFile(KERNELS[bits])
  const kernel = await loadKernel(image)
  if (!kernel.elf) throw new Error(`${kernel.name} cannot be unpacked here`)
  const executable = (bytes: Uint8Array | string) => ({ mode: 0o100755, bytes: Buffer.from(bytes) })
  const files = new Map([['/bench', executable(benchInit(work))]])
  if (work) files.set('/programs', executable(readFileSync(programs(bits))))
  const initrd = buildInitramfs({ busybox: readFileSync(await busyboxFile(ARCHITECTURES[bits])), files })
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const paths = { kernel: join(folder, 'vmlinux'), initrd: join(folder, 'initrd') }
  writeWhole(paths.kernel, writeElf(kernel.elf))
  writeWhole(paths.initrd, initrd)
  return { ...paths, image, memory: MEMORY, append: [DEFAULT_COMMAND_LINE, extra].join(' ').trim() }
}

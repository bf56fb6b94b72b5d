/** What a machine boots, from options, and snapshots: `#host` in browsers, where a name is a URL. */
import { unzstd } from '#zstd'
import { kernelIn, unpackPayload, type Unpack } from '../boot/read-kernel.ts'
import { checkDevices, connected, type DiskChoice, memoryDisk, type OpenDevices } from '../backends/choices.ts'
import { type Disk, MemoryBlocks, OverlayDisk } from '../backends/disk.ts'
import { kernelCommandLine } from '../cli/command-line.ts'
import { InputError } from '../errors.ts'
import { buildInitramfs } from '../initramfs/build.ts'
import { deviceFiles } from '../initramfs/devices.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import { type Boot, filesOf } from './host.ts'
import type { CheckedBoot, CheckedDevices } from './options.ts'

/** Undefined if nothing is named. A disk is bytes: the caller's, or what a URL gives, which stays in memory. */
export async function openLibraryDevices(
  what: string,
  choices: CheckedDevices,
  platform: PlatformName,
): Promise<OpenDevices | undefined> {
  const { disks, networks } = choices
  if (disks.length === 0 && networks.length === 0) return undefined
  const says = { disks: `${what}: disks`, networks: `${what}: networks` }
  checkDevices(choices, platform, says)
  try {
    return connected(await Promise.all(disks.map(openDisk)), networks)
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${says.disks} ${error.message}`)
    throw error
  }
}

async function openDisk(choice: DiskChoice | Uint8Array): Promise<Disk> {
  if (choice instanceof Uint8Array) return memoryDisk(choice)
  const { path, mode } = choice
  if (mode === undefined)
    throw new InputError(`${path}: cannot be written in a browser; let it be 'cow' or 'readonly', or give bytes`)
  const disk = memoryDisk(await contentOf(path), true)
  return mode === 'cow' ? new OverlayDisk(disk, new MemoryBlocks()) : disk
}

/** Modules of drivers are among the files. */
const MODULE = /\.ko$/

export async function bootPlan(
  { append, on, files, ...options }: CheckedBoot,
  devices: OpenDevices | undefined,
): Promise<Boot> {
  if (options.kernel === undefined)
    throw new InputError('Machine.boot: kernel: in a browser there is no default: give its URL or its bytes')
  const name = typeof options.kernel === 'string' ? options.kernel : 'the kernel'
  const kernel = await kernelIn(await contentOf(options.kernel), name, async (compression, payload, called) =>
    compression in decoders ? unpackPayload(compression, payload, called, unpack) : undefined,
  )
  if (kernel.entries.multiboot !== undefined)
    return { plan: { kernel, initrd: undefined, cmdline: [name, append].filter(Boolean).join(' ') }, agent: false }
  const { console, diskName = 'xvd' }: PlatformDefinition = definitions[on]
  const cmdline = kernelCommandLine({ console, append })
  if (options.initrd !== undefined)
    return { plan: { kernel, initrd: await contentOf(options.initrd), cmdline }, agent: false }
  if (options.busybox === undefined)
    throw new InputError(
      'Machine.boot: in a browser there is no default initrd: give initrd, or busybox (a static one) for ours',
    )
  const given = filesOf(files)
  const modules = [...given].flatMap(([path, { bytes }]) => (MODULE.test(path) && bytes ? [{ path, bytes }] : []))
  const { disks, networks } = devices ?? { disks: [], networks: [] }
  const more = devices ? deviceFiles({ modules, disks: disks.length, networks: networks.length }, diskName) : []
  const initrd = buildInitramfs({ busybox: await contentOf(options.busybox), files: new Map([...more, ...given]) })
  return { plan: { kernel, initrd, cmdline }, agent: true }
}

/** What is packed otherwise unpacks itself in the guest. */
const decoders: Partial<Record<string, (input: Uint8Array, size: number) => Promise<Uint8Array>>> = {
  gzip: async (input) =>
    new Uint8Array(
      await new Response(
        new Blob([Uint8Array.from(input)]).stream().pipeThrough(new DecompressionStream('gzip')),
      ).arrayBuffer(),
    ),
  zstd: async (input, size) => unzstd(input, size),
}

const unpack: Unpack = async (compression, input, size) => {
  const output = await decoders[compression]!(input, size)
  if (output.length !== size) throw new Error(`${output.length} bytes instead of ${size}`)
  return output
}

/** A snapshot's bytes. */
export async function readSnapshot(url: string): Promise<Iterable<Uint8Array>> {
  return [await contentOf(url)]
}

async function contentOf(source: string | Uint8Array): Promise<Uint8Array> {
  if (typeof source !== 'string') return source
  let answer: Response
  try {
    answer = await fetch(source)
  } catch (error) {
    throw new InputError(`${source}: ${(error as Error).message}`)
  }
  if (!answer.ok) throw new InputError(`${source}: ${answer.status} ${answer.statusText}`)
  return new Uint8Array(await answer.arrayBuffer())
}

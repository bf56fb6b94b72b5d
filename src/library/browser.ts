/** What a machine boots, from options, and snapshots: `#host` in browsers, where a name is a URL. */
import { unzstd } from '#zstd'
import { kernelIn, unpackPayload, type Unpack } from '../boot/read-kernel.ts'
import type { OpenDevices } from '../backends/open.ts'
import { kernelCommandLine } from '../cli/command-line.ts'
import { InputError } from '../errors.ts'
import { buildInitramfs } from '../initramfs/build.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'
import { type Boot, filesOf } from './host.ts'
import type { CheckedBoot, CheckedDevices } from './options.ts'

/** There are no files for disks, nor Debian's modules of the drivers. */
export async function openLibraryDevices(
  what: string,
  { disks, networks }: CheckedDevices,
): Promise<OpenDevices | undefined> {
  const named = disks.length > 0 ? 'disks' : networks.length > 0 ? 'networks' : undefined
  if (named) throw new InputError(`${what}: ${named}: are there in Node only`)
  return undefined
}

export async function bootPlan({ append, on, files, ...options }: CheckedBoot): Promise<Boot> {
  if (options.kernel === undefined)
    throw new InputError('Machine.boot: kernel: in a browser there is no default: give its URL or its bytes')
  const name = typeof options.kernel === 'string' ? options.kernel : 'the kernel'
  const kernel = await kernelIn(await contentOf(options.kernel), name, async (compression, payload, called) =>
    compression in decoders ? unpackPayload(compression, payload, called, unpack) : undefined,
  )
  if (kernel.entries.multiboot !== undefined)
    return { plan: { kernel, initrd: undefined, cmdline: [name, append].filter(Boolean).join(' ') }, agent: false }
  const { console }: PlatformDefinition = definitions[on]
  const cmdline = kernelCommandLine({ console, append })
  if (options.initrd !== undefined)
    return { plan: { kernel, initrd: await contentOf(options.initrd), cmdline }, agent: false }
  if (options.busybox === undefined)
    throw new InputError(
      'Machine.boot: in a browser there is no default initrd: give initrd, or busybox (a static one) for ours',
    )
  const initrd = buildInitramfs({ busybox: await contentOf(options.busybox), files: filesOf(files) })
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

/** What a machine boots, from options, and files: `#host` in Node. Parts are loaded when they are needed. */
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import type { GuestDevices } from '../initramfs/devices.ts'
import type { OpenDevices } from '../backends/choices.ts'
import type { PlatformName } from '../platforms/index.ts'
import { type Boot, filesOf } from './host.ts'
import type { CheckedBoot, CheckedDevices } from './options.ts'

/** What the options name; undefined if they name nothing. */
export async function openLibraryDevices(
  what: string,
  { disks, networks }: CheckedDevices,
  platform: PlatformName,
  deterministic: boolean,
): Promise<OpenDevices | undefined> {
  if (disks.length === 0 && networks.length === 0) return undefined
  const { openDevices } = await import('../backends/open.ts')
  const says = { disks: `${what}: disks`, networks: `${what}: networks` }
  return openDevices({ disks, networks }, { platform, deterministic, says })
}

export async function bootPlan(options: CheckedBoot, devices: OpenDevices | undefined): Promise<Boot> {
  const { append, on: platform, files } = options
  const [{ guestPlan }, { DEFAULT_KERNEL }] = await Promise.all([
    import('../cli/guest.ts'),
    import('../packages/debian.ts'),
  ])
  const kernel = await kernelOf(options.kernel ?? DEFAULT_KERNEL)
  const initrd = options.initrd === undefined ? undefined : await initrdOf(options.initrd, options.memory)
  const busybox = options.busybox === undefined ? undefined : await contentOf(options.busybox)
  const plan = await guestPlan({
    kernel,
    platform,
    initrd,
    append,
    busybox,
    files: filesOf(files),
    devices: devices && (await guestDevicesOf(options.kernel ?? DEFAULT_KERNEL, kernel, devices)),
  })
  return { plan, agent: initrd === undefined && plan.initrd !== undefined }
}

async function guestDevicesOf(
  source: string | Uint8Array,
  kernel: Kernel,
  devices: OpenDevices,
): Promise<GuestDevices> {
  const { guestDevices } = await import('../cli/devices.ts')
  return guestDevices(typeof source === 'string' ? source : undefined, kernel, devices)
}

async function kernelOf(source: string | Uint8Array): Promise<Kernel> {
  const { loadKernel } = await import('../boot/kernel.ts')
  if (typeof source !== 'string') return loadKernel(source, 'the kernel')
  const [{ existsSync }, { isKernelPackage, kernelFile }] = await Promise.all([
    import('node:fs'),
    import('../packages/debian.ts'),
  ])
  return loadKernel(!existsSync(source) && isKernelPackage(source) ? await kernelFile(source) : source, source)
}

async function initrdOf(source: string | Uint8Array, memory: number): Promise<Uint8Array> {
  const { checkInitrd } = await import('../boot/initrd.ts')
  if (typeof source === 'string') return (await import('../cli/guest.ts')).readInitrd(source, memory)
  await checkInitrd(source, 'the initrd', memory)
  return source
}

/** A snapshot's bytes. */
export async function readSnapshot(path: string): Promise<Iterable<Uint8Array>> {
  return [await contentOf(path)]
}

async function contentOf(source: string | Uint8Array): Promise<Uint8Array> {
  if (typeof source !== 'string') return source
  const { readFile } = await import('node:fs/promises')
  const path = source
  try {
    return await readFile(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new InputError(`${path}: ${code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : message}`)
  }
}

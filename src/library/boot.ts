/** What a machine boots, from options; and files. Where only Node can, Node's parts are loaded. */
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import type { BootPlan } from '../machine/types.ts'
import type { CheckedBoot } from './options.ts'

export interface Boot {
  readonly plan: BootPlan
  /** The initramfs has an agent. */
  readonly agent: boolean
}

export async function bootPlan(options: CheckedBoot): Promise<Boot> {
  const { append, on: platform, files } = options
  const [{ guestPlan }, { DEFAULT_KERNEL }] = await Promise.all([
    import('../cli/guest.ts'),
    import('../packages/debian.ts'),
  ])
  const kernel = await kernelOf(options.kernel ?? DEFAULT_KERNEL)
  const initrd = options.initrd === undefined ? undefined : await initrdOf(options.initrd, options.memory)
  const content = new Map(
    Object.entries(files).map(([path, bytes]) => [
      path,
      { mode: 0o100755, bytes: typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes },
    ]),
  )
  const plan = await guestPlan({ kernel, platform, initrd, append, files: content })
  return { plan, agent: initrd === undefined && plan.initrd !== undefined }
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
export async function readSnapshotFile(path: string): Promise<AsyncIterable<Uint8Array> | Iterable<Uint8Array>> {
  const { readFile } = await import('node:fs/promises')
  try {
    return [await readFile(path)]
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new InputError(`${path}: ${code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : message}`)
  }
}

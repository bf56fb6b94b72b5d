/** A kernel as users name it: a file, or where there is none a Debian package of this name. */
import { existsSync } from 'node:fs'
import { DEFAULT_KERNEL, isKernelPackage, kernelFile } from '../packages/debian.ts'

/** `source` is the name for messages. Fetches packages; throws InputError for those that cannot be had. */
export async function findKernelPath(name = DEFAULT_KERNEL): Promise<{ path: string; source: string }> {
  const path = !existsSync(name) && isKernelPackage(name) ? await kernelFile(name) : name
  return { path, source: name }
}

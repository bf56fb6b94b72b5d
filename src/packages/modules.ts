/**
 * Modules of a kernel, with those that they need, in the order in which they are to be loaded. They come from the
 * kernel's Debian package, which has no modules.dep (depmod makes it when the package is installed), or from a folder
 * such as /lib/modules/6.1.0-50-amd64, which has. Packed ones are unpacked: the guest need not know how.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readBytes } from '../cache.ts'
import { debFiles } from '../boot/deb.ts'
import { compressionOf } from '../boot/formats.ts'
import { unpackStream } from '../boot/unpack.ts'

export interface Module {
  /** As installed, without the suffix of a compression. */
  readonly path: string
  readonly bytes: Uint8Array
}
export type Modules = readonly Module[]

/** What platforms' devices need of a kernel. */
export const deviceModules = ['xen-blkfront', 'xen-netfront'] as const

const SUFFIX = /\.ko(\.(xz|zst|gz))?$/

/** As the kernel knows it: files may be called with hyphens. */
const nameOf = (path: string): string => path.replace(/^.*\//, '').replace(SUFFIX, '').replaceAll('-', '_')

/** What a module needs, as it says itself (modinfo's `depends`). */
export function dependencies(module: Uint8Array): string[] {
  const text = new TextDecoder('latin1').decode(module)
  return (/(?:^|\0)depends=([^\0]*)\0/.exec(text)?.[1] ?? '').split(',').filter(Boolean)
}

async function unpacked(bytes: Uint8Array): Promise<Uint8Array> {
  const compression = compressionOf(bytes)
  if (compression === undefined) return bytes
  const pieces: Uint8Array[] = []
  for await (const piece of unpackStream(compression, bytes)) pieces.push(piece)
  return new Uint8Array(Buffer.concat(pieces))
}

/** Modules that are not in the package are built into the kernel, or it has no such thing: they are left out. */
export async function debModules(deb: Uint8Array, name: string, wanted: readonly string[]): Promise<Modules> {
  const found = new Map<string, Module>()
  let missing = new Set(wanted.map(nameOf))
  // Which others are needed is known when these have been read.
  while (missing.size > 0) {
    for await (const { path, bytes } of debFiles(deb, name))
      if (/^(\/usr)?\/lib\/modules\//.test(path) && SUFFIX.test(path) && missing.has(nameOf(path)))
        found.set(nameOf(path), { path: path.replace(SUFFIX, '.ko'), bytes: await unpacked(bytes) })
    const looked = missing
    missing = new Set(
      [...found.values()]
        .flatMap(({ bytes }) => dependencies(bytes))
        .map(nameOf)
        .filter((needed) => !found.has(needed) && !looked.has(needed)),
    )
  }
  return inOrder(found)
}

/** Those that others need come first. */
function inOrder(modules: ReadonlyMap<string, Module>): Module[] {
  const order = new Set<Module>()
  const visit = (module: Module, above: readonly Module[]) => {
    if (order.has(module) || above.includes(module)) return
    for (const needed of dependencies(module.bytes)) {
      const other = modules.get(nameOf(needed))
      if (other) visit(other, [...above, module])
    }
    order.add(module)
  }
  for (const module of modules.values()) visit(module, [])
  return [...order]
}

/** Of a kernel that is installed; undefined if its folder is not there. */
export async function installedModules(release: string, wanted: readonly string[]): Promise<Modules | undefined> {
  const folder = join('/lib/modules', release)
  const index = join(folder, 'modules.dep')
  if (release === '' || release.includes('/') || !existsSync(index)) return undefined
  const lines = readFileSync(index, 'utf8').split('\n')
  const entries = new Map(lines.map((line) => [nameOf(line.replace(/:.*/, '')), line.split(/:?\s+/)] as const))
  const paths = new Set<string>()
  // A line names a module, then all that it needs, the deepest last.
  for (const name of wanted)
    for (const path of (entries.get(nameOf(name)) ?? []).toReversed()) if (path) paths.add(path)
  return Promise.all(
    [...paths].map(async (path) => ({
      path: join(folder, path).replace(SUFFIX, '.ko'),
      bytes: await unpacked(readBytes(join(folder, path))),
    })),
  )
}

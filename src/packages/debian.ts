/**
 * Guest files by the name of the Debian package that has them, kept in the cache: the second time nothing is asked of
 * apt. A name is `package` or `package:architecture`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { debFiles } from '../boot/deb.ts'
import { cacheFolder, readBytes, writeWhole } from '../cache.ts'
import { InputError } from '../errors.ts'
import type { CpioEntry } from '../initramfs/cpio.ts'
import type { Architecture } from './apt.ts'
import { fetchPackage } from './apt.ts'
import { debModules, deviceModules, type Modules } from './modules.ts'

export const DEFAULT_KERNEL = 'linux-image-cloud-amd64'

/** Whether a kernel's name means a package rather than a file. */
export const isKernelPackage = (name: string): boolean => /^linux-image-[a-z0-9][a-z0-9.+-]*(:[a-z0-9]+)?$/.test(name)

/** The path of a linux-image package's vmlinuz. A metapackage means the newest kernel that it stands for. */
export const kernelFile = (name: string): Promise<string> => packageFile(name, /^\/boot\/vmlinuz-/)

/** The path of a static busybox. */
export const busyboxFile = (architecture: Architecture): Promise<string> =>
  packageFile(`busybox-static:${architecture}`, /\/bin\/busybox$/)

/** The modules of a linux-image package that devices of any platform need: those of the kernel that is in the cache. */
export async function packageModules(name: string): Promise<Modules> {
  const [concrete = '', , architecture = ''] = basename(dirname(await kernelFile(name))).split('_')
  const list = await cached(`${concrete}:${architecture}`, 'modules', async (deb) => {
    const modules = await debModules(deb, name, deviceModules)
    const others = modules.map(({ path, bytes }) => [basename(path), bytes] as const)
    const text = modules.map(({ path }) => `${path}\n`).join('')
    return { file: 'modules.list', bytes: new TextEncoder().encode(text), others: new Map(others) }
  })
  const paths = readFileSync(list, 'utf8').split('\n').filter(Boolean)
  return paths.map((path) => ({ path, bytes: readBytes(join(dirname(list), basename(path))) }))
}

/** Everything that packages install, for an initramfs. Their dependencies are the caller's affair. */
export async function packageTree(names: readonly string[]): Promise<Map<string, CpioEntry>> {
  const tree = new Map<string, CpioEntry>()
  for (const name of names) {
    const path = await cached(name, 'deb', async (deb) => ({ file: 'package.deb', bytes: deb }))
    for await (const { path: to, mode, bytes, hardLink } of debFiles(readFileSync(path), name))
      if (to !== '/') tree.set(to, hardLink ? tree.get(new TextDecoder().decode(bytes))! : { mode, bytes })
  }
  return tree
}

const packageFile = (name: string, wanted: RegExp): Promise<string> =>
  cached(name, 'file', async (deb) => {
    for await (const { path, bytes } of debFiles(deb, name))
      if (wanted.test(path)) return { file: basename(path), bytes }
    throw new InputError(`${name}: the package does not have the file that is needed`)
  })

interface Kept {
  file: string
  bytes: Uint8Array
  /** Files beside it. */
  others?: ReadonlyMap<string, Uint8Array>
}

/** The path of what `keep` makes of the package, from the cache if it is there. */
async function cached(name: string, kind: string, keep: (deb: Uint8Array) => Promise<Kept>): Promise<string> {
  const [plain, architecture] = parseName(name)
  const folder = join(cacheFolder(), 'packages')
  const index = join(folder, `${plain}_${architecture}.${kind}`)
  if (existsSync(index)) {
    const known = join(folder, readFileSync(index, 'utf8'))
    if (existsSync(known)) return known
  }
  const { package: concrete, version, deb } = await fetchPackage(plain, architecture)
  const { file, bytes, others = new Map() } = await keep(deb)
  const home = `${concrete}_${version}_${architecture}`
  const place = join(home, file)
  for (const [other, content] of others) writeWhole(join(folder, home, other), content)
  writeWhole(join(folder, place), bytes)
  writeWhole(index, place)
  return join(folder, place)
}

function parseName(name: string): [plain: string, architecture: Architecture] {
  const [plain = '', given] = name.split(':')
  const architecture = given ?? (/-686(-pae)?$/.test(plain) ? 'i386' : 'amd64')
  if (!/^[a-z0-9][a-z0-9.+-]+$/.test(plain)) throw new InputError(`${name}: not a package's name`)
  if (architecture !== 'amd64' && architecture !== 'i386')
    throw new InputError(`${name}: packages for ${architecture} do not run on an x86 machine; amd64 and i386 do`)
  return [plain, architecture]
}

/**
 * Fetches single packages with apt, installing nothing. The system's own package lists are used where they know the
 * package; else lists of our own are kept in the cache, which needs neither root nor a foreign architecture enabled.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../cache.ts'
import { InputError } from '../errors.ts'

export type Architecture = 'amd64' | 'i386'

export interface Fetched {
  package: string
  version: string
  deb: Uint8Array
}

const say = (text: string): void => void process.stderr.write(`paravirt: ${text}\n`)

/** Downloads a package, or the concrete kernel that a linux-image metapackage stands for. */
export async function fetchPackage(name: string, architecture: Architecture): Promise<Fetched> {
  let failure: Error | undefined
  for (const attempt of [systemLists, ownLists, refreshedLists]) {
    try {
      const options = await attempt(architecture)
      const { package: concrete, version } = await resolve(name, architecture, options)
      say(`fetching ${concrete} ${version} (${architecture})`)
      return { package: concrete, version, deb: await download(concrete, architecture, version, options) }
    } catch (error) {
      failure = error as Error
      if (error instanceof NoApt)
        throw new InputError(`${name}: this system has no apt to fetch the package with; give files by path`)
    }
  }
  throw new InputError(`${name}: apt cannot fetch it for ${architecture} (${failure?.message})`)
}

class NoApt extends Error {}

const systemLists = async (): Promise<string[]> => []

async function ownLists(architecture: Architecture): Promise<string[]> {
  const folder = join(cacheFolder(), 'apt', architecture)
  mkdirSync(join(folder, 'lists', 'partial'), { recursive: true })
  mkdirSync(join(folder, 'cache', 'archives', 'partial'), { recursive: true })
  writeFileSync(join(folder, 'status'), '')
  const settings = {
    'Dir::State': folder,
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'Acquire::Languages': 'none',
    // Otherwise root's apt downloads as a user who may not write here.
    ...(process.getuid?.() === 0 ? { 'APT::Sandbox::User': 'root' } : {}),
  }
  return Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])
}

async function refreshedLists(architecture: Architecture): Promise<string[]> {
  const options = await ownLists(architecture)
  say(`fetching Debian's package lists (${architecture})`)
  for (let patience = 20; ; patience--) {
    try {
      await run('apt-get', [...options, '-qq', 'update'])
    } catch (error) {
      // Another of our processes may be at it; any other failure may concern lists that are not needed.
      if (patience > 0 && /lock/.test((error as Error).message)) {
        await new Promise((done) => setTimeout(done, 500))
        continue
      }
      if (error instanceof NoApt) throw error
    }
    return options
  }
}

async function resolve(
  name: string,
  architecture: Architecture,
  options: string[],
): Promise<{ package: string; version: string }> {
  for (let current = name, hops = 0; hops < 4; hops++) {
    const record = await run('apt-cache', [...options, 'show', '--no-all-versions', `${current}:${architecture}`])
    const field = (key: string) => new RegExp(`^${key}: (.*)$`, 'm').exec(record)?.[1]
    const kernel = /(?:^|, )(linux-image-\d[^\s,|]*)/.exec(field('Depends') ?? '')?.[1]
    const version = field('Version')
    if (version === undefined) throw new Error(`no candidate for ${current}`)
    if (kernel === undefined) return { package: current, version }
    current = kernel
  }
  throw new Error('its dependencies lead nowhere')
}

async function download(
  name: string,
  architecture: Architecture,
  version: string,
  options: string[],
): Promise<Uint8Array> {
  const folder = mkdtempSync(join(cacheFolder(), 'download-'))
  try {
    await run('apt-get', [...options, 'download', `${name}:${architecture}=${version}`], folder)
    const deb = readdirSync(folder).find((file) => file.endsWith('.deb'))
    if (deb === undefined) throw new Error('apt downloaded nothing')
    return readFileSync(join(folder, deb))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The program's output; with a folder to work in, its output is progress and goes to stderr. */
function run(program: string, args: string[], cwd?: string): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      cwd,
      stdio: ['ignore', cwd === undefined ? 'pipe' : 2, 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    })
    let output = ''
    let errors = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text))
    child.on('error', (error: NodeJS.ErrnoException) => fail(error.code === 'ENOENT' ? new NoApt() : error))
    child.on('close', (code) => {
      if (code === 0) done(output)
      else fail(new Error(/^E: (.*)$/m.exec(errors)?.[1] ?? `${program} failed`))
    })
  })
}

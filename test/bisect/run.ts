/**
 * `npm run bisect`: proves that `paravirt matrix` finds what broke a kernel. Builds a small kernel of Debian's
 * linux-source-6.1, lays a short history over it (history.ts) in a repository of its own, shows the matrix of the last
 * commit, and lets `git bisect run paravirt matrix` find the bad one. Takes minutes, and a compiler; no part of
 * `npm test`. The tree is kept in the cache; `--tree FOLDER` names another place.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { cacheFolder } from '../../src/cache.ts'
import { BAD, history } from './history.ts'

const SOURCE = '/usr/src/linux-source-6.1.tar.xz'
const PLATFORMS = 'native,kvm,vmware,hyperv'
const paravirt = join(import.meta.dirname, '../../bin/paravirt.cjs')

const { values } = parseArgs({ options: { tree: { type: 'string' } } })
const tree = values.tree ?? join(cacheFolder(), 'bisect', 'linux-source-6.1')

/** Its stdout; throws if it fails. */
function run(folder: string, command: string, ...args: string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stdout.slice(-2000)}`)
  return stdout
}

const say = (text: string) => process.stderr.write(`bisect: ${text}\n`)

if (!existsSync(join(tree, 'Makefile'))) {
  say(`unpacking ${SOURCE}`)
  mkdirSync(dirname(tree), { recursive: true })
  run(dirname(tree), 'tar', 'xf', SOURCE)
}
if (!existsSync(join(tree, '.config'))) {
  run(tree, 'make', '-s', 'tinyconfig')
  run(tree, 'scripts/kconfig/merge_config.sh', '-m', '.config', join(import.meta.dirname, 'kernel.config'))
  run(tree, 'make', '-s', 'olddefconfig')
}

const repository = mkdtempSync(join(tmpdir(), 'paravirt-bisect-'))
const git = (...args: string[]) =>
  run(repository, 'git', '-c', 'user.name=bisect', '-c', 'user.email=bisect@example', ...args)
try {
  // The files as they were unpacked, kept beside the tree, because bisecting leaves others in it.
  const pristine = `${tree}.pristine`
  for (const { file } of history) {
    if (!existsSync(join(pristine, file))) cpSync(join(tree, file), join(pristine, file))
    cpSync(join(pristine, file), join(repository, file))
  }
  git('init', '-q')
  git('add', '.')
  git('commit', '-q', '-m', 'Linux 6.1')
  const first = git('rev-parse', 'HEAD').trim()
  for (const { message, file, edit } of history) {
    writeFileSync(join(repository, file), edit(readFileSync(join(repository, file), 'utf8')))
    git('commit', '-q', '-a', '-m', message)
  }

  // Only files that differ are copied, so that make builds only what it must.
  const build =
    `for f in $(git ls-files); do cmp -s $f ${tree}/$f || cp $f ${tree}/$f; done; ` +
    `make -s -C ${tree} vmlinux >&2 || exit 125; `
  const matrix = `${process.execPath} ${paravirt} matrix ${tree}/vmlinux --platforms ${PLATFORMS}`
  say('building the last commit')
  const { status, stdout } = spawnSync('sh', ['-c', `${build} exec ${matrix}`], {
    cwd: repository,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.stdout.write(stdout)
  if (status !== 1) throw new Error(`the last commit should be bad (1), but the matrix ended with ${status}`)

  git('bisect', 'start', 'HEAD', first)
  const found = git('bisect', 'run', 'sh', '-c', `${build} exec ${matrix}`)
  process.stdout.write(`${found.slice(found.lastIndexOf(' is the first bad commit') - 40)}\n`)
  const bad = git('log', '-1', '--format=%s', 'refs/bisect/bad').trim()
  if (bad !== BAD) throw new Error(`bisect found "${bad}" instead of "${BAD}"`)
  say(`found: ${bad}`)
} finally {
  rmSync(repository, { recursive: true, force: true })
}

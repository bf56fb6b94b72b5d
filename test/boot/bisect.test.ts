/**
 * `git bisect run paravirt matrix` finds the commit that broke a kernel on one platform only: Hyper-V is told of a guest
 * without an identity, and gives it no page for hypercalls.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Patch } from '../bisect/patch.ts'

const root = join(import.meta.dirname, '../..')
const banner = (from: string, to: string): Patch => ({ symbol: 'linux_banner', find: from, replace: to })

const history: readonly (readonly [message: string, patch: Patch])[] = [
  ['another host', banner('lists', 'lusts')],
  ['another builder', banner('debian-kernel', 'nobody-kernel')],
  [
    // mov edx and mov esi: the halves of HV_X64_MSR_GUEST_OS_ID, 0x8100 for Linux at the top.
    'no identity for Hyper-V',
    { symbol: 'hyperv_init', find: '\xba..\x00\x81\xbe....', replace: '\xba\0\0\0\0\xbe\0\0\0\0' },
  ],
  ['another word', banner('version', 'edition')],
  ['another linker', banner('Binutils', 'Bonutils')],
]

test('the first bad commit, the platform and the last request', () => {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-bisect-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=bisect', '-c', 'user.email=bisect@example', ...args], {
      cwd: folder,
      encoding: 'utf8',
    }).trim()
  git('init', '-q')
  git('commit', '-q', '--allow-empty', '-m', 'stock')
  const first = git('rev-parse', 'HEAD')
  for (const [i, [message, patch]] of history.entries()) {
    writeFileSync(join(folder, `${i}.json`), JSON.stringify(patch))
    git('add', '.')
    git('commit', '-q', '-m', message)
  }
  writeFileSync(join(folder, '.git/info/exclude'), 'vmlinux\n')
  const build = `${process.execPath} ${join(root, 'test/bisect/patch.ts')} . vmlinux || exit 125; `
  const matrix = `exec ${process.execPath} ${join(root, 'bin/paravirt.cjs')} matrix vmlinux --platforms native,hyperv`

  const { status, stdout } = spawnSync('sh', ['-c', build + matrix], { cwd: folder, encoding: 'utf8' })
  expect(status).toBe(1)
  expect(stdout).toMatch(/│ native +│ ok /)
  expect(stdout).toMatch(/│ hyperv +│ (?!ok)/)
  expect(stdout).toMatch(/hyperv:\n(?: {2}.*\n)* {2}last request: .*HV_X64_MSR_/)

  git('bisect', 'start', 'HEAD', first)
  git('bisect', 'run', 'sh', '-c', build + matrix)
  expect(git('log', '-1', '--format=%s', 'refs/bisect/bad')).toBe('no identity for Hyper-V')
}, 1_800_000)

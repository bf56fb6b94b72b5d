import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { busyboxFile, isKernelPackage, kernelFile, packageTree } from './debian.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
const bin = join(folder, 'bin')
const log = join(folder, 'log')
const before = { XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'], PATH: process.env['PATH'] }
const calls = () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])

/** An apt that knows two kernels and busybox; those for i386 only after an update of lists of our own. */
const apt = `#!/bin/sh
echo "$(basename "$0") $*" >> ${log}
own=; for word; do case $word in Dir::State=*) own=\${word#Dir::State=};; esac; last=$word; done
case $last in *:i386*) [ -n "$own" ] && [ -e "$own/updated" ] || { [ "$last" = update ] || { echo 'E: No packages found' >&2; exit 100; }; };; esac
case "$*" in
*update*) [ -n "$own" ] && touch "$own/updated"; exit 0;;
*show*linux-image-cloud*) printf 'Package: x\\nDepends: linux-image-6.1.0-9-cloud-amd64 (= 6.1.9-1)\\nVersion: 6.1.9\\n';;
*show*linux-image-6.1.0*|*show*linux-image-686*) printf 'Package: x\\nDepends: kmod, linux-base (>= 4)\\nVersion: 6.1.9-1\\n';;
*show*busybox*) printf 'Package: x\\nVersion: 1:1.35\\n';;
*download*) cp ${folder}/test.deb ./some.deb;;
*) echo 'E: No packages found' >&2; exit 100;;
esac
`

describe.runIf(spawnSync('dpkg-deb', ['--version']).status === 0)('with an apt', () => {
  beforeAll(() => {
    const tree = join(folder, 'tree')
    for (const path of ['DEBIAN', 'boot', 'bin']) mkdirSync(join(tree, path), { recursive: true })
    writeFileSync(
      join(tree, 'DEBIAN/control'),
      'Package: test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n',
    )
    writeFileSync(join(tree, 'boot/vmlinuz-6.1.0-9'), 'kernel')
    writeFileSync(join(tree, 'bin/busybox'), 'busybox', { mode: 0o755 })
    execFileSync('dpkg-deb', ['--root-owner-group', '-b', '-Znone', tree, join(folder, 'test.deb')])
    mkdirSync(bin)
    for (const name of ['apt-get', 'apt-cache']) {
      writeFileSync(join(bin, name), apt)
      chmodSync(join(bin, name), 0o755)
    }
    process.env['PATH'] = `${bin}:${before.PATH}`
  })
  beforeEach(() => {
    rmSync(log, { force: true })
    process.env['XDG_CACHE_HOME'] = mkdtempSync(join(folder, 'cache-'))
  })
  afterAll(() => {
    for (const [name, value] of Object.entries(before))
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    rmSync(folder, { recursive: true })
  })

  test('a metapackage means the kernel that it depends on; the second time apt is not asked', async () => {
    const path = await kernelFile('linux-image-cloud-amd64')
    expect(path).toMatch(/linux-image-6\.1\.0-9-cloud-amd64_6\.1\.9-1_amd64\/vmlinuz-6\.1\.0-9$/)
    expect(readFileSync(path, 'utf8')).toBe('kernel')
    expect(calls().some((call) => call.includes('download linux-image-6.1.0-9-cloud-amd64:amd64=6.1.9-1'))).toBe(true)
    expect(calls().some((call) => /\binstall\b|update/.test(call))).toBe(false)
    rmSync(log)
    expect(await kernelFile('linux-image-cloud-amd64')).toBe(path)
    expect(calls()).toEqual([])
  })

  test('a file that is gone from the cache is fetched again', async () => {
    const path = await busyboxFile('amd64')
    rmSync(path)
    expect(await busyboxFile('amd64')).toBe(path)
    expect(existsSync(path)).toBe(true)
  })

  test('a foreign architecture is found in lists of our own', async () => {
    expect(await kernelFile('linux-image-686')).toMatch(/linux-image-686_6\.1\.9-1_i386/)
    const update = calls().find((call) => call.endsWith('update'))
    expect(update).toContain('APT::Architecture=i386')
    expect(update).toContain(`Dir::State=${process.env['XDG_CACHE_HOME']}`)
  })

  test('what a package installs', async () => {
    const tree = await packageTree(['busybox-static'])
    expect([...tree.keys()]).toEqual(['/bin', '/bin/busybox', '/boot', '/boot/vmlinuz-6.1.0-9'])
    expect(tree.get('/bin/busybox')).toMatchObject({ mode: 0o100755 })
  })

  test('refused in one line', async () => {
    await expect(kernelFile('linux-image-nosuch')).rejects.toThrow(
      'linux-image-nosuch: apt cannot fetch it for amd64 (No packages found)',
    )
    await expect(kernelFile('linux-image-arm64:arm64')).rejects.toThrow(/do not run on an x86 machine/)
    await expect(kernelFile('linux-image-6.1 -o x')).rejects.toThrow(/not a package's name/)
    process.env['PATH'] = '/nonexistent'
    await expect(
      kernelFile('linux-image-cloud-amd64').finally(() => (process.env['PATH'] = `${bin}:${before.PATH}`)),
    ).rejects.toThrow(/no apt to fetch the package with; give files by path/)
  })
})

test('names that mean packages', () => {
  for (const name of ['linux-image-amd64', 'linux-image-6.12.117+deb12-amd64', 'linux-image-686-pae:i386'])
    expect(isKernelPackage(name)).toBe(true)
  for (const name of ['vmlinuz', './linux-image-amd64', 'linux-image-amd64.deb/x', 'linux-image-'])
    expect(isKernelPackage(name)).toBe(false)
})

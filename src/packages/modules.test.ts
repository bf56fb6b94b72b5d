import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { debModules, dependencies, installedModules } from './modules.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))

const module = (name: string, depends: string) =>
  Buffer.from(`\x7fELF..name=${name}\0license=GPL\0depends=${depends}\0retpoline=Y\0`)

test('a module says what it needs', () => {
  expect(dependencies(module('a', 'b,c_d'))).toEqual(['b', 'c_d'])
  expect(dependencies(module('a', ''))).toEqual([])
  expect(dependencies(new Uint8Array(10))).toEqual([])
})

describe.runIf(spawnSync('dpkg-deb', ['--version']).status === 0)("a kernel's package", () => {
  test('modules with what they need, in order, unpacked', async () => {
    const tree = join(folder, 'tree')
    const files: Record<string, Uint8Array> = {
      'DEBIAN/control': Buffer.from(
        'Package: k\nVersion: 1\nArchitecture: all\nMaintainer: me <m@e>\nDescription: k\n',
      ),
      'lib/modules/6/kernel/net/a-front.ko.zst': zstdCompressSync(module('a_front', 'b_core,c')),
      'lib/modules/6/kernel/lib/c.ko': module('c', 'd'),
      'lib/modules/6/kernel/lib/b-core.ko': module('b_core', 'd'),
      'lib/modules/6/kernel/lib/d.ko': module('d', ''),
      'lib/modules/6/kernel/lib/other.ko': module('other', ''),
      'usr/share/a-front.ko': Buffer.from('not a module'),
    }
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(join(tree, dirname(path)), { recursive: true })
      writeFileSync(join(tree, path), bytes)
    }
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '-b', tree, join(folder, 'k.deb')])
    const modules = await debModules(readFileSync(join(folder, 'k.deb')), 'k.deb', ['a-front', 'builtin'])
    const paths = modules.map(({ path }) => path.replace('/lib/modules/6/kernel/', ''))
    expect(paths).toEqual(['lib/d.ko', 'lib/b-core.ko', 'lib/c.ko', 'net/a-front.ko'])
    expect(Buffer.from(modules[3]?.bytes ?? [])).toEqual(module('a_front', 'b_core,c'))
  })
})

test('a kernel that is not installed has no folder', async () => {
  expect(await installedModules('0.0.1-none', ['a'])).toBeUndefined()
  expect(await installedModules('../..', ['a'])).toBeUndefined()
})

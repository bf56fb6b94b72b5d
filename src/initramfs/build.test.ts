import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { buildInitramfs } from './build.ts'
import { writeCpio } from './cpio.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))
const text = (content: string) => new TextEncoder().encode(content)
const cpio = (args: string[], input: Uint8Array) =>
  execFileSync('cpio', ['--quiet', ...args], { input, cwd: folder, encoding: 'utf8' })

describe.runIf(spawnSync('cpio', ['--version']).status === 0)('cpio reads what is written', () => {
  test('contents, modes, links and devices', () => {
    const bytes = Uint8Array.from({ length: 4097 }, (_, i) => i * 7)
    const archive = writeCpio(
      new Map([
        ['/folder', { mode: 0o040751 }],
        ['/folder/data', { mode: 0o100640, bytes }],
        ['/folder/empty', { mode: 0o100755 }],
        ['/folder/ünï', { mode: 0o100644, bytes: text('x') }],
        ['/link', { mode: 0o120777, bytes: text('folder/data') }],
        ['/null', { mode: 0o020666, device: [1, 3] as const }],
      ]),
    )
    expect(archive.length % 4).toBe(0)
    cpio(['-i', '--no-absolute-filenames', 'folder*', 'link'], archive)
    expect(new Uint8Array(readFileSync(join(folder, 'folder/data')))).toEqual(bytes)
    expect(readFileSync(join(folder, 'folder/ünï'), 'utf8')).toBe('x')
    expect(statSync(join(folder, 'folder/data')).mode).toBe(0o100640)
    expect(statSync(join(folder, 'folder')).mode).toBe(0o040751)
    expect(statSync(join(folder, 'folder/empty')).size).toBe(0)
    expect(readlinkSync(join(folder, 'link'))).toBe('folder/data')
    expect(cpio(['-itv'], archive)).toMatch(/^crw-rw-rw- .* 1, +3 .* null$/m)
  })

  test('the default guest', () => {
    const archive = buildInitramfs({
      busybox: text('busybox'),
      files: new Map([
        ['/lib64/ld.so', { mode: 0o100755, bytes: text('ld') }],
        ['/opt/a/b', { mode: 0o100644, bytes: text('b') }],
      ]),
      exec: 'echo done',
    })
    const names = cpio(['-it'], archive).trim().split('\n')
    for (const name of ['init', 'dev/console', 'usr/bin/busybox', 'usr/lib64/ld.so', 'opt/a/b'])
      expect(names).toContain(name)
    // Each folder before what is in it.
    const isBefore = (name: string) =>
      !name.includes('/') || names.indexOf(name.slice(0, name.lastIndexOf('/'))) < names.indexOf(name)
    expect(names.filter((name) => !isBefore(name) || !names.includes(name))).toEqual([])
    // The command is an archive of its own.
    const second = archive.subarray(Buffer.from(archive).indexOf('TRAILER!!!') + 14)
    expect(cpio(['-it'], second)).toBe('paravirt\nparavirt/exec\n')
    cpio(['-id', 'paravirt/exec'], second)
    expect(readFileSync(join(folder, 'paravirt/exec'), 'utf8')).toBe('echo done\n')
  })
})

test('init is right shell', () => {
  expect(spawnSync('sh', ['-n', join(import.meta.dirname, '../../guests/init/init.sh')]).status).toBe(0)
})

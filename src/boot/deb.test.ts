import { execFileSync, spawnSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bytesOf, elfImage } from '../../test/boot/synthetic.ts'
import { debFiles } from './deb.ts'
import { loadKernel } from './kernel.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))
const long = `usr/share/${'long/'.repeat(50)}name`
const large = bytesOf(300_000)

describe.runIf(spawnSync('dpkg-deb', ['--version']).status === 0)('packages made by dpkg-deb', () => {
  beforeAll(() => {
    const tree = join(folder, 'tree')
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true })
    mkdirSync(join(tree, 'boot'))
    mkdirSync(join(tree, long, '..'), { recursive: true })
    writeFileSync(
      join(tree, 'DEBIAN/control'),
      'Package: test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n',
    )
    writeFileSync(join(tree, 'boot/vmlinuz-6.1.0'), elfImage())
    writeFileSync(join(tree, long), large, { mode: 0o755 })
    symlinkSync('../boot/vmlinuz-6.1.0', join(tree, 'usr/link'))
    linkSync(join(tree, 'boot/vmlinuz-6.1.0'), join(tree, 'usr/same'))
  })
  const build = (compression: string): Uint8Array => {
    const deb = join(folder, `${compression}.deb`)
    execFileSync('dpkg-deb', ['--root-owner-group', '-b', `-Z${compression}`, join(folder, 'tree'), deb])
    return readFileSync(deb)
  }

  test.each(['none', 'gzip', 'xz', 'zstd'])('%s', async (compression) => {
    const files = new Map<string, [mode: number, content: string | number]>()
    for await (const { path, mode, bytes, hardLink } of debFiles(build(compression), 'test'))
      files.set(path, [
        mode,
        bytes.length < 100 ? `${hardLink ? 'same as ' : ''}${new TextDecoder().decode(bytes)}` : bytes.length,
      ])
    expect(files.get('/boot')).toEqual([0o040755, ''])
    expect(files.get(`/${long}`)).toEqual([0o100755, large.length])
    expect(files.get('/usr/link')).toEqual([0o120777, '../boot/vmlinuz-6.1.0'])
    expect(files.get('/usr/same')).toEqual([0o100644, 'same as /boot/vmlinuz-6.1.0'])
  })

  test('a kernel straight from a package', async () => {
    expect((await loadKernel(build('xz'))).entries.pvh).toBe(0x1000850)
  })

  test('one after another, read to the end or not', { timeout: 30_000 }, async () => {
    const deb = build('xz')
    for (let i = 0; i < 300; i++) {
      for await (const { path } of debFiles(deb, 'test')) if (i % 2 === 0 && path === '/boot') break
    }
    expect(await Array.fromAsync(debFiles(deb, 'test'))).not.toEqual([])
  })

  test('damaged packages', async () => {
    const deb = build('xz')
    // Only the check at the end of the stream tells.
    const changed = new Uint8Array(deb)
    const footer = Buffer.from(deb).lastIndexOf('YZ')
    changed[footer - 6]! ^= 1
    await expect(Array.fromAsync(debFiles(changed, 'test'))).rejects.toThrow(/damaged package/)
    await expect(loadKernel(deb.subarray(0, -100))).rejects.toThrow(/damaged package \(truncated\)/)
    await expect(loadKernel(deb.subarray(0, 100))).rejects.toThrow(/damaged package/)
    const damaged = new Uint8Array(deb)
    damaged.fill(0x55, deb.length - 2000, deb.length - 1900)
    await expect(Array.fromAsync(debFiles(damaged, 'test'))).rejects.toThrow(/test: damaged package/)
  })
})

test('a package without a kernel', async () => {
  const empty = new TextEncoder().encode(
    `!<arch>\n${'data.tar'.padEnd(48)}${String(1024).padEnd(10)}\`\n${'\0'.repeat(1024)}`,
  )
  await expect(loadKernel(empty)).rejects.toThrow(/a package without a kernel/)
})

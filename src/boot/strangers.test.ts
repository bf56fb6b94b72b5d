/**
 * Files from strangers: kernels, packages, initrds and what is read out of a kernel, right but for some bytes. Each
 * becomes something to boot or one line for the user (InputError); nothing else is thrown, nothing hangs.
 * A failure prints its seed; fast-check's `seed` replays it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ownCache } from '../../test/boot/own-cache.ts'
import { bytesOf, bzImage, elfImage, withCrc, withSize } from '../../test/boot/synthetic.ts'
import { InputError } from '../errors.ts'
import { inspectKernel } from '../inspect/inspect.ts'
import { checkInitrd } from './initrd.ts'
import { loadKernel } from './kernel.ts'

const folder = ownCache()

interface Change {
  readonly at: number
  readonly bytes: Uint8Array
}

/** Values that headers go wrong by: ends of ranges beside random ones. */
const value = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 8 }),
  fc.constantFrom(
    Uint8Array.of(0, 0, 0, 0),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xff, 0xff, 0xff, 0x7f),
    new Uint8Array(8).fill(0xff),
  ),
)

/** Changes of a file: most in its first `header` bytes, where they mean most; perhaps it is cut. */
const damage = (length: number, header: number) =>
  fc.record({
    changes: fc.array(
      fc.record({ at: fc.oneof({ weight: 3, arbitrary: fc.nat(header) }, fc.nat(length - 1)), bytes: value }),
      { minLength: 1, maxLength: 6 },
    ),
    length: fc.oneof({ weight: 4, arbitrary: fc.constant(length) }, fc.nat(length)),
  })

function damaged(bytes: Uint8Array, { changes, length }: { changes: readonly Change[]; length: number }): Uint8Array {
  const copy = new Uint8Array(bytes)
  for (const { at, bytes: change } of changes) copy.set(change.subarray(0, copy.length - at), at)
  return copy.subarray(0, length)
}

/** What was thrown; a file that is good in spite of all is good. */
const refusal = (work: () => Promise<unknown>): Promise<unknown> =>
  work().then(
    () => undefined,
    (error: unknown) => error,
  )

async function expectRefusal(
  bytes: Uint8Array,
  header: number,
  work: (bytes: Uint8Array) => Promise<unknown>,
): Promise<void> {
  let refused = 0
  await fc.assert(
    fc.asyncProperty(damage(bytes.length, header), async (change) => {
      const error = await refusal(() => work(damaged(bytes, change)))
      if (error === undefined) return
      refused++
      expect(error).toBeInstanceOf(InputError)
      expect((error as Error).message).not.toContain('\n')
    }),
    { numRuns: 300 },
  )
  // Or the damage does none.
  expect(refused).toBeGreaterThan(30)
}

const inspected = async (bytes: Uint8Array): Promise<unknown> => inspectKernel(await loadKernel(bytes, 'stranger'))

describe('damaged files are refused with one line', () => {
  const elf = elfImage()
  test.each([64, 32] as const)('ELF, %d bits', (bits) => expectRefusal(elfImage({ bits }), 0x200, inspected))
  test('bzImage, gzip', () => expectRefusal(bzImage({ payload: gzipSync(elf) }), 0x2d0, inspected))
  test('bzImage, zstd, its checksum made right again', () =>
    expectRefusal(bzImage({ payload: withSize(zstdCompressSync(elf), elf.length) }), 0x2d0, (bytes) =>
      inspected(bytes.length < 4 ? bytes : withCrc(new Uint8Array(bytes))),
    ))
  test('a package', () => {
    const tree = join(folder, 'tree')
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true })
    mkdirSync(join(tree, 'boot'))
    const control = 'Package: test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n'
    writeFileSync(join(tree, 'DEBIAN/control'), control)
    writeFileSync(join(tree, 'boot/vmlinuz-6.1.0'), elf)
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '-b', tree, join(folder, 'test.deb')])
    return expectRefusal(new Uint8Array(readFileSync(join(folder, 'test.deb'))), 0x200, inspected)
  })
  test('an initrd', () => {
    const tree = join(folder, 'initrd')
    mkdirSync(tree)
    writeFileSync(join(tree, 'init'), bytesOf(3000))
    const archive = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: tree, input: '.\ninit\n' })
    return expectRefusal(new Uint8Array(archive), 0x200, (bytes) => checkInitrd(bytes, 'stranger', 64 << 20))
  })
})

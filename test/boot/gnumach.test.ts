/**
 * GNU Mach, Debian's build for Xen. After it has made its page directory read-only it copies an entry of it with a plain
 * store, which Xen carries out in tables of level 1 only: so it panics before it has a console, on Debian's Xen 4.17 (as
 * dom0, with its refusal to be that left out) for the same reason, 252, as here. Without that store it goes on.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { packageTree } from '../../src/packages/debian.ts'
import { command } from './guest.ts'

const images = [
  {
    name: 'gnumach-image-1.8-xen-486:amd64',
    on: 'xen-pv',
    magic: 'xen-3.0-x86_64',
    reason: 252,
    // mov 0x1000(%rax),%rdx; mov %rdx,(%rax); mov …(%rip),%rax
    code: '488b9000100000 488910 488b05',
    without: '488b9000100000 909090 488b05',
  },
  {
    name: 'gnumach-image-1.8-xen-486:i386',
    on: 'xen-pv32',
    magic: 'xen-3.0-x86_32p',
    reason: 128,
    // mov 0x3004(%eax),%ebx; mov %ecx,(%eax); xor %ecx,%ecx; mov %ebx,0x4(%eax)
    code: '8b9804300000 8908 31c9 895804',
    without: '8b9804300000 9090 31c9 909090',
  },
] as const

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')

test.each(images)('$name on $on', async ({ name, on, magic, reason, code, without }) => {
  const [, file] = [...(await packageTree([name]))].find(([path]) => /^\/boot\/gnumach.*\.gz$/.test(path)) ?? []
  const image = gunzipSync(file?.bytes ?? Buffer.alloc(0))
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-gnumach-'))
  const run = async (which: Buffer) => {
    const path = join(folder, 'gnumach')
    writeFileSync(path, which)
    return await command(['run', path, '--on', on, '--memory', '128M', '--timeout', '300'])
  }
  try {
    const stock = await run(image)
    expect([stock.stdout, stock.stderr]).toEqual(['', expect.stringContaining(`it shut down for reason ${reason}`)])

    const store = image.indexOf(bytes(code))
    expect([store > 0, image.indexOf(bytes(code), store + 1)]).toEqual([true, -1])
    bytes(without).copy(image, store)
    const { stdout } = await run(image)
    for (const line of [
      'GNU Mach 1.8+git20221224-xen-486',
      `Running on ${magic}.`,
      'biosmem: 000000000000000000:000000000008000000, available',
      'vm_page: page table size: 32752 entries',
      "eth: No net device (ENOENT). Hoping you don't need any",
    ])
      expect(stdout).toContain(line)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

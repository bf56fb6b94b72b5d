/** The stock kernels that must boot: what is read from them. Those that apt cannot fetch here are left out. */
import { describe, expect, test } from 'vitest'
import { loadKernel } from '../../src/boot/kernel.ts'
import { layoutBoot } from '../../src/boot/layout.ts'
import { kernelFile } from '../../src/packages/debian.ts'

const kernels = [
  {
    name: 'linux-image-cloud-amd64',
    release: /^6\.1\.0-\d+-cloud-amd64 /,
    compression: 'lz4',
    methods: ['pvh', '64', 'image64', 'image32'],
  },
  {
    name: 'linux-image-amd64',
    release: /^6\.1\.0-\d+-amd64 /,
    compression: 'xz',
    methods: ['pvh', '64', 'image64', 'image32'],
  },
  {
    name: 'linux-image-6.12-amd64',
    release: /^6\.12\.\S+-amd64 /,
    compression: 'zstd',
    methods: ['pvh', '64', 'image64', 'image32'],
  },
  {
    name: 'linux-image-686-pae',
    release: /^6\.1\.0-\d+-686-pae /,
    compression: 'xz',
    methods: ['pvh', '32', 'image32'],
  },
  { name: 'linux-image-686', release: /^6\.1\.0-\d+-686 /, compression: 'xz', methods: ['32', 'image32'] },
] as const

describe.for(kernels)('$name', async ({ name, release, compression, methods }) => {
  const path = await kernelFile(name).catch(() => undefined)

  test.runIf(path)('is read and laid out', async () => {
    const kernel = await loadKernel(path!)
    expect(kernel).toMatchObject({ compression, version: expect.stringMatching(release) })
    expect(Object.keys(kernel.entries).sort()).toEqual([...methods].sort())
    const { method, entry } = layoutBoot({ kernel, cmdline: '', memory: 256 << 20 })
    expect(method).toBe(methods[0])
    expect(entry.rip).toBe(kernel.entries[method])
    const segments = kernel.elf!.segments
    expect(segments[0]!.address).toBe(0x1000000)
    expect(segments.reduce((sum, { size }) => sum + size, 0)).toBeGreaterThan(16e6)
  })
})

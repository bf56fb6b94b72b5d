/** Stock kernels, entered by every method that they have, run our init in QEMU. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { methods } from '../../src/boot/entries.ts'
import { loadKernel } from '../../src/boot/kernel.ts'
import { layoutBoot } from '../../src/boot/layout.ts'
import { buildInitramfs } from '../../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'
import { runInQemu } from './in-qemu.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))
const hasQemu = spawnSync('qemu-system-x86_64', ['--version']).status === 0
const memory = 256 << 20

const commands = `printf 'a\\r\\n\\0\\377b'
echo 'to the second stream' >&2
uname -r | head -c 4 >&2
exit 42`

describe.runIf(hasQemu).for([DEFAULT_KERNEL, 'linux-image-686'])('%s', async (name) => {
  const kernel = await loadKernel(await kernelFile(name))
  const busybox = readFileSync(await busyboxFile(kernel.bits === 64 ? 'amd64' : 'i386'))
  const initrd = buildInitramfs({ busybox, exec: commands })

  test.for(methods.filter((method) => kernel.entries[method] !== undefined))('by %s', async (method) => {
    const cmdline = 'console=ttyS0 acpi=off quiet'
    const boot = layoutBoot({ kernel, initrd, cmdline, memory, method })
    const { serial } = await runInQemu(boot, memory, folder)
    expect(serial[0]).toContain('paravirt: user space\r\n')
    expect(serial[1]).toBe('a\r\n\0\xffb')
    expect(serial[2]).toBe(`to the second stream\n${kernel.version.slice(0, 4)}`)
    expect(serial[3]).toBe('42\n')
  })
})

/** A guest with programs of its own in the initramfs: what a command prints there, and what it asked its hypervisor. */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../../src/boot/kernel.ts'
import { kernelCommandLine } from '../../src/cli/command-line.ts'
import { execSinks } from '../../src/cli/exec.ts'
import { buildInitramfs } from '../../src/initramfs/build.ts'
import type { CpioEntry } from '../../src/initramfs/cpio.ts'
import { Machine } from '../../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'
import type { PlatformName } from '../../src/platforms/index.ts'

interface Guest {
  readonly files: ReadonlyMap<string, CpioEntry>
  readonly exec: string
  readonly platform?: PlatformName
}

interface Ended {
  /** Both streams. */
  readonly output: string
  readonly code: number | undefined
  /** What the platform reported to the user. */
  readonly reports: readonly string[]
  /** How often a request of this name was made. */
  count(name: string): number
}

export async function withPrograms({ files, exec, platform = 'native' }: Guest): Promise<Ended> {
  let output = ''
  let code: number | undefined
  const reports: string[] = []
  const ended = new AbortController()
  const print = (bytes: Uint8Array) => void (output += Buffer.from(bytes).toString())
  const machine = await Machine.create({
    memory: 1 << 30,
    cpu: 'inorder',
    platform,
    boot: {
      kernel: await loadKernel(await kernelFile(DEFAULT_KERNEL)),
      initrd: buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')), files, exec }),
      cmdline: kernelCommandLine({ quiet: true }),
    },
    onReport: (lines) => void reports.push(...lines),
    serial: execSinks({
      stdout: print,
      stderr: print,
      ended(exitCode) {
        code = exitCode
        ended.abort()
      },
    }),
  })
  await machine.run(ended.signal)
  const counts = new Map([...machine.requests.counts].map(([{ name }, count]) => [name, count]))
  return { output, code, reports, count: (name) => counts.get(name) ?? 0 }
}

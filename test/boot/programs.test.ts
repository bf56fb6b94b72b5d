/** Programs that bring their own code: static C with threads, and Debian's python3 with its shared libraries. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { loadKernel } from '../../src/boot/kernel.ts'
import { kernelCommandLine } from '../../src/cli/command-line.ts'
import { execSinks } from '../../src/cli/exec.ts'
import { buildInitramfs } from '../../src/initramfs/build.ts'
import type { CpioEntry } from '../../src/initramfs/cpio.ts'
import { Machine } from '../../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile, packageTree } from '../../src/packages/debian.ts'

const PYTHON = ['python3.11-minimal', 'libpython3.11-minimal', 'libc6', 'libexpat1', 'zlib1g']

const python = `
import math, re, struct, zlib
print(sum(i * i for i in range(100000)), pow(3, 12345, 1000007), 2 ** 200)
print(repr(0.1 + 0.2), math.sin(1e22), math.exp(1.5), round(2.675, 2), struct.pack('<d', math.pi).hex())
print(zlib.crc32(bytes(range(256)) * 100), re.sub(r'(\\d+)', lambda m: str(int(m[1]) * 2), 'a1b22c333'))
`
const pythonOutput = `333328333350000 860850 1606938044258990275541962092341162602522202993782792835301376
0.30000000000000004 -0.8522008497671888 4.4816890703380645 2.67 182d4454fb210940
319769915 a2b44c666
`

let output = ''
let exitCode: number | undefined

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-test-'))
  const threads = join(folder, 'threads')
  execFileSync('gcc', ['-O2', '-static', '-pthread', '-o', threads, join(import.meta.dirname, 'threads.c')])
  const files = new Map<string, CpioEntry>(await packageTree(PYTHON))
  files.set('/usr/bin/threads', { mode: 0o100755, bytes: readFileSync(threads) })
  files.set('/root/test.py', { mode: 0o100644, bytes: Buffer.from(python) })
  rmSync(folder, { recursive: true })

  const exec = 'threads && python3.11 test.py'
  const ended = new AbortController()
  const print = (bytes: Uint8Array) => void (output += Buffer.from(bytes).toString())
  const machine = await Machine.create({
    memory: 1 << 30,
    cpu: 'inorder',
    platform: 'native',
    boot: {
      kernel: await loadKernel(await kernelFile(DEFAULT_KERNEL)),
      initrd: buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')), files, exec }),
      cmdline: kernelCommandLine({ quiet: true }),
    },
    serial: execSinks({
      stdout: print,
      stderr: print,
      ended(code) {
        exitCode = code
        ended.abort()
      },
    }),
  })
  await machine.run(ended.signal)
})

test('threads, then python3, print what they print everywhere', () => {
  expect(output).toBe(`40000 40000 8 140000\n${pythonOutput}`)
  expect(exitCode).toBe(0)
})

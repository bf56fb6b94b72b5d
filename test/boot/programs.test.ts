/**
 * Programs that bring their own code: static C programs (test/guest-programs), each compared with the same program on
 * this host, and Debian's python3 with its shared libraries.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CpioEntry } from '../../src/initramfs/cpio.ts'
import { packageTree } from '../../src/packages/debian.ts'
import { withPrograms } from './with-programs.ts'

const sources = join(import.meta.dirname, '../guest-programs')
const programs = readdirSync(sources)
  .filter((name) => name.endsWith('.c'))
  .map((name) => basename(name, '.c'))

/** The C library's mathematics may round otherwise where there is FMA, which the guest's processor does not have. */
const GLIBC_TUNABLES = 'glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-FMA4'

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

const folder = mkdtempSync(join(tmpdir(), 'paravirt-test-'))
afterAll(() => rmSync(folder, { recursive: true }))
const built = (program: string) => join(folder, program)

let outputs: ReadonlyMap<string, string>

beforeAll(async () => {
  const files = new Map<string, CpioEntry>(await packageTree(PYTHON))
  for (const program of programs) {
    const source = join(sources, `${program}.c`)
    execFileSync('gcc', ['-O2', '-static', '-pthread', '-o', built(program), source, '-lm'])
    files.set(`/usr/bin/${program}`, { mode: 0o100755, bytes: readFileSync(built(program)) })
  }
  files.set('/root/test.py', { mode: 0o100644, bytes: Buffer.from(python) })
  const mark = '=====8<====='
  const commands = [...programs.map((program) => [program, program]), ['python3', 'python3.11 test.py']]
  const script = commands.map(([, command]) => `${command}; echo "[$?]${mark}"`).join('\n')
  const { output, code } = await withPrograms({ files, exec: script })
  if (code !== 0) throw new Error(`the guest ended early (${code}): ${output.slice(-2000)}`)
  const pieces = output.split(`${mark}\n`)
  outputs = new Map(commands.map(([name], i) => [name as string, pieces[i] as string]))
})

describe('a C program prints what it prints on this host', () => {
  test.for(programs)('%s', (program) => {
    const { stdout, status } = spawnSync(built(program), { encoding: 'utf8', env: { GLIBC_TUNABLES } })
    expect(status).toBe(0)
    expect(outputs.get(program)).toBe(`${stdout}[0]`)
  })
})

test("Debian's python3", () => {
  expect(outputs.get('python3')).toBe(`${pythonOutput}[0]`)
})

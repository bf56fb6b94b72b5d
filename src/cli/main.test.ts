/** The command as a process: what it refuses, with one line and exit code 2, and nothing left behind. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cacheFolder } from '../cache.ts'

const bin = join(import.meta.dirname, '../../bin/paravirt.cjs')
let folder: string
/** Not in the folder that must stay as it was. */
const NODE_COMPILE_CACHE = join(cacheFolder(), 'compiled')

/** A folder to run in and an empty cache of its own; PATH without apt, so that nothing is fetched. */
function paravirt(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: {
      HOME: folder,
      XDG_CACHE_HOME: join(folder, 'cache'),
      TMPDIR: folder,
      PATH: '/nonexistent',
      NODE_COMPILE_CACHE,
    },
  })
  return { code: status, stdout, stderr }
}

/** A bzImage's first sectors, as far as the checks that this test is about go. */
function truncatedKernel(): Uint8Array {
  const bytes = new Uint8Array(0x400)
  const view = new DataView(bytes.buffer)
  view.setUint8(0x1f1, 1)
  view.setUint32(0x1f4, 0x10000, true)
  view.setUint16(0x1fe, 0xaa55, true)
  view.setUint8(0x201, 0x66)
  view.setUint32(0x202, 0x53726448, true)
  view.setUint16(0x206, 0x20f, true)
  view.setUint8(0x211, 1)
  return bytes
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravirt-test-'))
  mkdirSync(join(folder, 'cache', 'paravirt'), { recursive: true })
  mkdirSync(join(folder, 'a-folder'))
  writeFileSync(join(folder, 'empty'), '')
  writeFileSync(join(folder, 'text'), 'not a kernel\n'.repeat(200))
  writeFileSync(join(folder, 'truncated'), truncatedKernel())
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('bad input: one line, exit code 2, nothing left behind', () => {
  const before = () => readdirSync(folder, { recursive: true }).sort()

  test.each<[string, string[], string]>([
    ['unknown command', ['rnu'], "paravirt: unknown command 'rnu' (Did you mean run?)"],
    ['unknown option', ['run', '--memroy', '1G'], "paravirt: unknown option '--memroy' (Did you mean --memory?)"],
    [
      'missing value',
      ['run', '--memory'],
      "paravirt: option '--memory <SIZE>' argument missing; see paravirt run --help",
    ],
    [
      'two kernels',
      ['run', 'a', 'b'],
      "paravirt: too many arguments for 'run'. Expected 1 argument but got 2; see paravirt run --help",
    ],
    ['nothing like a command', ['frobnicate'], "paravirt: unknown command 'frobnicate'; see paravirt --help"],
    [
      'a comma too much',
      ['run', '--on', 'kvm', '--features', 'pv-eoi,,'],
      "paravirt: --features 'pv-eoi,,': write names with one comma between, as a,no-b",
    ],
    ['unknown platform', ['run', '--on', 'natve'], "paravirt: unknown platform 'natve'; did you mean native?"],
    [
      'unknown processor',
      ['run', '--cpu', 'inoder'],
      "paravirt: unknown processor model 'inoder'; did you mean inorder?",
    ],
    ['bad size', ['run', '--memory', 'lots'], "paravirt: --memory 'lots' is not a size; write 512M or 2G"],
    ['too much memory', ['run', '--memory', '64G'], 'paravirt: --memory 64G is too large; at most 2816M'],
    ['bad timeout', ['run', '--timeout', '-3'], "paravirt: --timeout '-3' is not a positive number of seconds"],
    ['no number', ['run', '--hot', 'some'], "paravirt: --hot 'some' is not a number from 1 to 1000"],
    [
      'nothing translated',
      ['run', '--hot', '1', '--count', 'all'],
      'paravirt: --hot: with --count all nothing is translated',
    ],
    [
      'nothing to write',
      ['run', '--hot-wasm', './out'],
      'paravirt: --hot-wasm needs --hot, which says how many regions',
    ],
    ['no folder', ['run', '--hot', '1', '--hot-wasm', './text'], 'paravirt: --hot-wasm ./text: not a folder'],
    ['no symbols', ['run', '--system-map', './none'], 'paravirt: --system-map ./none: no such file'],
    [
      'a QEMU option without meaning here',
      ['-kernel', './text', '-enable-kvm'],
      'paravirt: -enable-kvm: paravirt brings its own processor; for a guest of KVM say --on kvm',
    ],
    ['no trace', ['trace', './text'], 'paravirt: ./text: line 1 is not from --trace-file: no JSON'],
    ['a kernel to inspect', ['inspect', './empty'], 'paravirt: ./empty: empty file'],
    [
      'a bad pattern',
      ['ops', './none', '--op', '('],
      'paravirt: --op: Invalid regular expression: /(/: Unterminated group',
    ],
    ['missing kernel', ['run', './none'], 'paravirt: ./none: no such file'],
    ['a folder', ['run', './a-folder'], 'paravirt: ./a-folder: a folder'],
    ['an empty kernel', ['run', './empty'], 'paravirt: ./empty: empty file'],
    [
      'text as a kernel',
      ['run', './text'],
      'paravirt: ./text: not a Linux kernel: neither bzImage (vmlinuz) nor ELF (vmlinux)',
    ],
    [
      'a truncated kernel',
      ['run', './truncated'],
      'paravirt: ./truncated: truncated kernel: 1024 bytes of 1049600; fetch it again',
    ],
    ['missing initrd', ['run', '--initrd', './none'], 'paravirt: --initrd ./none: no such file'],
    [
      'text as initrd',
      ['run', '--initrd', './text'],
      'paravirt: --initrd ./text: not an initrd: neither a cpio archive (newc) nor a compressed one',
    ],
    ['a folder as initrd', ['run', '--initrd', './a-folder'], 'paravirt: --initrd ./a-folder: a folder'],
    [
      '--exec with an initrd',
      ['run', '--exec', 'ls', '--initrd', 'x'],
      'paravirt: --exec needs the default initramfs; leave out --initrd',
    ],
    [
      'a package, but no apt',
      ['run', 'linux-image-amd64'],
      'paravirt: linux-image-amd64: this system has no apt to fetch the package with; give files by path',
    ],
  ])('%s', (_, args, line) => {
    const files = before()
    const { code, stdout, stderr } = paravirt(args)
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: `${line}\n` })
    expect(before()).toEqual(files)
  })
})

describe('matrix: wrong usage ends a bisection, a kernel that cannot be had is skipped', () => {
  test.each<[string, string[], number, string]>([
    ['unknown option', ['--tpa'], 128, "unknown option '--tpa' (Did you mean --tap?)"],
    ['unknown platform', ['--platforms', 'native,hyprv'], 128, "unknown platform 'hyprv'; did you mean hyperv?"],
    ['two forms', ['--tap', '--json'], 128, '--tap and --json both write to stdout; choose one'],
    [
      'a part of nothing',
      ['--shard', '3/2'],
      128,
      "--shard '3/2' is not a part of a whole; write 1/4 to 4/4 for four parts",
    ],
    ['no jobs', ['--jobs', '0'], 128, "--jobs '0' is not a number from 1 to 64"],
    ['nothing to merge', ['--merge'], 128, '--merge needs the files that --json wrote'],
    ['a missing part', ['--merge', './none'], 128, '--merge ./none: no such file'],
    ['no expectations', ['--expect', './text'], 128, expect.stringMatching(/^--expect \.\/text: .*JSON/)],
    [
      'nowhere to write',
      ['--html', './none/page.html'],
      128,
      expect.stringMatching(/^--html \.\/none\/page\.html: no such folder$/),
    ],
    ['missing kernel', ['./none'], 125, './none: no such file'],
    ['one kernel of two is none', ['./text', './none'], 125, expect.stringMatching(/^\.\/text: not a Linux kernel/)],
    ['no package', ['linux-image-amd64'], 125, expect.stringMatching(/^linux-image-amd64: .* no apt/)],
  ])('%s', (_, args, code, line) => {
    const result = paravirt(['matrix', ...args])
    const message: unknown = result.stderr.replace(/^paravirt: (.*)\n$/s, '$1')
    expect({ code: result.code, stdout: result.stdout, message }).toEqual({ code, stdout: '', message: line })
  })
})

describe('help', () => {
  test('--help and --version succeed on stdout', () => {
    expect(paravirt(['run', '--help'])).toMatchObject({ code: 0, stderr: '' })
    expect(paravirt(['run', '--help']).stdout).toContain('--append <TEXT>')
    expect(paravirt(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  test('no words at all is bad input, answered with the help', () => {
    const { code, stdout, stderr } = paravirt([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('Usage: paravirt')
  })
})

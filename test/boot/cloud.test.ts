/** The default guest: Debian's cloud kernel for amd64 with the initramfs that is made here. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Result } from './guest.ts'
import { command, inGuest } from './guest.ts'
import { expectHealthyKernel, kernelCommands } from './kernel.ts'
import { expectUserspace, userspaceCommands } from './userspace.ts'

describe('the default guest', () => {
  let results: Readonly<Record<keyof typeof kernelCommands | keyof typeof userspaceCommands, Result>>
  beforeAll(async () => {
    results = await inGuest([], { ...kernelCommands, ...userspaceCommands })
  })
  expectHealthyKernel(() => results)
  expectUserspace(() => results)
})

describe('the command', () => {
  test('--exec keeps stdout, stderr and the exit code apart', async () => {
    const { code, stdout, stderr } = await command(['run', '--exec', 'echo out; echo err >&2; exit 7'])
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' })
  })

  test('what is piped in reaches the shell; poweroff exits with 0', async () => {
    const { code, stdout } = await command(['run'], 'echo $((6 * 7)) is it\npoweroff -f\n')
    expect(stdout).toContain('42 is it')
    expect(code).toBe(0)
  })

  test('a panic has its code, one line and a backtrace', async () => {
    const { code, stderr } = await command(['run', '--append', 'rdinit=/nonexistent root=/dev/none'])
    expect(stderr).toMatch(/^paravirt: the guest's kernel panic - not syncing: [^\n]+\nvCPU 0: \w+\+0x\w+\n/)
    expect(stderr).toMatch(/^ {2}\? panic\+0x\w+$/m)
    expect(code).toBe(120)
  })

  test('a timeout has its code and one line', async () => {
    const { code, stderr } = await command(['run', '--timeout', '1'])
    expect(stderr).toBe('paravirt: timeout: the guest was still running after 1 s\n')
    expect(code).toBe(124)
  })
})

/** `paravirt matrix` with stock kernels: what it finds, and what it tells git bisect. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readReport } from '../../src/matrix/merge.ts'
import { reportSchema } from '../../src/matrix/report.ts'
import { type PlatformName, platforms } from '../../src/platforms/index.ts'
import { command } from './guest.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-matrix-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Platforms for 32-bit kernels, and what a 64-bit one is told. */
const closed: Readonly<Partial<Record<PlatformName, string>>> = {
  vmi: 'it is a 64-bit kernel; VMI is for 32-bit ones',
  lguest: 'it is a 64-bit kernel; lguest is for 32-bit ones',
  'xen-pv32': 'a 64-bit kernel; --on xen-pv takes those',
}

test('the default kernel is good on every platform that it can enter', async () => {
  const html = join(folder, 'page.html')
  const { code, stdout, stderr } = await command(['matrix', '--json', '--html', html, '--exec', 'uname -m'])
  const { cells } = reportSchema.parse(JSON.parse(stdout))
  expect(cells.map(({ platform, outcome, detail }) => ({ platform, outcome, detail }))).toEqual(
    platforms.map((platform) => {
      const detail = closed[platform]
      return { platform, outcome: detail ? 'cannot-enter' : 'ok', detail }
    }),
  )
  expect(code).toBe(0)
  for (const { output, messages, userSpace, instructions, firstError, platform, outcome } of cells) {
    if (outcome === 'cannot-enter') continue
    expect(output).toBe('x86_64\n')
    // The log was read from memory, levels and all.
    expect(messages[0]).toMatchObject({ level: 5, text: expect.stringMatching(/^Linux version 6\.1/) })
    expect(userSpace!.t).toBeGreaterThan(1e8)
    expect(instructions).toBeGreaterThan(userSpace!.instructions)
    expect([platform, firstError]).toEqual([platform, undefined])
  }
  expect(stderr).toMatch(/^native: ok, user space after [\d.]+ s/m)
  expect(readFileSync(html, 'utf8')).toContain('Booting paravirtualized kernel on bare hardware')
})

describe('what is bad', () => {
  test('a panic, with the kernel’s log and where it was', async () => {
    const args = ['--append', 'rdinit=/none root=/dev/none', '--platforms', 'kvm', '--json']
    const { code, stdout } = await command(['matrix', ...args])
    expect(code).toBe(1)
    const [cell] = reportSchema.parse(JSON.parse(stdout)).cells
    expect(cell).toMatchObject({
      outcome: 'panic',
      verdict: 'bad',
      detail: expect.stringMatching(/unable to mount root/i),
    })
    expect(cell!.backtrace!.join('\n')).toMatch(/\? panic\+0x/)
    expect(cell!.messages.some(({ level, text }) => level === 0 && text.includes('Kernel panic'))).toBe(true)
    expect(cell!.lastRequests.map(({ name }) => name)).toContain('MSR_KVM_SYSTEM_TIME_NEW')
  })

  test('a hang, after the time limit', async () => {
    const { code, stdout } = await command(['matrix', '--platforms', 'native', '--exec', 'sleep 99', '--timeout', '40'])
    expect(code).toBe(1)
    expect(stdout).toContain('still running after 40 s, in user space')
  })
})

test('two parts make a whole', async () => {
  const parts = [1, 2].map((index) => ({ index, file: join(folder, `${index}.json`) }))
  for (const { index, file } of parts) {
    const args = ['matrix', '--platforms', 'native,vmware', '--shard', `${index}/2`, '--json']
    const { code, stdout } = await command(args)
    expect(code).toBe(0)
    writeFileSync(file, stdout)
    expect(readReport(file).cells).toHaveLength(1)
  }
  const { code, stdout } = await command(['matrix', '--merge', ...parts.map(({ file }) => file)])
  expect(code).toBe(0)
  expect(stdout).toMatch(/native .* ok [^]*vmware .* ok /)
})

/**
 * The test kernels of guests/platforms, which ask a hypervisor: what they write must be what test/guests/platforms
 * says, interpreted, translated and with a turn for each instruction.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import type { PlatformName } from '../src/platforms/index.ts'
import { buildGuest } from './guests/build.ts'
import { runHere } from './guests/run.ts'

const folder = join(import.meta.dirname, 'guests/platforms')
const guests = readdirSync(folder).map((file) => basename(file, '.txt'))

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('test kernels of platforms', () => {
  test.for(guests)('%s', { timeout: 300_000 }, async (name) => {
    const platform = name.replace(/\d+$/, '') as PlatformName
    const kernel = await loadKernel(buildGuest(`platforms/${name}`), name)
    const wanted = readFileSync(join(folder, `${name}.txt`), 'utf8').split('\n')
    const lines = wanted.filter((line) => line !== '' && !line.startsWith('##'))
    const options = { platform, cpus: 2 }
    for (const [what, more] of [
      ['interpreted', { translate: false }],
      ['translated', { translate: 'eager' }],
      ['one instruction a slice', { observe: { every: 1, at() {} } }],
    ] as const) {
      const { lines: written, exit } = await runHere(kernel, { ...options, ...more })
      expect(written, what).toEqual(lines)
      expect(exit).toBe('triple-fault')
    }
  })
})

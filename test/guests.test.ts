/**
 * The test kernels of guests/ run here and in QEMU's TCG and must write the same lines, but for those that TCG is known
 * to get wrong (test/guests/GUEST.txt): these must be as listed here, and still differ there.
 */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildGuest, guests } from './guests/build.ts'
import { byName, tcgErrors } from './guests/compare.ts'
import { runHere, runInTcg } from './guests/run.ts'

const has = (command: string) => spawnSync(command, ['--version']).status === 0

describe.runIf(has('gcc') && has('qemu-system-x86_64'))('test kernels', () => {
  test.for(guests)('%s', { timeout: 300_000 }, async (name) => {
    const kernel = await loadKernel(buildGuest(name), name)
    const [here, tcg] = await Promise.all([runHere(kernel), runInTcg(kernel)])
    expect(await runHere(kernel, { translate: 'eager' }), 'translated').toEqual(here)
    const observe = { every: 1, at() {} }
    expect(await runHere(kernel, { observe }), 'one instruction a slice').toEqual(here)
    expect(here.exit).toBe('triple-fault')
    expect(here.lines.at(-1)).toBe('end')
    const known = tcgErrors(name)
    const theirs = byName(tcg.lines)
    const differing = [...byName(here.lines)].filter(([key, line]) => theirs.get(key) !== line)
    const unknown = differing.filter(([, line]) => {
      const at = known.indexOf(line)
      if (at >= 0) known.splice(at, 1)
      return at < 0
    })
    expect(unknown.map(([key, line]) => ({ here: line, tcg: theirs.get(key) }))).toEqual([])
    expect(known, 'lines that are the same in TCG, or no longer as listed').toEqual([])
  })
})

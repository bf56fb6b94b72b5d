/** A host that lets its machine wait: what passed meanwhile comes to the guest as on a host that did not. */
import { spawnSync } from 'node:child_process'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import { Machine } from '../src/machine/machine.ts'
import { buildGuest } from './guests/build.ts'

afterEach(() => vi.restoreAllMocks())

/** Milliseconds. */
const STALL = 40
/** Readings of the clock in a delay before the host stalls. */
const BEFORE = 500

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('a delay loop by the TSC', () => {
  test.for([true, false])('sees its ticks though nothing ran for all of it; translated: %s', async (translate) => {
    const kernel = await loadKernel(buildGuest('late/timer64'), 'timer64')
    let text = ''
    let stallIn = Infinity
    const machine = await Machine.create({
      memory: 16 << 20,
      cpu: 'inorder',
      platform: 'native',
      translate: translate ? 'eager' : false,
      boot: { kernel, cmdline: '' },
      serial: {
        com1: (bytes) => {
          text += Buffer.from(bytes).toString('latin1')
          if (text.endsWith('delay 1\n')) stallIn = BEFORE
        },
      },
    })
    let host = performance.now()
    // Each look at the host's clock takes a microsecond, one of them longer.
    vi.spyOn(performance, 'now').mockImplementation(() => {
      host += stallIn-- === 0 ? STALL : 0.001
      return host
    })
    await machine.run(AbortSignal.timeout(60_000))
    expect(text).toMatch(/^delay 0\nticks (9|a|b)\ndelay 1\nticks (9|a|b)\n/)
  })
})

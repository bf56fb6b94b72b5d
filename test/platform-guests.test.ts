/**
 * The test kernels of guests/platforms, which ask a hypervisor: what they write must be what test/guests/platforms
 * says, interpreted, translated and with a turn for each instruction. Those of KVM, VMware and Hyper-V must ask all that
 * is declared, get every error, and (NAME-off) find nothing where the feature is off.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import { definitions, type PlatformName } from '../src/platforms/index.ts'
import { buildGuest } from './guests/build.ts'
import { answersIn, wantedAnswers } from './guests/requests.ts'
import { runHere } from './guests/run.ts'

const folder = join(import.meta.dirname, 'guests/platforms')
const guests = readdirSync(folder).map((file) => basename(file, '.txt'))
const complete: readonly PlatformName[] = ['kvm', 'vmware', 'hyperv']

/** xen-pvh is a platform's name, kvm-off is not. */
const platformOf = (guest: string) => guest.replace(/(-(off|indirect))?\d+$/, '') as PlatformName
const kernelOf = (guest: string) => loadKernel(buildGuest(`platforms/${guest}`), guest)

/** What is off for a guest of a platform that is asked everything; all else is on. */
const without = (guest: string, all: readonly string[]): readonly string[] =>
  guest.includes('-off') ? all : guest === 'hyperv-indirect64' ? ['stimer-direct', 'xmm-input'] : []

function optionsOf(guest: string) {
  const platform = platformOf(guest)
  const names = complete.includes(platform) ? Object.keys(definitions[platform].features) : []
  const off = without(guest, names)
  return { platform, cpus: 2, features: names.map((name) => (off.includes(name) ? `no-${name}` : name)) }
}

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('test kernels of platforms', () => {
  test.for(guests)('%s', { timeout: 300_000 }, async (name) => {
    const kernel = await kernelOf(name)
    const wanted = readFileSync(join(folder, `${name}.txt`), 'utf8').split('\n')
    const lines = wanted.filter((line) => line !== '' && !line.startsWith('##'))
    for (const [what, more] of [
      ['interpreted', { translate: false }],
      ['translated', { translate: 'eager' }],
      ['one instruction a slice', { observe: { every: 1, at() {} } }],
    ] as const) {
      const { lines: written, exit } = await runHere(kernel, { ...optionsOf(name), ...more })
      expect(written, what).toEqual(lines)
      expect(exit).toBe(name === 'hyperv64' ? 'reset' : 'triple-fault')
    }
  })

  test.for(complete)('those of %s ask everything and get every error', { timeout: 300_000 }, async (platform) => {
    const came = new Set<string>()
    for (const name of guests.filter((guest) => platformOf(guest) === platform))
      await runHere(await kernelOf(name), optionsOf(name), (event) => {
        for (const answer of answersIn(event, name.includes('-off'))) came.add(answer)
      })
    expect(wantedAnswers(definitions[platform].requests).filter((each) => !came.has(each))).toEqual([])
  })
})

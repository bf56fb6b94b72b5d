/**
 * A deterministic machine that goes on from a snapshot does the same as one that was never stopped: the states at each
 * million of instructions are equal, wherever the snapshot was taken, on every platform.
 */
import { beforeAll, expect, test } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import type { Kernel } from '../src/boot/entries.ts'
import { Machine } from '../src/machine/machine.ts'
import { identity } from '../src/machine/snapshot.ts'
import { hashRam, hashRegisters } from '../src/machine/state-hash.ts'
import type { HostOptions } from '../src/machine/types.ts'
import { DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import { platforms, type PlatformName } from '../src/platforms/index.ts'
import { openSnapshot } from '../src/snapshot/file.ts'

const MILLION = 1_000_000
const TAKEN_AT = 40 * MILLION
const END = 60 * MILLION

let kernel: Kernel
beforeAll(async () => {
  kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
})

/** Host options that note the state at each million, and stop the machine after some instructions. */
function watched(end: number) {
  const states = new Map<number, string>()
  const ending = new AbortController()
  const options: HostOptions = {
    serial: {},
    observe: {
      every: MILLION,
      at(core, instructions) {
        const registers = core.vcpus.map((_, vcpu) => hashRegisters(core, vcpu))
        states.set(instructions, [...registers, instructions % END === 0 ? hashRam(core) : 0].join(' '))
        if (instructions >= end) ending.abort()
      },
    },
  }
  return { states, options, signal: ending.signal }
}

const create = (platform: PlatformName, cpus: number, options: HostOptions) =>
  Machine.create({
    ...options,
    memory: 128 << 20,
    cpu: 'inorder',
    platform,
    cpus,
    deterministic: true,
    boot: { kernel, initrd: undefined, cmdline: 'console=ttyS0 panic=-1' },
  })

test.each(platforms.flatMap((platform) => [1, 2].map((cpus) => [platform, cpus] as const)))(
  '%s, %d vCPUs: goes on as if it had not been stopped',
  async (platform, cpus) => {
    const whole = watched(END)
    await (await create(platform, cpus, whole.options)).run(whole.signal)

    const first = watched(TAKEN_AT)
    const stopped = await create(platform, cpus, first.options)
    await stopped.run(first.signal)
    const bytes = await Array.fromAsync(stopped.save({ name: 'test' }))

    const rest = watched(END)
    const restored = await Machine.restore(await openSnapshot(bytes, identity), rest.options)
    expect(restored.stats().instructions).toBe(TAKEN_AT)
    // Most of its memory comes when it is touched.
    expect(restored.core.absent.count > 500).toBe(platform !== 'xen-pv')
    await restored.run(rest.signal)
    expect([...rest.states.keys()]).toEqual(Array.from({ length: 20 }, (_, i) => TAKEN_AT + (i + 1) * MILLION))
    for (const [at, state] of rest.states) expect([at, state]).toEqual([at, whole.states.get(at)])
  },
  120_000,
)

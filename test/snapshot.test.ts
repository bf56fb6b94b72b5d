/**
 * A deterministic machine that goes on from a snapshot does the same as one that was never stopped: the states at each
 * million of instructions are equal, wherever the snapshot was taken, on every platform.
 */
import { beforeAll, expect, test } from 'vitest'
import { elfKernel, type Kernel } from '../src/boot/entries.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { pvopsImage } from '../src/demo/image.ts'
import { Machine } from '../src/machine/machine.ts'
import { identity } from '../src/machine/snapshot.ts'
import { hashRam, hashRegisters } from '../src/machine/state-hash.ts'
import type { HostOptions } from '../src/machine/types.ts'
import { DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import type { PlatformDefinition } from '../src/paravirt/platform.ts'
import { definitions, platforms, type PlatformName } from '../src/platforms/index.ts'
import { openSnapshot } from '../src/snapshot/file.ts'

const MILLION = 1_000_000

/** A kernel, how often its state is looked at, and where the snapshot is taken and all ends. */
interface Guest {
  readonly kernel: Kernel
  /** Empty: as our own wants it. */
  readonly cmdline: string
  readonly every: number
  readonly takenAt: number
  readonly end: number
}

/** The default kernel; on platforms for 32-bit kernels our own, which has less to do. */
let stock: Guest
let own: Guest
beforeAll(async () => {
  const kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  const cmdline = 'console=ttyS0 panic=-1'
  stock = { kernel, cmdline, every: MILLION, takenAt: 40 * MILLION, end: 60 * MILLION }
  const pvops = elfKernel(await pvopsImage(32), 'pvops')
  own = { kernel: pvops, cmdline: '', every: MILLION / 10, takenAt: 0.7 * MILLION, end: 1.4 * MILLION }
})
const guestOf = (platform: PlatformName): Guest => (stock.kernel.bits === 64 && narrow.has(platform) ? own : stock)
const narrow: ReadonlySet<PlatformName> = new Set(['xen-pv32', 'lguest'])

/** Host options that note the state now and then, and stop the machine after some instructions. */
function watched({ every, end: END }: Guest, end: number) {
  const states = new Map<number, string>()
  const ending = new AbortController()
  const options: HostOptions = {
    serial: {},
    observe: {
      every,
      at(core, instructions) {
        const registers = core.vcpus.map((_, vcpu) => hashRegisters(core, vcpu))
        states.set(instructions, [...registers, instructions % END === 0 ? hashRam(core) : 0].join(' '))
        if (instructions >= end) ending.abort()
      },
    },
  }
  return { states, options, signal: ending.signal }
}

const create = (platform: PlatformName, { kernel, cmdline }: Guest, cpus: number, options: HostOptions) =>
  Machine.create({
    ...options,
    memory: 128 << 20,
    cpu: 'inorder',
    platform,
    cpus,
    deterministic: true,
    boot: { kernel, initrd: undefined, cmdline: cmdline || `cpus=${cpus}` },
  })

const numbers = (platform: PlatformName) => {
  const { cpus = 2 }: PlatformDefinition = definitions[platform]
  return [1, 2].filter((count) => count <= cpus)
}

test.each(platforms.flatMap((platform) => numbers(platform).map((cpus) => [platform, cpus] as const)))(
  '%s, %d vCPUs: goes on as if it had not been stopped',
  async (platform, cpus) => {
    const guest = guestOf(platform)
    const { takenAt, end, every } = guest
    const whole = watched(guest, end)
    await (await create(platform, guest, cpus, whole.options)).run(whole.signal)

    const first = watched(guest, takenAt)
    const stopped = await create(platform, guest, cpus, first.options)
    await stopped.run(first.signal)
    const bytes = await Array.fromAsync(stopped.save({ name: 'test' }))

    const rest = watched(guest, end)
    const restored = await Machine.restore(await openSnapshot(bytes, identity), rest.options)
    expect(restored.stats().instructions).toBe(takenAt)
    // Most of its memory comes when it is touched.
    expect(guest === own || restored.core.absent.count > 500).toBe(true)
    await restored.run(rest.signal)
    expect([...rest.states.keys()]).toEqual(
      Array.from({ length: (end - takenAt) / every }, (_, i) => takenAt + (i + 1) * every),
    )
    for (const [at, state] of rest.states) expect([at, state]).toEqual([at, whole.states.get(at)])
  },
  120_000,
)

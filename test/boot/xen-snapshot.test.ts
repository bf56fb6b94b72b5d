/** Guests of Xen that are saved while disks and network are at work go on from there as if nothing had happened. */
import { expect, test } from 'vitest'
import { MemoryBlocks, MemoryDisk, OverlayDisk } from '../../src/backends/disk.ts'
import { UserNetwork } from '../../src/backends/network/user.ts'
import { loadKernel } from '../../src/boot/kernel.ts'
import { guestDevices } from '../../src/cli/devices.ts'
import { guestPlan } from '../../src/cli/guest.ts'
import { Machine } from '../../src/machine/machine.ts'
import { identity } from '../../src/machine/snapshot.ts'
import { hashRam, hashRegisters } from '../../src/machine/state-hash.ts'
import type { HostOptions } from '../../src/machine/types.ts'
import { kernelFile } from '../../src/packages/debian.ts'
import type { PlatformName } from '../../src/platforms/index.ts'
import { openSnapshot } from '../../src/snapshot/file.ts'
import { CLOUD } from './combinations.ts'

const EVERY = 2_000_000

/** Reads and writes past the page cache, packets, and a frontend that connects anew. */
const WORK = `echo working
for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
  dd if=/dev/xvda of=/dev/xvda bs=16k count=4 skip=$round seek=$((round + 20)) conv=fsync,notrunc 2> /dev/null &
  ping -c 1 10.0.2.2 > /dev/null
  wait
  echo 3 > /proc/sys/vm/drop_caches
  [ $round = 4 ] && ip link set eth0 down && ip link set eth0 up
done`

const devices = () => ({
  disks: [new OverlayDisk(new MemoryDisk(new Uint8Array(1 << 20).map((_, i) => (i * 7919) >> 8)), new MemoryBlocks())],
  networks: [new UserNetwork().plug()],
})

/** A machine's states by the count of instructions. */
function watched(serial: HostOptions['serial'], at: (instructions: number) => void) {
  const states = new Map<number, string>()
  const options: HostOptions = {
    devices: devices(),
    serial,
    observe: {
      every: EVERY,
      at(core, instructions) {
        const registers = core.vcpus.map((_, vcpu) => hashRegisters(core, vcpu))
        states.set(instructions, registers.join(' '))
        at(instructions)
      },
    },
  }
  return { states, options }
}

test.each<[PlatformName, number]>([
  ['xen-pvh', 2],
  ['xen-pv', 2],
])('%s, %d vCPUs', { timeout: 1_200_000 }, async (platform, cpus) => {
  const kernel = await loadKernel(await kernelFile(CLOUD))
  let begun = false
  let begin: (() => void) | undefined
  const whole = watched(
    {
      com1: () => {},
      com2: (bytes) => (begun ||= new TextDecoder().decode(bytes).includes('working')),
      com3: () => {},
      com4: () => {},
    },
    () => {
      if (begun) begin?.()
    },
  )
  const machine = await Machine.create({
    ...whole.options,
    memory: 192 << 20,
    cpu: 'inorder',
    platform,
    cpus,
    deterministic: true,
    boot: await guestPlan({
      kernel,
      platform,
      exec: WORK,
      append: 'cryptomgr.notests',
      devices: await guestDevices(CLOUD, kernel, devices()),
    }),
  })
  /** Settles when the machine stands at the next boundary. */
  const boundary = () =>
    new Promise<void>((resolve) => {
      begin = () => {
        begin = undefined
        void machine.pause().then(resolve)
      }
    })
  const run = machine.run()
  const snapshots: { readonly taken: number; readonly bytes: Uint8Array[] }[] = []
  for (let i = 0; i < 3; i++) {
    await boundary()
    snapshots.push({
      taken: machine.stats().instructions,
      bytes: await Array.fromAsync(machine.save({ name: 'test' })),
    })
    machine.resume()
  }
  expect(await run).toEqual({ kind: 'power-off' })
  const ram = hashRam(machine.core)

  for (const { taken, bytes } of snapshots) {
    const rest = watched({}, () => {})
    const restored = await Machine.restore(await openSnapshot(bytes, identity), rest.options)
    expect(await restored.run()).toEqual({ kind: 'power-off' })
    expect(restored.stats().instructions).toBe(machine.stats().instructions)
    expect(rest.states.get(taken + EVERY)).toBeDefined()
    for (const [instructions, state] of rest.states)
      expect(state, `at ${instructions}, taken at ${taken}`).toBe(whole.states.get(instructions))
    expect(hashRam(restored.core)).toBe(ram)
  }
})

test('a machine that is given other devices than it had is refused', async () => {
  const kernel = await loadKernel(await kernelFile(CLOUD))
  const machine = await Machine.create({
    memory: 128 << 20,
    cpu: 'inorder',
    platform: 'xen-pvh',
    deterministic: true,
    devices: devices(),
    serial: {},
    boot: { kernel, initrd: undefined, cmdline: '' },
  })
  const bytes = await Array.fromAsync(machine.save({ name: 'test' }))
  const restore = async (options: Pick<HostOptions, 'devices'>) =>
    Machine.restore(await openSnapshot(bytes, identity), { serial: {}, ...options })
  await expect(restore({})).rejects.toThrow('the machine had disks of [1048576] bytes; it is given []')
  await expect(restore({ devices: { ...devices(), networks: [] } })).rejects.toThrow('1 network cards; it is given 0')
  await restore({ devices: devices() })
})

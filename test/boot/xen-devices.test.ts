/** Stock kernels with the devices that Xen gives them: disks, a network, and what dom0 asks of them. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { MemoryDisk } from '../../src/backends/disk.ts'
import { UserNetwork } from '../../src/backends/network/user.ts'
import { loadKernel } from '../../src/boot/kernel.ts'
import { guestDevices } from '../../src/cli/devices.ts'
import { guestPlan } from '../../src/cli/guest.ts'
import { Machine } from '../../src/machine/machine.ts'
import { kernelFile } from '../../src/packages/debian.ts'
import type { PlatformName } from '../../src/platforms/index.ts'
import { CLOUD } from './combinations.ts'
import { inGuest } from './guest.ts'

const MIB = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Bytes that look random and are always the same. */
function content(length: number, seed: number): Buffer {
  const pieces: Buffer[] = []
  for (let i = 0; 32 * i < length; i++) pieces.push(createHash('sha256').update(`${seed} ${i}`).digest())
  return Buffer.concat(pieces).subarray(0, length)
}
const checksum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** What Linux asks dom0 on its rings meanwhile. */
const asked = [
  ...['READ', 'WRITE', 'DIRECTORY', 'WATCH', 'TRANSACTION_START', 'TRANSACTION_END'].map((name) => `XS_${name}`),
  ...['READ', 'INDIRECT', 'FLUSH_DISKCACHE', 'DISCARD'].map((name) => `BLKIF_OP_${name}`),
  'netif_tx_request',
  'netif_rx_request',
  'xencons_interface.out',
]

describe.each<[PlatformName, number]>([
  ['xen-pvh', 1],
  ['xen-pvh', 4],
  ['xen-pv', 1],
])('%s with %d vCPUs', (on, cpus) => {
  test('disks are read, written, flushed and kept; the network gives an address and answers', async () => {
    const [first, second, third] = ['a.img', 'b.img', 'c.img'].map((name) => join(folder, `${on}-${cpus}-${name}`)) as [
      string,
      string,
      string,
    ]
    const before = content(8 * MIB, cpus)
    for (const path of [first, second, third]) writeFileSync(path, before)
    const devices = ['--disk', first, '--disk', `${second},cow`, '--disk', `${third},readonly`, '--net', 'user']
    const commands = {
      partitions: 'cat /proc/partitions',
      read: 'for disk in a b c; do sha256sum < /dev/xvd$disk; done',
      write:
        'dd if=/dev/xvda of=/dev/xvda bs=64k count=32 seek=64 conv=fsync,notrunc; dd if=/dev/zero of=/dev/xvdb bs=4k count=4 conv=fsync',
      again:
        'for disk in a b; do blockdev --flushbufs /dev/xvd$disk; done; sha256sum < /dev/xvda; sha256sum < /dev/xvdb',
      readOnly: 'cat /sys/block/xvdc/ro; dd if=/dev/zero of=/dev/xvdc count=1 conv=fsync',
      discard:
        'cat /sys/block/xvdb/queue/discard_max_bytes; blkdiscard -o 4194304 -l 8192 /dev/xvdb; hexdump -C -s 4194304 -n 8192 /dev/xvdb',
      address: 'ip -4 address show eth0; ip route; cat /etc/resolv.conf',
      ping: 'ping -c 3 10.0.2.2',
      name: 'nslookup gateway',
      offloads: 'cat /sys/class/net/eth0/address; ls -d /sys/class/net/eth0/queues/*',
      interrupts: 'cat /proc/interrupts',
      messages: 'dmesg',
    }
    let counts = ''
    const args = [CLOUD, '--on', on, '--cpus', String(cpus), '--count', ...devices]
    const results = await inGuest(args, commands, (stderr) => (counts = stderr))
    const written = Buffer.from(before)
    before.copy(written, 4 * MIB, 0, 2 * MIB)
    const zeroed = Buffer.from(before).fill(0, 0, 16384)
    expect(results.partitions.output).toMatch(/8192 xvda\n.* 8192 xvdb\n.* 8192 xvdc\n/)
    expect(results.read.output).toBe(`${checksum(before)}  -\n`.repeat(3))
    expect(results.write.code).toBe(0)
    expect(results.again.output).toBe(`${checksum(written)}  -\n${checksum(zeroed)}  -\n`)
    expect(readFileSync(first).equals(written)).toBe(true)
    expect(readFileSync(second).equals(before)).toBe(true)
    expect(readFileSync(third).equals(before)).toBe(true)
    expect(results.readOnly.output).toMatch(/^1\n/)
    expect(results.readOnly.code).not.toBe(0)
    expect(results.discard.output).toMatch(/^\d{4,}\n0+400000  00 .*\n\*\n00402000\n$/)
    expect(results.address.output).toContain('inet 10.0.2.15/24')
    expect(results.address.output).toContain('default via 10.0.2.2 dev eth0')
    expect(results.address.output).toContain('nameserver 10.0.2.3')
    expect(results.ping.output).toContain('3 packets transmitted, 3 packets received, 0% packet loss')
    expect(results.name.output).toContain('Address: 10.0.2.2\n')
    expect(results.offloads.output).toMatch(/^00:16:3e:00:00:01\n/)
    expect(results.offloads.output.match(/tx-\d/g)).toHaveLength(cpus)
    expect(results.interrupts.output).toMatch(/xen-dyn-lateeoi\s+-event\s+blkif/)
    expect(results.interrupts.output).toMatch(/xen-dyn-lateeoi\s+-event\s+vif0-q0-rx/)
    expect(results.messages.output).toMatch(
      /blkfront: xvda: flush diskcache: enabled; persistent grants: enabled; indirect descriptors: enabled/,
    )
    expect(results.messages.output).toContain('xen_netfront: Initialising Xen virtual ethernet driver')
    for (const name of asked) expect(counts).toMatch(new RegExp(`^ *[1-9]\\d* {2}ring ${name}$`, 'm'))
  })
})

describe.each<PlatformName>(['xen-pvh', 'xen-pv'])('%s', (on) => {
  /** A shell on the console. */
  async function boot(cpus = 1) {
    const kernel = await loadKernel(await kernelFile(CLOUD))
    const devices = { disks: [new MemoryDisk(content(MIB, 1))], networks: [new UserNetwork().plug()] }
    let text = ''
    let changed = () => {}
    const machine = await Machine.create({
      memory: 256 * MIB,
      platform: on,
      cpu: 'inorder',
      cpus,
      devices,
      boot: await guestPlan({
        kernel,
        platform: on,
        append: 'quiet loglevel=3',
        devices: await guestDevices(CLOUD, kernel, devices),
      }),
      serial: {
        com1: (bytes) => {
          text += new TextDecoder('latin1').decode(bytes)
          changed()
        },
      },
    })
    const exited = machine.run()
    /** What the console shows up to there, from where it was read before. */
    const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
      for (;;) {
        const found = pattern.exec(text)
        if (found) {
          text = text.slice(found.index + found[0].length)
          return found
        }
        await new Promise<void>((resolve) => {
          changed = resolve
        })
      }
    }
    const type = (line: string) => machine.serial[0]?.send(new TextEncoder().encode(`${line}\n`))
    await until(/~ # /)
    return { machine, exited, until, type }
  }

  test('the balloon moves MemTotal; suspending comes back; then it powers itself off when asked', async () => {
    const { machine, exited, until, type } = await boot(2)
    const total = async () => {
      type('grep MemTotal /proc/meminfo; echo end')
      return Number((await until(/MemTotal: +(\d+) kB\r\nend/))[1])
    }
    const before = await total()
    machine.control?.setMemory(192 * 1024)
    let after = before
    while (after > before - 60 * 1024) after = await total()
    expect(after).toBeGreaterThan(before - 70 * 1024)
    machine.control?.setMemory(256 * 1024)
    while (after < before - 1024) after = await total()
    expect(after).toBeLessThanOrEqual(before)

    // A checkpoint, and twice as on another host: ports, grants, store and backends are new then.
    for (const [times, how] of (['checkpoint', 'suspend', 'suspend'] as const).entries()) {
      expect(machine.control?.shutdown(how)).toBe(true)
      type(`while [ $(dmesg | grep -c "OOM killer enabled") -le ${times} ]; do sleep 1; done; echo awake $((40 + 2))`)
      await until(/awake 42/)
      type('echo 3 > /proc/sys/vm/drop_caches; sha256sum < /dev/xvda; ping -c 2 10.0.2.2; echo checked $((1 + 1))')
      const [seen] = await until(/[^]*checked 2/)
      expect(seen).toContain(checksum(content(MIB, 1)))
      expect(seen).toContain('2 packets received')
    }
    machine.control?.sysrq('h')
    await until(/SysRq|sysrq/)
    type('echo still $((1 + 1))')
    await until(/still 2/)
    // Linux does the same for both.
    expect(machine.control?.shutdown(on === 'xen-pv' ? 'halt' : 'poweroff')).toBe(true)
    expect((await exited).kind).toBe('power-off')
  })

  test('it reboots when asked', async () => {
    const { machine, exited } = await boot()
    expect(machine.control?.shutdown('reboot')).toBe(true)
    expect((await exited).kind).toBe('reset')
  })
})

/** Stock kernels as PVH guests of Xen: what they say of it, and how they end. */
import { describe, expect, test } from 'vitest'
import { CLOUD, combinations } from './combinations.ts'
import { trouble } from './enlightened.ts'
import { command, inGuest } from './guest.ts'

const commands = {
  messages: 'dmesg',
  clock: 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource',
  online: 'nproc',
  date: 'date +%s',
  work: 'for i in 1 2 3 4; do (seq 400 | sha256sum; seq 10 | sort -r) > /dev/null & done; wait; echo done',
  interrupts: 'cat /proc/interrupts',
  stat: 'head -1 /proc/stat',
  hypervisor: 'cd /sys/hypervisor; for f in type guest_type version/major version/minor version/extra; do cat $f; done',
  properties: 'cd /sys/hypervisor/properties; cat features capabilities virtual_start pagesize',
  devices: 'ls /sys/bus/xen/devices',
} as const

describe.each(combinations)('$kernel with $cpus vCPUs', ({ kernel, cpus }) => {
  test('knows that it is a guest of Xen 4.17, and uses what that offers', async () => {
    const results = await inGuest([kernel, '--on', 'xen-pvh', '--cpus', String(cpus)], commands)
    const messages = results.messages.output
    expect(messages).not.toMatch(trouble)
    for (const line of [
      'Hypervisor detected: Xen HVM',
      'Booting kernel on Xen PVH',
      'Xen version: 4.17.7',
      'xen:events: Using FIFO-based ABI',
      'Xen: using vcpuop timer interface',
      'Grant tables using version 1 layout',
      'xen:balloon: Initialising balloon driver',
      'Switched to clocksource xen',
      ...Array.from({ length: cpus }, (_, id) => `installing Xen timer for CPU ${id}`),
      ...(cpus > 1 ? ['xen: PV spinlocks enabled'] : []),
    ])
      expect(messages).toContain(line)
    expect(results.clock.output).toBe('xen\n')
    expect(results.online.output).toBe(`${cpus}\n`)
    expect(Math.abs(Number(results.date.output) - Date.now() / 1000)).toBeLessThan(60)
    expect(results.work.output).toBe('done\n')
    // Time was stolen: another vCPU's turn, or the host's.
    expect(Number(results.stat.output.split(/\s+/)[8])).toBeGreaterThan(0)
    expect(results.hypervisor.output).toBe('xen\nPVH\n4\n17\n.7\n')
    expect(results.properties.output).toBe(
      '00012305\nxen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 \nffff800000000000\n1000\n',
    )
    // The ends of --exec are consoles of their own.
    expect(results.devices.output.split(/\s+/).filter(Boolean)).toEqual(['console-1', 'console-2', 'console-3'])
    const interrupts = results.interrupts.output
    for (let id = 0; id < cpus; id++) {
      expect(interrupts).toMatch(new RegExp(`xen-percpu +-virq +timer${id}\\n`))
      for (const name of ['resched', 'callfunc', 'callfuncsingle'])
        expect(interrupts).toMatch(new RegExp(`xen-percpu +-ipi +${name}${id}\\n`))
    }
    expect(interrupts).toMatch(/xen-dyn +-event +xenbus/)
    expect(interrupts).toMatch(/xen-dyn-lateeoi +-event +hvc_console/)
    expect(interrupts).toMatch(/LOC: +0 /)
    expect(interrupts).toMatch(/HYP: +[1-9]/)
  })
})

test('without the upcall’s vector events come past the local APIC', async () => {
  const args = [CLOUD, '--on', 'xen-pvh', '--cpus', '2', '--features', 'no-upcall-vector']
  const { work, interrupts } = await inGuest(args, { work: commands.work, interrupts: commands.interrupts })
  expect(work.output).toBe('done\n')
  expect(interrupts.output).toMatch(/HYP: +[1-9]/)
})

describe('the end', () => {
  const run = (args: readonly string[], input = '') =>
    command(['run', CLOUD, '--on', 'xen-pvh', '--timeout', '600', ...args], input)

  test('the shell on hvc0 powers the domain off', async () => {
    const { code, stdout } = await run([], 'echo $((6*7)) is the answer; exit\n')
    expect(stdout).toContain('42 is the answer')
    expect(code).toBe(0)
  })

  test('a panic', async () => {
    const panic = 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
    const { code, stderr } = await run(['--exec', panic])
    expect(stderr).toContain('kernel panic - not syncing: sysrq triggered crash')
    expect(code).toBe(120)
  })

  test('a reboot that nobody wants', async () => {
    const { code, stderr } = await run(['--no-reboot'], 'reboot -f\n')
    expect(stderr).toContain('the guest reset itself')
    expect(code).toBe(123)
  })
})

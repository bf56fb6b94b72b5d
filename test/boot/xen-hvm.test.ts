/** Stock kernels as HVM guests of Xen (PVHVM): what they say of it, how events come to them, and how they end. */
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
  hypervisor: 'cd /sys/hypervisor; for f in type guest_type version/major version/minor version/extra; do cat $f; done',
  features: 'cat /sys/hypervisor/properties/features',
  pci: 'cd /sys/bus/pci/devices/0000:00:03.0; cat vendor device class; readlink driver',
  memory: 'grep -A1 0000:00:03.0 /proc/iomem',
} as const

describe.each(combinations)('$kernel with $cpus vCPUs', ({ kernel, cpus, cpu }) => {
  test('finds the platform device, unplugs, and uses what Xen offers', async () => {
    const args = [kernel, '--on', 'xen-hvm', '--cpus', String(cpus), '--cpu', cpu, '--append', 'console=hvc0']
    const results = await inGuest(args, commands)
    const messages = results.messages.output
    expect(messages).not.toMatch(trouble)
    for (const line of [
      'Hypervisor detected: Xen HVM',
      'Booting paravirtualized kernel on Xen HVM',
      'unplug emulated NICs',
      'unplug emulated disks',
      'xen:events: Using FIFO-based ABI',
      'xen:events: Xen HVM callback vector for event delivery is enabled',
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
    expect(results.hypervisor.output).toBe('xen\nHVM\n4\n17\n.7\n')
    expect(results.features.output).toBe('00012305\n')
    expect(results.pci.output).toMatch(/^0x5853\n0x0001\n0xff8000\n.*\/xen-platform-pci\n$/)
    expect(results.memory.output).toMatch(/: xen-platform-pci\n$/)
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
  const args = [CLOUD, '--on', 'xen-hvm', '--cpus', '2', '--features', 'no-upcall-vector']
  const { work, interrupts } = await inGuest(args, { work: commands.work, interrupts: commands.interrupts })
  expect(work.output).toBe('done\n')
  expect(interrupts.output).toMatch(/HYP: +[1-9]/)
})

test('without vectors events come by the platform device’s interrupt', async () => {
  const args = [CLOUD, '--on', 'xen-hvm', '--cpus', '2', '--append', 'xen_no_vector_callback']
  const { work, interrupts } = await inGuest(args, { work: commands.work, interrupts: commands.interrupts })
  expect(work.output).toBe('done\n')
  expect(interrupts.output).toMatch(/28: +\d* .*IO-APIC +28-fasteoi +xen-platform-pci/)
  expect(interrupts.output).toMatch(/xen-dyn +-event +xenbus/)
})

describe('the end', () => {
  const run = (args: readonly string[], input = '') =>
    command(['run', CLOUD, '--on', 'xen-hvm', '--timeout', '600', ...args], input)

  test('the shell on hvc0 powers the machine off', async () => {
    const { code, stdout } = await run(['--append', 'console=hvc0'], 'echo $((6*7)) is the answer; exit\n')
    expect(stdout).toContain('42 is the answer')
    expect(code).toBe(0)
  })

  test('so does the one on the serial port', async () => {
    const { code, stdout } = await run([], 'echo $((6*7)) is the answer; exit\n')
    expect(stdout).toContain('42 is the answer')
    expect(code).toBe(0)
  })
})

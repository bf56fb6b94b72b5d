/** Stock kernels, and Debian's GRUB, as PV guests of Xen: what they say of it, and how they end. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
  properties: 'cd /sys/hypervisor/properties; cat features capabilities virtual_start pagesize',
} as const

describe.each(combinations)('$kernel with $cpus vCPUs, $cpu', ({ kernel, cpus, cpu }) => {
  test('knows that it is a PV guest of Xen 4.17, and uses what that offers', async () => {
    const args = [kernel, '--on', 'xen-pv', '--cpus', String(cpus), '--cpu', cpu]
    const results = await inGuest(args, commands)
    const messages = results.messages.output
    // Xen does not say that the TSC is invariant, and Linux takes its word for it on processors that are not Intel's.
    expect(messages.replace('Marking TSC unstable due to TSCs unsynchronized', '')).not.toMatch(trouble)
    for (const line of [
      'Hypervisor detected: Xen PV',
      'Booting kernel on Xen',
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
    expect(results.hypervisor.output).toBe('xen\nPV\n4\n17\n.7\n')
    // Linux 6.1 asks for VMASST_TYPE_pae_extended_cr3 in 64-bit kernels, too, 6.12 does not: XENFEAT_pae_pgdir_above_4gb.
    const features = kernel.includes('6.12') ? '000220e0' : '000220f0'
    expect(results.properties.output).toBe(
      `${features}\nxen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 \nffff800000000000\n1000\n`,
    )
    for (let id = 0; id < cpus; id++)
      for (const name of [`virq +timer`, 'ipi +resched', 'ipi +callfunc', 'ipi +irqwork'])
        expect(results.interrupts.output).toMatch(new RegExp(`xen-percpu +-${name}${id}\\n`))
    expect(results.interrupts.output).toMatch(/xen-dyn +-event +xenbus/)
    expect(results.interrupts.output).toMatch(/xen-dyn-lateeoi +-event +hvc_console/)
  })
})

describe('the end', () => {
  const run = (args: readonly string[], input = '') =>
    command(['run', CLOUD, '--on', 'xen-pv', '--timeout', '600', ...args], input)

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
})

test.each([
  ['x86_64-xen', 'xen-pv'],
  ['i386-xen', 'xen-pv32'],
])('GRUB’s %s image comes to its shell on %s', async (format, on) => {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-grub-'))
  try {
    const image = join(folder, 'grub.xen')
    const modules = ['normal', 'echo', 'minicmd', 'halt']
    execFileSync('grub-mkimage', ['-O', format, '-o', image, '-p', '/', ...modules])
    const { code, stdout } = await command(
      ['run', image, '--on', on, '--timeout', '300'],
      'echo of GRUB\nlsmod\nhalt\n',
    )
    expect(stdout).toContain('GNU GRUB  version 2.06')
    expect(stdout).toMatch(/^\r?of GRUB/m)
    expect(stdout).toMatch(/^\r?minicmd\s+1/m)
    expect(code).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

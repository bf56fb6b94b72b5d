/** Stock kernels as guests of VMware: each enlightenment is in use, and none that is switched off. */
import { describe, expect, test } from 'vitest'
import { CLOUD, combinations } from './combinations.ts'
import { enlightened, trouble } from './enlightened.ts'

describe.each(combinations)('$kernel with $cpus vCPUs, $cpu', ({ kernel, cpus, cpu }) => {
  test('uses what VMware offers', async () => {
    const args = [kernel, '--on', 'vmware', '--cpus', String(cpus), '--cpu', cpu]
    const { results, count } = await enlightened(args)
    const messages = results.messages.output
    expect(messages).not.toMatch(trouble)
    for (const line of [
      `vmware: hypercall mode: 0x0${cpu === 'amd' ? 1 : 2}`,
      'Hypervisor detected: VMware',
      'vmware: TSC freq read from hypervisor : 1000.000 MHz',
      'vmware: Host bus clock speed read from hypervisor : 25000000 Hz',
      'Booting paravirtualized kernel on VMware hypervisor',
      'x2apic enabled',
      'Switched to clocksource tsc',
    ])
      expect(messages).toContain(line)
    expect(messages).toMatch(/vmware: using clock offset of \d+ ns/)
    expect(messages).not.toMatch(/Refined TSC|calibrat.*PIT/)
    for (let vcpu = 0; vcpu < cpus; vcpu++) expect(messages).toContain(`vmware: vmware-stealtime: cpu ${vcpu}, pa `)
    expect(results.clock.output).toBe('tsc\n')
    expect(results.online.output).toBe(`${cpus}\n`)
    expect(results.work.output).toBe('done\n')
    expect(Number(results.stat.output.split(/\s+/)[8])).toBeGreaterThan(0)
    // One more to find out whether there is a steal clock.
    expect(count('BDOOR_CMD_STEALCLOCK')).toBe(cpus + 1)
    expect(count('BDOOR_CMD_GETHZ')).toBe(1)
    expect(count('BDOOR_CMD_GET_VCPU_INFO')).toBeGreaterThan(0)
  })
})

describe('features that are switched off', () => {
  test('are not used', async () => {
    const features = 'no-hypercall,no-steal-clock,no-vcpu-info'
    const { results, count } = await enlightened([CLOUD, '--on', 'vmware', '--features', features])
    const messages = results.messages.output
    expect(messages).toContain('vmware: hypercall mode: 0x00')
    expect(messages).toContain('vmware: TSC freq read from hypervisor : 1000.000 MHz')
    expect(messages).not.toMatch(/stealtime|x2apic enabled/)
    expect(results.stat.output.split(/\s+/)[8]).toBe('0')
    expect(count('BDOOR_CMD_GETHZ')).toBe(1)
  })
})

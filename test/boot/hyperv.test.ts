/** Stock kernels as guests of Hyper-V: each enlightenment is in use, and none that is switched off. */
import { describe, expect, test } from 'vitest'
import { CLOUD, combinations } from './combinations.ts'
import { enlightened, trouble } from './enlightened.ts'
import { command } from './guest.ts'

/** Without an invariant TSC Linux says so, and does not use it. */
const expected = 'tsc: Marking TSC unstable due to running on Hyper-V'

describe.each(combinations)('$kernel with $cpus vCPUs', ({ kernel, cpus }) => {
  test('uses what Hyper-V offers', async () => {
    const { results, count, interrupts, dateIsRight } = await enlightened([
      kernel,
      '--on',
      'hyperv',
      '--cpus',
      String(cpus),
    ])
    const messages = results.messages.output
    expect(messages.replace(expected, '')).not.toMatch(trouble)
    for (const line of [
      expected,
      'Hypervisor detected: Microsoft Hyper-V',
      'Hyper-V: privilege flags low 0x2eff, high 0x120030, hints 0xe2c, misc 0xe0530',
      'Hyper-V: Host Build 10.0.20348.0-0-0',
      'Hyper-V: LAPIC Timer Frequency: 0x186a0',
      'Hyper-V: Using IPI hypercalls',
      'Hyper-V: Using enlightened APIC (x2apic mode)',
      'Using hypercall for remote TLB flush',
      'Hyper-V: PV spinlocks enabled',
      'Booting paravirtualized kernel on Hyper-V',
      'Switched to clocksource hyperv_clocksource_tsc_page',
    ])
      expect(messages).toContain(line)
    expect(results.clock.output).toBe('hyperv_clocksource_tsc_page\n')
    expect(results.online.output).toBe(`${cpus}\n`)
    expect(dateIsRight).toBe(true)
    expect(results.work.output).toBe('done\n')
    // Every vCPU's clock events come from its synthetic timer, none from the local APIC's.
    expect(interrupts('HVS')).toHaveLength(cpus)
    expect(Math.min(...interrupts('HVS'))).toBeGreaterThan(0)
    expect(Math.max(...interrupts('LOC'))).toBe(0)
    for (const perCpu of ['VP_INDEX', 'VP_ASSIST_PAGE'])
      expect([perCpu, count(`HV_X64_MSR_${perCpu}`)]).toEqual([perCpu, cpus])
    // Most EOIs are left out: fewer are asked for than timers expired.
    expect(count('HV_X64_MSR_EOI')).toBeLessThan(interrupts('HVS').reduce((sum, each) => sum + each, 0))
    expect(count('HvExtCallQueryCapabilities')).toBe(1)
    if (cpus === 1) return
    expect(count('HvCallSendSyntheticClusterIpi')).toBeGreaterThan(0)
    expect(count('HvCallFlushVirtualAddressSpace') + count('HvCallFlushVirtualAddressList')).toBeGreaterThan(0)
  })
})

describe('features that are switched off', () => {
  test('are not used', async () => {
    const off = ['stimer', 'stimer-direct', 'reference-tsc', 'apic-msrs', 'tlb-flush', 'ipi', 'ex-masks']
    const features = [...off, 'extended-hypercalls', 'frequencies'].map((name) => `no-${name}`).join(',')
    const { results, count, interrupts } = await enlightened([
      CLOUD,
      '--on',
      'hyperv',
      '--cpus',
      '4',
      '--features',
      features,
    ])
    const messages = results.messages.output
    expect(messages).toContain('Hypervisor detected: Microsoft Hyper-V')
    expect(messages).not.toMatch(/IPI hypercalls|enlightened APIC|remote TLB flush|LAPIC Timer Frequency/)
    expect(results.clock.output).toBe('hyperv_clocksource_msr\n')
    expect(count('HV_X64_MSR_TIME_REF_COUNT')).toBeGreaterThan(100)
    expect(results.work.output).toBe('done\n')
    expect(Math.min(...interrupts('LOC'))).toBeGreaterThan(0)
    for (const request of [
      ...['STIMER0_COUNT', 'STIMER0_CONFIG', 'REFERENCE_TSC', 'EOI', 'TSC_FREQUENCY', 'APIC_FREQUENCY'].map(
        (name) => `HV_X64_MSR_${name}`,
      ),
      ...['SendSyntheticClusterIpi', 'FlushVirtualAddressSpace', 'FlushVirtualAddressList'].map(
        (name) => `HvCall${name}`,
      ),
      'HvExtCallQueryCapabilities',
    ])
      expect([request, count(request)]).toEqual([request, 0])
  })

  test('without the assist page each EOI is asked for; locks spin, and nobody hears of a crash', async () => {
    const features = 'no-eoi-assist,no-guest-idle,no-crash,no-stimer-direct,no-synic'
    const args = [CLOUD, '--on', 'hyperv', '--cpus', '2', '--features', features]
    const { results, count, interrupts } = await enlightened(args)
    expect(results.messages.output).not.toMatch(/PV spinlocks enabled/)
    expect(results.work.output).toBe('done\n')
    // A synthetic timer that could only send messages waits for VMBus.
    expect([interrupts('HVS'), count('HV_X64_MSR_STIMER0_COUNT')]).toEqual([[], 0])
    expect(count('HV_X64_MSR_EOI')).toBeGreaterThanOrEqual(interrupts('LOC').reduce((sum, each) => sum + each, 0))
    expect(count('HV_X64_MSR_CRASH_CTL')).toBe(0)
  })

  test('an invariant TSC is a better clock', async () => {
    const { results, count } = await enlightened([CLOUD, '--on', 'hyperv', '--features', 'invtsc'])
    expect(results.messages.output).not.toMatch(trouble)
    expect(results.clock.output).toBe('tsc\n')
    expect(count('HV_X64_MSR_TSC_INVARIANT_CONTROL')).toBeGreaterThan(0)
  })
})

test.for([CLOUD, 'linux-image-6.12-cloud-amd64'])('last words of a panic in %s reach the user', async (kernel) => {
  const panic = 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
  const { code, stderr } = await command(['run', kernel, '--on', 'hyperv', '--timeout', '300', '--exec', panic])
  expect(code).toBe(120)
  // What the kernel logged last, whatever its console shows.
  expect(stderr).toMatch(/^crash: P0=0x0 P1=0x0 P2=0x0 P3=0x[0-9a-f]+000 P4=0x[0-9a-f]+$/m)
  expect(stderr).toMatch(/^\[ +[\d.]+\] sysrq: Trigger a crash$/m)
  expect(stderr).toMatch(/^\[ +[\d.]+\] {2}sysrq_handle_crash\+/m)
})

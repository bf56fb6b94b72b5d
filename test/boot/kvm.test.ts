/** Stock kernels as guests of KVM: each enlightenment is in use, and none that is switched off. */
import { describe, expect, test } from 'vitest'
import { CLOUD, combinations } from './combinations.ts'
import { enlightened, trouble } from './enlightened.ts'
import { command } from './guest.ts'

describe.each(combinations)('$kernel with $cpus vCPUs', ({ kernel, cpus }) => {
  test('uses what KVM offers', async () => {
    const { results, count, interrupts, dateIsRight } = await enlightened([
      kernel,
      '--on',
      'kvm',
      '--cpus',
      String(cpus),
    ])
    const messages = results.messages.output
    expect(messages).not.toMatch(trouble)
    for (const line of [
      'Hypervisor detected: KVM',
      'kvm-clock: Using msrs 4b564d01 and 4b564d00',
      'Booting paravirtualized kernel on KVM',
      'Switched to clocksource kvm-clock',
      ...(cpus > 1
        ? ['KVM setup pv remote TLB flush', 'setup PV sched yield', 'PV spinlocks enabled', 'setup PV IPIs']
        : ['PV spinlocks disabled, single CPU']),
    ])
      expect(messages).toContain(line)
    // Nothing had to be calibrated, and the TSC is not marked as good as the clock pages.
    expect(messages).not.toMatch(/calibrat.*PIT|Refined TSC/)
    expect(results.clock.output).toBe('kvm-clock\n')
    expect(results.online.output).toBe(`${cpus}\n`)
    expect(dateIsRight).toBe(true)
    expect(results.work.output).toBe('done\n')
    // A page-ready interrupt that wakes all, as each vCPU enables them.
    expect(interrupts('HYP')).toEqual(Array.from({ length: cpus }, () => 1))
    // Time was stolen: another vCPU's turn, or the host's.
    expect(Number(results.stat.output.split(/\s+/)[8])).toBeGreaterThan(0)
    for (const perCpu of ['SYSTEM_TIME_NEW', 'STEAL_TIME', 'PV_EOI_EN', 'ASYNC_PF_EN', 'ASYNC_PF_INT', 'ASYNC_PF_ACK'])
      expect([perCpu, count(`MSR_KVM_${perCpu}`)]).toEqual([perCpu, cpus])
    expect(count('MSR_KVM_WALL_CLOCK_NEW')).toBeGreaterThan(0)
    expect(count('KVM_PV_EOI_ENABLED')).toBeGreaterThan(100)
    const asked = ['KVM_HC_SEND_IPI', 'KVM_HC_SCHED_YIELD', 'KVM_VCPU_FLUSH_TLB'].filter((name) => count(name) > 0)
    expect(asked.length).toBe(cpus > 1 ? 3 : 0)
  })
})

describe('features that are switched off', () => {
  test('are not used', async () => {
    const off = [
      'poll-control',
      'kvmclock',
      'async-pf',
      'async-pf-int',
      'steal-time',
      'pv-eoi',
      'pv-unhalt',
      'pv-tlb-flush',
    ]
    const features = [...off, 'pv-send-ipi', 'pv-sched-yield', 'stable-clock'].map((name) => `no-${name}`).join(',')
    const args = [CLOUD, '--on', 'kvm', '--cpus', '4', '--features', features]
    const poll = ['--append', 'cpuidle_haltpoll.force=1']
    const { results, count, interrupts } = await enlightened([...args, ...poll])
    const messages = results.messages.output
    expect(messages).toContain('Hypervisor detected: KVM')
    expect(messages).toContain('kvm-clock: Using msrs 12 and 11')
    expect(messages).toContain('PV spinlocks disabled, no host support')
    expect(messages).not.toMatch(/remote TLB flush|PV IPIs|sched yield/)
    expect(results.clock.output).toBe('kvm-clock\n')
    expect(results.work.output).toBe('done\n')
    expect(interrupts('HYP')).toEqual([])
    expect(results.stat.output.split(/\s+/)[8]).toBe('0')
    expect([count('MSR_KVM_SYSTEM_TIME'), count('MSR_KVM_WALL_CLOCK')]).toEqual([4, 1])
    const msrs = ['SYSTEM_TIME_NEW', 'STEAL_TIME', 'PV_EOI_EN', 'ASYNC_PF_EN', 'ASYNC_PF_INT', 'POLL_CONTROL']
    const others = ['KVM_HC_SEND_IPI', 'KVM_HC_SCHED_YIELD', 'KVM_HC_KICK_CPU', 'KVM_VCPU_FLUSH_TLB']
    for (const request of [...msrs.map((name) => `MSR_KVM_${name}`), ...others, 'KVM_PV_EOI_ENABLED'])
      expect([request, count(request)]).toEqual([request, 0])
  })

  test('an invariant TSC is a better clock; vCPUs that always run spin, and poll before they halt', async () => {
    const args = ['--on', 'kvm', '--cpus', '2', '--features', 'invtsc,realtime']
    const { results, count } = await enlightened([CLOUD, ...args, '--append', 'cpuidle_haltpoll.force=1'])
    expect(results.messages.output).toContain('Switched to clocksource tsc')
    expect(results.clock.output).toBe('tsc\n')
    expect(results.messages.output).toContain('PV spinlocks disabled with KVM_HINTS_REALTIME hints')
    expect(count('MSR_KVM_POLL_CONTROL')).toBe(2)
  })
})

test('a counting machine sees what the kernel does without asking', async () => {
  const { stderr, code } = await command(['run', CLOUD, '--on', 'kvm', '--count', 'all', '--exec', 'date'])
  expect(code).toBe(0)
  const times = (what: string) => Number(new RegExp(`^ *(\\d+) {2}${what}$`, 'm').exec(stderr)?.[1])
  for (const what of ['load from clock pages', 'load from steal time', 'store to a level 1 page table', 'sti', 'wrmsr'])
    expect([what, times(what)]).toEqual([what, expect.toSatisfy((count: number) => count > 100)])
  expect(times('time.clocksource')).toBeGreaterThanOrEqual(times('load from clock pages'))
})

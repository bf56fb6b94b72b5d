/** What a stock kernel must say of the machine that it runs on: commands for a guest, and the tests of their output. */
import { expect, test } from 'vitest'
import type { Result } from './guest.ts'

export const kernelCommands = {
  dmesg: 'dmesg',
  vulnerabilities: 'grep . /sys/devices/system/cpu/vulnerabilities/*',
  cpuinfo: 'cat /proc/cpuinfo',
  clocksource: 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource',
  interrupts: 'cat /proc/interrupts',
  hypervisor: 'ls -d /sys/hypervisor/type',
  ports: 'cat /proc/tty/driver/serial',
  sleep: 'a=$(cut -d. -f1 /proc/uptime); sleep 3; b=$(cut -d. -f1 /proc/uptime); echo $((b - a))',
} as const

type Results = Readonly<Record<keyof typeof kernelCommands, Result>>

/** Lines of a healthy boot that hold one of the bad words, each with its reason. */
const allowed: readonly RegExp[] = []

export function expectHealthyKernel(results: () => Results): void {
  const output = (name: keyof typeof kernelCommands) => results()[name].output

  test('dmesg is free of bad words', () => {
    const bad = output('dmesg')
      .split('\n')
      .filter((line) => /\bBUG\b|\bWARNING\b|\bOops\b|unchecked MSR|\b[Uu]nstable\b|\b[Ss]purious\b/.test(line))
      .filter((line) => !allowed.some((pattern) => pattern.test(line)))
    expect(bad).toEqual([])
  })

  test('it runs on bare hardware, as far as it can tell', () => {
    expect(output('dmesg')).toContain('Booting paravirtualized kernel on bare hardware')
    expect(output('dmesg')).not.toContain('Hypervisor detected')
    expect(output('cpuinfo')).not.toMatch(/^flags.*\bhypervisor\b/m)
    expect(results().hypervisor.code).not.toBe(0)
  })

  test('no defence against speculation that costs time', () => {
    expect(output('vulnerabilities')).toContain('/meltdown:Not affected')
    expect(output('vulnerabilities')).not.toMatch(/PTI|retpoline|VERW|Clear CPU buffers|SW loop|Vulnerable/i)
  })

  test('the clock is the TSC, and runs with the time of the host', () => {
    expect(output('clocksource')).toBe('tsc\n')
    expect(Number(output('sleep'))).toBeGreaterThanOrEqual(2)
    expect(Number(output('sleep'))).toBeLessThanOrEqual(4)
  })

  test('interrupts come from the IOAPIC and the local APIC', () => {
    expect(output('interrupts')).toMatch(/IO-APIC\s+4-edge\s+ttyS0/)
    expect(output('interrupts')).toMatch(/LOC:\s+[1-9]/)
    expect(output('interrupts')).toMatch(/ERR:\s+0\n/)
    expect(output('interrupts')).toMatch(/MIS:\s+0\n/)
  })

  test('four serial ports are 16550As', () => {
    expect(output('ports').match(/uart:16550A/g)).toHaveLength(4)
  })
}

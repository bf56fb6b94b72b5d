/** Several vCPUs in the stock kernels: all come up, work, and interrupt each other. */
import { describe, expect, test } from 'vitest'
import { inGuest } from './guest.ts'

const kernels = [
  { kernel: 'linux-image-cloud-amd64', cpus: 4 },
  { kernel: 'linux-image-6.12-amd64', cpus: 8 },
  { kernel: 'linux-image-686-pae', cpus: 2 },
]

/** Per-CPU counts of a row of /proc/interrupts. */
function counts(interrupts: string, row: string): number[] {
  const line = interrupts.split('\n').find((text) => text.trim().startsWith(`${row}:`)) ?? ''
  return (line.match(/(?<=\s)\d+(?=\s)/g) ?? []).map(Number)
}

describe.each(kernels)('$kernel with $cpus vCPUs', ({ kernel, cpus }) => {
  test('all are online and interrupt each other', async () => {
    const all = Array.from({ length: cpus }, (_, i) => i)
    const { online, work, interrupts, messages } = await inGuest([kernel, '--cpus', String(cpus)], {
      online: 'nproc; cat /sys/devices/system/cpu/online',
      // A task on every CPU, each waking the next one through a pipe.
      work: `${all.map((i) => `taskset ${(1 << i).toString(16)} sh -c 'seq 1 3000 | sha256sum | cut -c1-8'`).join(' & ')} & wait`,
      interrupts: 'cat /proc/interrupts',
      messages: 'dmesg',
    })
    expect(online.output).toBe(`${cpus}\n0-${cpus - 1}\n`)
    expect(work.output).toBe(work.output.slice(0, 9).repeat(cpus))
    for (const row of ['LOC', 'CAL']) {
      expect(counts(interrupts.output, row)).toHaveLength(cpus)
      expect(Math.min(...counts(interrupts.output, row))).toBeGreaterThan(0)
    }
    expect(messages.output).toContain(`Total of ${cpus} processors activated`)
    expect(messages.output).not.toMatch(/BUG|WARNING|Oops|unchecked MSR|unstable|spurious|failed to report alive/)
  })
})

/** A stock kernel on a hypervisor's platform: what it says of itself, and how often it asked its hypervisor for what. */
import { inGuest, type Result } from './guest.ts'

const commands = {
  messages: 'dmesg',
  clock: 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource',
  online: 'nproc',
  date: 'date +%s',
  work: 'for i in 1 2 3 4; do (seq 400 | sha256sum; seq 10 | sort -r) > /dev/null & done; wait; echo done',
  // Every fork changes page tables that the vCPU where the shell was before may still have in its TLB.
  wandering: 'taskset 1 sh -c "for i in 1 2 3 4 5; do taskset -p 2 $$; ls; taskset -p 1 $$; ls; done" 2>&1',
  interrupts: 'cat /proc/interrupts',
  stat: 'head -1 /proc/stat',
} as const

export interface Enlightened {
  readonly results: Readonly<Record<keyof typeof commands, Result>>
  /** How often a request of this name was made. */
  count(name: string): number
  /** Per-CPU counts of a row of /proc/interrupts. */
  interrupts(row: string): number[]
  /** The guest's time of day is the host's: not before the boot began, not after it ended, but for a second. */
  readonly dateIsRight: boolean
}

/** Boot with `args` of `paravirt run`. */
export async function enlightened(args: readonly string[]): Promise<Enlightened> {
  const counts = new Map<string, number>()
  const began = Date.now() / 1000
  const results = await inGuest([...args, '--count'], commands, (text) => {
    const requests = text.slice(text.indexOf('requests:'), text.indexOf('without asking:'))
    for (const [, count, name] of requests.matchAll(/^ *(\d+) {2}\w+ (\S+)$/gm)) counts.set(name!, Number(count))
  })
  const date = Number(results.date.output)
  return {
    results,
    dateIsRight: date > began - 2 && date < Date.now() / 1000 + 2,
    count: (name) => counts.get(name) ?? 0,
    interrupts: (row) => {
      const lines = results.interrupts.output.split('\n')
      const line = lines.find((text) => text.trim().startsWith(`${row}:`)) ?? ''
      return (line.match(/(?<=\s)\d+(?=\s)/g) ?? []).map(Number)
    },
  }
}

/** Lines that a healthy kernel does not print. */
export const trouble = /BUG|WARNING|Oops|unchecked MSR|unstable|spurious|failed to report alive/

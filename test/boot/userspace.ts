/** What every stock kernel's user space must be able to do: commands for a guest, and what they must print. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Result } from './guest.ts'

const numbers = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join('')

interface Check {
  readonly command: string
  readonly output: string
  readonly code?: number
}

const checks = {
  'shell loops': {
    command: 'i=0; s=0; while [ $i -lt 2000 ]; do i=$((i+1)); s=$((s + i * i)); done; echo $s',
    output: '2668667000\n',
  },
  pipes: {
    command: 'seq 20000 | grep 7 | sort -rn | head -n 3 | tr "\\n" " "',
    output: '19997 19987 19979 ',
  },
  'exit codes': { command: 'sh -c "exit 42"', output: '', code: 42 },
  'a trapped signal': {
    command: `sh -c 'trap "echo caught" USR1; kill -USR1 $$; echo after'`,
    output: 'caught\nafter\n',
  },
  'a deadly signal': { command: 'sleep 600 & kill -TERM $!; wait $!; echo $?', output: 'Terminated\n143\n' },
  'a segmentation fault': { command: `sh -c 'kill -SEGV $$' ; echo $?`, output: 'Segmentation fault\n139\n' },
  'an alarm ends a sleep': { command: 'timeout 1 sleep 600; echo $?', output: 'Terminated\n143\n' },
  'a fork storm': {
    command: 'for i in $(seq 300); do (exit $((i % 3))) & done; wait; for i in $(seq 100); do /bin/true; done; echo $?',
    output: '0\n',
  },
  sha256sum: {
    command: 'seq 20000 | sha256sum',
    output: `${createHash('sha256').update(numbers).digest('hex')}  -\n`,
  },
  'gzip and back': {
    command: 'seq 20000 | gzip -9 | gunzip | md5sum',
    output: `${createHash('md5').update(numbers).digest('hex')}  -\n`,
  },
  'bytes through files': {
    command:
      'dd if=/dev/zero bs=64k count=64 2>/dev/null | tee /tmp/zeros | wc -c; cmp /tmp/zeros /tmp/zeros && rm /tmp/zeros',
    output: '4194304\n',
  },
  'floating-point printing': {
    command: `awk 'BEGIN { printf "%.10f %g %e %.3f %d\\n", 1 / 3, 2 / 7, 22 / 7e20, -0.0625, 1099511627776 / 1000 }'; printf "%.2f\\n" 2.675`,
    output: '0.3333333333 0.285714 3.142857e-20 -0.062 1099511627\n2.67\n',
  },
  'floating-point sums': {
    command: `awk 'BEGIN { for (i = 1; i <= 20000; i++) s += 1 / i; x = 1; for (i = 0; i < 6; i++) x = (x + 2 / x) / 2; printf "%.12f %.14f\\n", s, x }'`,
    output: `${sums()}\n`,
  },
} as const satisfies Record<string, Check>

function sums(): string {
  let sum = 0
  for (let i = 1; i <= 20_000; i++) sum += 1 / i
  let root = 1
  for (let i = 0; i < 6; i++) root = (root + 2 / root) / 2
  return `${sum.toFixed(12)} ${root.toFixed(14)}`
}

export type CheckName = keyof typeof checks
export const userspaceCommands = Object.fromEntries(
  Object.entries(checks).map(([name, { command }]) => [name, command]),
) as Record<CheckName, string>

/** One test for each of them. */
export function expectUserspace(results: () => Readonly<Record<CheckName, Result>>): void {
  for (const [name, check] of Object.entries<Check>(checks))
    test(`${name}`, () => {
      const { output, code } = results()[name as CheckName]
      expect({ output, code }).toEqual({ output: check.output, code: check.code ?? 0 })
    })
}

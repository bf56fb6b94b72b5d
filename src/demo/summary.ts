/** A run of the project's own kernel in one line, and one for each thing that went wrong. */
import type { PvopsRun } from './run.ts'

/** `kvm: "KVM", 41 of 41 checks; 69 call sites became instructions, 12 nothing, 177 direct calls; 0.4 s` */
export function summary(platform: string, { title, checks, sites, trouble, passed, seconds }: PvopsRun): string {
  const good = checks.filter((check) => check.passed).length
  const patched = sites && `; call sites: ${sites[0]} instructions, ${sites[1]} nothing, ${sites[2]} direct calls`
  const lines = [
    `${platform.padEnd(9)}"${title ?? '?'}": ${good} of ${checks.length} checks${patched ?? ''}; ${seconds.toFixed(1)} s`,
  ]
  for (const { what, passed: fine } of checks) if (!fine) lines.push(`          failed: ${what}`)
  if (trouble) lines.push(`          it ended early: ${trouble === 'aborted' ? '--timeout was reached' : trouble}`)
  else if (!passed && good === checks.length) lines.push('          it did not come to its end')
  return lines.join('\n')
}

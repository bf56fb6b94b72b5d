/** What a whole matrix means to whoever started it: `git bisect run` reads the exit code. */
import type { Cell } from './report.ts'

export const MatrixExit = {
  /** Every platform that the kernel can enter is good. */
  GOOD: 0,
  /** At least one is bad: panic, hang, command failed, expectation not met, ... */
  BAD: 1,
  /** Nothing can be said: a kernel is missing or cannot be loaded or entered, or paravirt failed. */
  SKIP: 125,
  /** Wrong usage; bisect stops. */
  USAGE: 128,
} as const

export function exitCode(cells: readonly Cell[]): number {
  if (cells.some(({ verdict }) => verdict === 'bad')) return MatrixExit.BAD
  const failed = cells.some(({ outcome }) => outcome === 'host-error')
  if (failed || (cells.length > 0 && !cells.some(({ verdict }) => verdict === 'good'))) return MatrixExit.SKIP
  return MatrixExit.GOOD
}

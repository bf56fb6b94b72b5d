/** What guests/pvops writes to its console, read. */

/** How a call site came out of the patcher. */
export type Patched = 'table' | 'nothing' | 'inline' | 'call' | 'jump'

export interface Cost {
  /** `mmu.set_pte` */
  readonly op: string
  /** Whose function it is: `native`, or what the kernel runs on. */
  readonly whose: string
  readonly how: Patched
  /** Ticks of the TSC, which are nanoseconds: through the table, and patched; undefined: not measured. */
  readonly before: number | undefined
  readonly after: number | undefined
}

export interface Check {
  readonly what: string
  readonly passed: boolean
}

export interface Report {
  /** What the kernel says that it runs on. */
  readonly title: string | undefined
  /** Call sites that became instructions, nothing, direct calls. */
  readonly sites: readonly [inline: number, nothing: number, call: number] | undefined
  readonly checks: readonly Check[]
  readonly costs: readonly Cost[]
  /** It came to its end, and everything was as it must be. */
  readonly passed: boolean
}

const ticks = (thousandths: string): number | undefined =>
  thousandths === '0' ? undefined : Number(thousandths) / 1000

export function readReport(console: string): Report {
  const checks = [...console.matchAll(/^(ok |BAD) {2}(.*)$/gm)].map(([, word, what]) => ({
    what: what as string,
    passed: word === 'ok ',
  }))
  const costs = [...console.matchAll(/^cost (\S+) (.*), (\w+) (\d+) (\d+)$/gm)].map(
    ([, op, whose, how, before, after]): Cost => ({
      op: op as string,
      whose: whose as string,
      how: how as Patched,
      before: ticks(before as string),
      after: ticks(after as string),
    }),
  )
  const sites = /^patched sites: (\d+) instructions, (\d+) nothing, (\d+) direct calls$/m.exec(console)
  const end = /^checks passed: (\d+) of (\d+)$/m.exec(console)
  return {
    title: /^Booting paravirtualized kernel on (.*)$/m.exec(console)?.[1],
    sites: sites ? [Number(sites[1]), Number(sites[2]), Number(sites[3])] : undefined,
    checks,
    costs,
    passed: end !== null && end[1] === end[2] && checks.length === Number(end[2]) && checks.every((c) => c.passed),
  }
}

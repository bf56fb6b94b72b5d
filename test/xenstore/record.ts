/**
 * `npm run xenstore`: plays the sequences to Debian's xenstored and writes down digests of what it answered, which the
 * test expects of our server. A seed as argument prints the first difference, if there is one.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { operations } from './operations.ts'
import { ourServer } from './ours.ts'
import { digest, play } from './play.ts'
import { withXenstored } from './real.ts'
import { COUNT, SEEDS } from './seeds.ts'

const [given] = process.argv.slice(2)
if (given === undefined) {
  const digests: Record<string, string> = {}
  for (const seed of SEEDS) {
    const log = await withXenstored((peer) => play(peer, operations(seed, COUNT)))
    digests[seed] = digest(log)
    process.stdout.write(`${seed} ${digests[seed]}\n`)
  }
  writeFileSync(join(import.meta.dirname, 'digests.json'), `${JSON.stringify(digests, null, 2)}\n`)
} else {
  const sequence = operations(Number(given), COUNT)
  const ours = await play(ourServer(), sequence)
  const theirs = await withXenstored((peer) => play(peer, sequence))
  const at = theirs.findIndex((line, i) => line !== ours[i])
  const lines = at < 0 ? ['the same'] : [...theirs.slice(Math.max(0, at - 10), at + 1), 'ours:', ours[at] ?? 'nothing']
  process.stdout.write(`${lines.join('\n')}\n`)
}
process.exit()

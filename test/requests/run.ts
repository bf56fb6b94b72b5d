/**
 * `npm run requests [-- PLATFORM...] [--requests N] [--seed N]`: a long run of the property tests of requests, 1,000,000
 * for each interface by default.
 */
import { parseArgs } from 'node:util'
import { scenarios } from './scenarios.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
  },
})
const seed = Number(values.seed)
for (const name of positionals.length > 0 ? positionals : Object.keys(scenarios)) {
  const play = scenarios[name]
  if (!play) throw new Error(`there is no ${name}: ${Object.keys(scenarios).join(', ')}`)
  const began = process.memoryUsage().rss
  const { report, unreached } = play(Number(values.requests), seed)
  const grown = (process.memoryUsage().rss - began) / 2 ** 20
  const share = ((100 * report.succeeded) / report.requests).toFixed(0)
  console.log(
    `${name}: ${report.requests} requests in ${report.sequences} sequences from seed ${seed}; ${share} % succeeded; ` +
      `${grown.toFixed(0)} MiB more memory`,
  )
  if (unreached.length === 0) continue
  console.log(`  never reached: ${unreached.join(', ')}`)
  process.exitCode = 1
}

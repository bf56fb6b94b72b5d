/**
 * `npm test [-- FILES AND OPTIONS]`: vitest, but first the procedures are compiled, once, before many test files would
 * each do so at the same time.
 */
import { parseCLI, startVitest } from 'vitest/node'
import { buildSystem } from '../src/cpu/system/build.ts'

process.stderr.write('test: compiling the AssemblyScript procedures, unless they are in the cache\n')
await buildSystem()
const { filter, options } = parseCLI(['vitest', 'run', ...process.argv.slice(2)])
const vitest = await startVitest('test', filter, { ...options, run: true })
await vitest.close()

/**
 * The oracle's command: compares rows of the instruction table with the host's processor.
 *
 *   node test/oracle/run.ts [--rows REGEX] [--cases N] [--mode 64|32|s32|16] [--show N] [--digests check|write|no]
 *        [--engine interpreter|translator]
 *
 * REGEX is matched against `name operands (encoding)`. The exit code is 1 if anything differs. Digests of the native
 * results of each row's first cases (digests.json) let a host with another processor check ours: there, our own
 * results are digested.
 */
import { parseArgs } from 'node:util'
import { rowTitle, testedRows } from './cases.ts'
import { checkRows, describeFailures, type Report } from './check.ts'
import { DIGEST_CASES, Digests } from './digests.ts'
import { referenceNative } from './native.ts'
import { createOurs } from './ours.ts'
import { allModes } from './segments.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '' },
    cases: { type: 'string', default: '2000' },
    mode: { type: 'string' },
    show: { type: 'string', default: '3' },
    digests: { type: 'string', default: 'no' },
    engine: { type: 'string', default: 'interpreter' },
  },
})
const filter = new RegExp(values.rows, 'i')
const count = Number(values.cases)
const modes = allModes.filter((mode) => values.mode === undefined || values.mode === String(mode))
const native = referenceNative()
const engine = values.engine
if (engine !== 'interpreter' && engine !== 'translator') throw new Error(`no engine ${engine}`)
const ours = await createOurs(engine)
if (native === undefined) console.log('no Intel processor here: only the digests are compared')
if (values.digests === 'write' && (values.rows !== '' || values.mode !== undefined))
  throw new Error('all digests are written together')
if (values.digests !== 'no' && count < DIGEST_CASES) throw new Error(`digests are made of ${DIGEST_CASES} cases`)
const rows = testedRows().filter((row) => filter.test(rowTitle(row)))
if (rows.length === 0) {
  console.error(`no row matches ${values.rows}`)
  process.exit(2)
}

const failed: Report[] = []
const digests = values.digests === 'check' ? Digests.read() : Digests.empty()
let cases = 0
let stale = 0
for (const report of checkRows(rows, modes, count, native, ours.run)) {
  cases += report.cases
  if (report.failures.length > 0) {
    failed.push(report)
    console.log(`${describeFailures(report, Number(values.show))}\n`)
  }
  const title = `${rowTitle(report.row)}, ${report.mode}-bit`
  if (!report.plausible) console.log(`${title}: mostly #UD on this processor; is the encoding right?\n`)
  if (values.digests === 'write') digests.set(report.row, report.mode, report.digest)
  else if (values.digests === 'check' && digests.get(report.row, report.mode) !== report.digest) {
    stale++
    console.log(`${title}: digest differs from the committed one`)
  }
}
if (values.digests === 'write') digests.write()
if (engine === 'translator') console.log(`${ours.translated()} cases were translated`)
console.log(`${rows.length} rows, ${cases} cases, ${failed.length} of them (row, mode) differ:`)
for (const { row, mode, failures, cases: all } of failed)
  console.log(`  ${String(failures.length).padStart(5)}/${all}  ${mode}  ${rowTitle(row)}`)
process.exitCode = failed.length > 0 || stale > 0 ? 1 : 0

/**
 * `--expect FILE`: a kernel developer's own assertions about a boot, in JSON. docs/expect.schema.json is made of this
 * schema (a test compares), so that editors complete and check the file.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import { unknownName } from '../cli/nearest.ts'
import { firstDivergence } from './divergence.ts'
import { outcomes, verdictOf, type Cell } from './report.ts'

const pattern = z.string().min(1).describe('text, or /regular expression/ with flags i, s, u if wanted')
const range = z
  .strictObject({ min: z.number().int().nonnegative().optional(), max: z.number().int().nonnegative().optional() })
  .refine(({ min, max }) => min !== undefined || max !== undefined, 'give min, max or both')

const expectation = z.strictObject({
  outcome: z.enum(outcomes).optional().describe("how the boot ends, if not with 'ok'"),
  detected: pattern.optional().describe("what the kernel takes the platform for: 'KVM', 'bare hardware'"),
  log: z.array(pattern).optional().describe('each is in a line of the log or the console'),
  noLog: z.array(pattern).optional().describe('none is in any line of the log or the console'),
  output: z.array(pattern).optional().describe("each is in the command's output"),
  userSpaceWithin: z.number().positive().optional().describe("seconds of the guest's time"),
  instructions: range.optional().describe('guest instructions until user space'),
  requests: z.record(z.string(), range).optional().describe('how often a request is made, by its name'),
  divergence: z.literal(false).optional().describe('no warning or worse that the reference platform lacks'),
  errors: z.literal(false).optional().describe('no request is answered by an unexpected error'),
})
type Expectation = z.infer<typeof expectation>

export const expectationsSchema = z.strictObject({
  $schema: z.string().optional(),
  all: expectation.optional().describe('for every platform'),
  platforms: z.record(z.string(), expectation).optional().describe('for one platform, by its name'),
})
export type Expectations = z.infer<typeof expectationsSchema>

/** Reads and checks the file. `requests`: the names that exist, by platform. Throws InputError. */
export function readExpectations(path: string, requests: Readonly<Record<string, readonly string[]>>): Expectations {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new InputError(`--expect ${path}: ${fileProblem(error)}`)
  }
  const { data, error } = expectationsSchema.safeParse(json)
  if (!data) throw new InputError(`--expect ${path}: ${issueText(error)}`)
  const everywhere = Object.values(requests).flat()
  for (const name of Object.keys(data.platforms ?? {}))
    if (!Object.hasOwn(requests, name))
      throw new InputError(`--expect ${path}: ${unknownName('platform', name, Object.keys(requests))}`)
  for (const [platform, { requests: counted, ...texts }] of parts(data)) {
    for (const name of Object.keys(counted ?? {}))
      if (!(platform === undefined ? everywhere : requests[platform]!).includes(name))
        throw new InputError(
          `--expect ${path}: ${unknownName('request', name, requests[platform ?? ''] ?? everywhere)}`,
        )
    const { detected, log = [], noLog = [], output = [] } = texts
    for (const text of [...(detected === undefined ? [] : [detected]), ...log, ...noLog, ...output]) matcher(text, path)
  }
  return data
}

const parts = ({ all, platforms = {} }: Expectations): [platform: string | undefined, Expectation][] => [
  ...(all ? [[undefined, all] as [undefined, Expectation]] : []),
  ...Object.entries(platforms),
]

/** The first thing that is wrong, in one line. */
export function issueText(error: z.ZodError): string {
  const [first] = error.issues
  const where = first!.path.map(String).join('.')
  return `${where ? `${where}: ` : ''}${first!.message}`
}

/** `/expression/flags`, or a text that is somewhere in it. */
function matcher(text: string, path = ''): (line: string) => boolean {
  const expression = /^\/(.+)\/([isu]*)$/.exec(text)
  if (!expression) return (line) => line.includes(text)
  try {
    const regular = new RegExp(expression[1]!, expression[2])
    return (line) => regular.test(line)
  } catch (error) {
    throw new InputError(`--expect ${path}: ${(error as Error).message}`)
  }
}

/** The cell with its verdict by the expectations. A platform that cannot be entered is not judged. */
export function judge(cell: Cell, reference: Cell | undefined, expectations: Expectations | undefined): Cell {
  if (!expectations || verdictOf(cell.outcome) === 'skip') return cell
  const merged = mergeFor(cell.platform, expectations)
  const unmet = check(cell, reference, merged)
  return { ...cell, verdict: unmet.length > 0 ? 'bad' : 'good', ...(unmet.length > 0 ? { unmet } : {}) }
}

/** A platform's own wins, lists are joined. */
function mergeFor(platform: string, { all = {}, platforms = {} }: Expectations): Expectation {
  const own = Object.hasOwn(platforms, platform) ? platforms[platform]! : {}
  const join = (name: 'log' | 'noLog' | 'output') => [...(all[name] ?? []), ...(own[name] ?? [])]
  return {
    ...all,
    ...own,
    log: join('log'),
    noLog: join('noLog'),
    output: join('output'),
    requests: { ...all.requests, ...own.requests },
  }
}

function check(cell: Cell, reference: Cell | undefined, wanted: Expectation): string[] {
  const unmet: string[] = []
  const { outcome = 'ok' } = wanted
  if (cell.outcome !== outcome) unmet.push(`outcome: ${cell.outcome} instead of ${outcome}`)
  if (wanted.detected !== undefined && !matcher(wanted.detected)(cell.detected ?? ''))
    unmet.push(`detected: ${cell.detected ?? 'nothing'} instead of ${wanted.detected}`)

  const lines = [...cell.messages, ...cell.console].map(({ text }) => text)
  for (const text of wanted.log ?? []) if (!lines.some(matcher(text))) unmet.push(`log: no line with ${text}`)
  for (const text of wanted.noLog ?? []) {
    const line = lines.find(matcher(text))
    if (line !== undefined) unmet.push(`noLog: ${line}`)
  }
  for (const text of wanted.output ?? []) if (!matcher(text)(cell.output)) unmet.push(`output: nothing with ${text}`)

  if (wanted.userSpaceWithin !== undefined) {
    const seconds = cell.userSpace && cell.userSpace.t / 1e9
    if (seconds === undefined || seconds > wanted.userSpaceWithin)
      unmet.push(`userSpaceWithin: ${seconds?.toFixed(2) ?? 'never'} instead of ${wanted.userSpaceWithin} s`)
  }
  if (wanted.instructions) {
    const made = cell.userSpace?.instructions
    if (made === undefined || !within(made, wanted.instructions))
      unmet.push(`instructions: ${made ?? 'no user space'}, not ${rangeText(wanted.instructions)}`)
  }
  for (const [name, limits] of Object.entries(wanted.requests ?? {})) {
    const made = cell.requests.find((request) => request.name === name)?.count ?? 0
    if (!within(made, limits)) unmet.push(`requests: ${made} of ${name}, not ${rangeText(limits)}`)
  }
  if (wanted.divergence === false && reference) {
    const line = firstDivergence(cell, reference)
    if (line !== undefined) unmet.push(`divergence: ${line}`)
  }
  if (wanted.errors === false && cell.firstError) unmet.push(`errors: ${cell.firstError.text}`)
  return unmet
}

type Range = z.infer<typeof range>
const within = (value: number, { min = 0, max = Infinity }: Range): boolean => value >= min && value <= max
const rangeText = ({ min, max }: Range): string =>
  min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : `${min} to ${max}`

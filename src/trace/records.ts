/** A trace as `--trace-file` writes it, read back: a line of JSON for each request. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import type { Event } from '../paravirt/observe.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import type { Argument, ArgumentType, ArgumentValue, Declaration } from '../paravirt/requests.ts'
import { traceLine } from '../paravirt/trace.ts'

const HEX = /^0x[\da-f]+$/
const recordSchema = z.object({
  t: z.number(),
  vcpu: z.number().int(),
  kind: z.string(),
  number: z.number(),
  name: z.string(),
  access: z.enum(['read', 'write', 'call']),
  args: z.record(z.string(), z.string()),
  result: z.string(),
})
export type TraceRecord = z.infer<typeof recordSchema>

/** Throws InputError, with the line's number, for a file that is no trace. */
export function readTrace(path: string): TraceRecord[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new InputError(`${path}: ${fileProblem(error)}`)
  }
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    const fail = (why: string): never => {
      throw new InputError(`${path}: line ${i + 1} is not from --trace-file: ${why}`)
    }
    let json: unknown
    try {
      json = JSON.parse(line)
    } catch {
      return fail('no JSON')
    }
    const { data, error } = recordSchema.safeParse(json)
    return data ? [data] : fail(`${error.issues[0]!.path.join('.')}: ${error.issues[0]!.message}`)
  })
}

/** An answer that tells of an error, whatever the platform: names, and exceptions; not numbers or words of CPUID. */
export const isErrorResult = ({ result }: TraceRecord): boolean =>
  !result.startsWith('0x') && !result.endsWith('SUCCESS') && result !== ''

/** Prints records as `--trace` does. Requests that no platform declares any more have plain numbers. */
export function recordPrinter(definitions: readonly PlatformDefinition[]): (record: TraceRecord) => string {
  const declared = new Map<string, Declaration>()
  for (const { requests } of definitions)
    for (const request of requests) declared.set(`${request.kind} ${request.name}`, request)
  return (record) => {
    const names = Object.keys(record.args)
    const known = declared.get(`${record.kind} ${record.name}`)
    const args = names.map(
      (name) => known?.args.find((arg) => arg.name === name) ?? unknownArgument(name, record.args[name]!),
    )
    const event: Event = {
      t: record.t,
      vcpu: record.vcpu,
      access: record.access,
      request: { ...(known ?? unknownRequest(record)), args },
      args: args.map(({ name, type }) => valueOf(type, record.args[name]!)),
      result: HEX.test(record.result) ? BigInt(record.result) : record.result,
    }
    return traceLine(event)
  }
}

const valueOf = (type: ArgumentType, text: string): ArgumentValue =>
  type.kind !== 'text' && HEX.test(text) ? BigInt(text) : text

const unknownArgument = (name: string, value: string): Argument => ({
  name,
  type: { kind: HEX.test(value) ? 'u64' : 'text' },
})

function unknownRequest({ kind, number, name }: TraceRecord): Declaration {
  return {
    kind: kind as Declaration['kind'],
    number,
    name,
    summary: '',
    args: [],
    errors: {},
    ops: [],
    tier: 'call',
    source: '',
  }
}

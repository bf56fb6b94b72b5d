/**
 * `paravirt explain NAME`: a request by its name or number (of a sub-command as 29.6, as it is printed), or a platform
 * with all that can be asked of it.
 */
import { InputError } from '../errors.ts'
import { explainPlatform, explainRequest } from '../paravirt/explain.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'
import { nearest } from './nearest.ts'

export function explain(wanted: string): string[] {
  const all: readonly PlatformDefinition[] = Object.values(definitions)
  const platform = all.find(({ name }) => name === wanted)
  if (platform) return explainPlatform(platform)
  const [, whole, command] = /^(0x[\da-f]+|\d+)(?:\.(\d+))?$/i.exec(wanted) ?? []
  const number = whole === undefined ? undefined : Number(whole)
  const found = all.flatMap((definition) =>
    definition.requests
      .filter(({ name, number: n, command: c }) =>
        number === undefined
          ? name.toLowerCase() === wanted.toLowerCase()
          : n === number && (command === undefined || c === Number(command)),
      )
      .map((request) => explainRequest(definition, request)),
  )
  if (found.length > 0) return found.flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]))
  if (number !== undefined) throw new InputError(`no platform has a request of number ${wanted}`)
  const names = new Set(all.flatMap(({ name, requests }) => [name, ...requests.map((request) => request.name)]))
  const near = nearest(wanted, names)
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'paravirt explain PLATFORM lists what it has'
  throw new InputError(`unknown request or platform '${wanted}'; ${hint}`)
}

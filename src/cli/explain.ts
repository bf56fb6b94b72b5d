/** `paravirt explain NAME`: a request by its name or number, or a platform with all that can be asked of it. */
import { InputError } from '../errors.ts'
import { explainPlatform, explainRequest } from '../paravirt/explain.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'
import { unknownName } from './nearest.ts'

export function explain(wanted: string): string[] {
  const all: readonly PlatformDefinition[] = Object.values(definitions)
  const platform = all.find(({ name }) => name === wanted)
  if (platform) return explainPlatform(platform)
  const number = /^(0x[\da-f]+|\d+)$/i.test(wanted) ? Number(wanted) : undefined
  const found = all.flatMap((definition) =>
    definition.requests
      .filter(({ name, number: n }) =>
        number === undefined ? name.toLowerCase() === wanted.toLowerCase() : n === number,
      )
      .map((request) => explainRequest(definition, request)),
  )
  if (found.length > 0) return found.flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]))
  if (number !== undefined) throw new InputError(`no platform has a request of number ${wanted}`)
  const names = all.flatMap(({ name, requests }) => [name, ...requests.map((request) => request.name)])
  throw new InputError(unknownName('request or platform', wanted, names))
}

/** `paravirt platforms`: what there is to run a kernel on. */
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'

export function platformLines(json: boolean): string[] {
  const all: readonly PlatformDefinition[] = Object.values(definitions)
  if (json)
    return [
      JSON.stringify(
        all.map(({ name, title, features, requests }) => ({ name, title, features, requests: countByKind(requests) })),
      ),
    ]
  return all.flatMap(({ name, title, features, requests }) => {
    const kinds = Object.entries(countByKind(requests)).map(([kind, count]) => `${count} ${kind}`)
    const on = Object.entries(features).map(([feature, { default: isOn }]) => (isOn ? feature : `(${feature})`))
    return [
      `${name.padEnd(9)} ${title}: ${kinds.length === 0 ? 'nothing to ask' : `requests: ${kinds.join(', ')}`}`,
      ...(on.length > 0 ? [`${' '.repeat(10)}features: ${on.join(' ')}`] : []),
    ]
  })
}

function countByKind(requests: PlatformDefinition['requests']): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { kind } of requests) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

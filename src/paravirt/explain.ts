/** Requests described from their declarations: one for `paravirt explain`, all of a platform for the coverage table. */
import type { PlatformDefinition } from './platform.ts'
import type { Argument, ArgumentType, Declaration } from './requests.ts'

function numberText({ kind, number, command }: Declaration): string {
  if (command !== undefined) return `${number}.${command}`
  if (kind === 'ring') return String(number)
  return kind === 'msr' || kind === 'cpuid' || number > 9 ? `0x${number.toString(16)}` : String(number)
}

function typeText(type: ArgumentType): string {
  switch (type.kind) {
    case 'gpa':
      return `guest-physical address of ${type.length} bytes, aligned to ${type.align}`
    case 'linear':
      return 'linear address'
    case 'vcpu':
      return 'APIC id'
    case 'vector':
      return 'vector'
    case 'flags':
      return `bits: ${Object.entries(type.bits)
        .map(([name, bit]) => `${bit} ${name}`)
        .join(', ')}`
    case 'choice':
      return Object.entries(type.values)
        .map(([name, value]) => `${value} ${name}`)
        .join(', ')
    case 'fields':
      return type.fields.map(([name, bit, width]) => `${bit + width - 1}:${bit} ${name}`).join(', ')
    default:
      return type.kind
  }
}

/** Everything that is declared of a request, as lines. */
export function explainRequest({ name: platform }: PlatformDefinition, request: Declaration): string[] {
  const { kind, name, summary, args, errors, feature, ops, tier, source } = request
  const lines = [`${name}: ${platform} ${kind} ${numberText(request)}`, `  ${summary}`]
  for (const arg of args) lines.push(`  ${arg.name}: ${typeText(arg.type)}`)
  for (const [error, when] of Object.entries(errors)) lines.push(`  ${error}: ${when}`)
  if (feature) lines.push(`  only with feature ${feature}`)
  if (ops.length > 0) lines.push(`  serves ${ops.join(', ')}`)
  lines.push(`  done as: ${tier}`, `  source: ${source}`)
  return lines
}

/** A platform's features and requests, as lines. */
export function explainPlatform({ name, title, features, requests }: PlatformDefinition): string[] {
  const lines = [`${name}: ${title}`]
  for (const [feature, { summary, default: on }] of Object.entries(features))
    lines.push(`  feature ${feature} (${on ? 'on' : 'off'}): ${summary}`)
  for (const request of requests) lines.push(`  ${request.kind} ${numberText(request)} ${request.name}`)
  return lines
}

const cell = (text: string): string => text.replaceAll('|', '\\|')
const argumentNames = (args: readonly Argument[]): string => args.map(({ name }) => name).join(', ')

/** The coverage table in Markdown. */
export function coverage(definitions: readonly PlatformDefinition[]): string {
  const lines = [
    '# What a guest can ask',
    '',
    'Made by `npm run coverage` from the declarations in `src/platforms`; what is not here does not exist and gets',
    'what the real hypervisor answers to the unknown.',
  ]
  for (const { name, title, features, requests } of definitions) {
    lines.push('', `## ${name}: ${title}`)
    if (requests.length === 0) {
      lines.push('', 'There is no hypervisor to ask.')
      continue
    }
    lines.push('', '| feature | default | what |', '|---|---|---|')
    for (const [feature, { summary, default: on }] of Object.entries(features))
      lines.push(`| ${feature} | ${on ? 'on' : 'off'} | ${cell(summary)} |`)
    lines.push('', '| request | number | arguments | errors | feature | serves | tier | source |')
    lines.push('|---|---|---|---|---|---|---|---|')
    for (const r of requests) {
      const cells = [
        `${r.kind} ${r.name}`,
        numberText(r),
        argumentNames(r.args),
        Object.keys(r.errors).join(', '),
        r.feature ?? '',
        r.ops.join(', '),
        r.tier,
        r.source,
      ]
      lines.push(`| ${cells.map(cell).join(' | ')} |`)
    }
  }
  return `${lines.join('\n')}\n`
}

/**
 * Finds state that its owner does not hand over: for tests. A class's fields are its state but for those that it is
 * given once and for all (read-only, with no value of its own or one that cannot change), and must be named in its
 * `transfer`. Fields that hold parts of the machine or are made by `new` must be named, too.
 */
import { readFileSync } from 'node:fs'
import { parseSync } from 'oxc-parser'

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** `Class.field` of each forgotten one in a file. */
export function forgotten(paths: readonly string[]): string[] {
  const files = paths.map((path) => readFileSync(path, 'utf8'))
  const parts = new Set(
    files.flatMap((text) =>
      [...text.matchAll(/class (\w+).* implements .*(?:Stateful|Platform)\b/g)].map(([, name]) => name as string),
    ),
  )
  // Everybody has the clock, and it is the machine's.
  parts.delete('Clock')
  return files.flatMap((text, i) => forgottenIn(paths[i] as string, text, parts))
}

/** `parts`: names of classes with a state of their own. */
export function forgottenIn(path: string, text: string, parts: ReadonlySet<string>): string[] {
  const { program } = parseSync(path, text)
  const source = (node: Node) => text.slice(node.start, node.end)
  const found: string[] = []
  walk(program as unknown as Node, (node) => {
    if (node.type !== 'ClassDeclaration') return
    const members = (node['body'] as { body: Node[] }).body
    const transfer = members.find((member) => member.type === 'MethodDefinition' && nameOf(member) === 'transfer')
    const handed = transfer ? source(transfer) : ''
    for (const field of members) {
      if (field.type !== 'PropertyDefinition' || field['static'] === true || !isState(field, source, parts)) continue
      const name = nameOf(field)
      if (!new RegExp(`this\\.${name.replace('#', '\\#')}\\b`).test(handed))
        found.push(`${(node['id'] as Node)['name'] as string}.${name}`)
    }
  })
  return found
}

function nameOf(member: Node): string {
  const key = member['key'] as Node & { name: string }
  return key.type === 'PrivateIdentifier' ? `#${key.name}` : key.name
}

function isState(field: Node, source: (node: Node) => string, parts: ReadonlySet<string>): boolean {
  const value = field['value'] as Node | null
  const typeNode = field['typeAnnotation'] as Node | null
  const type = typeNode ? source(typeNode) : ''
  if (field['readonly'] !== true) return true
  if (/(: |readonly )(\w+\[\]|Map<|Set<)/.test(type) && !/ReadonlyMap|ReadonlySet/.test(type))
    return !/readonly (string|number)\[\]/.test(type)
  if (type.split(/\W+/).some((word) => parts.has(word))) return true
  if (!value) return false
  return ![
    'Literal',
    'UnaryExpression',
    'ArrowFunctionExpression',
    'TemplateLiteral',
    'ObjectExpression',
    'Identifier',
    'MemberExpression',
  ].includes(value.type)
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node)
  for (const value of Object.values(node))
    for (const child of Array.isArray(value) ? value : [value])
      if (child && typeof child === 'object' && typeof (child as Node).type === 'string') walk(child as Node, visit)
}

/**
 * docs/reference.md: every name that the package exports, with its declaration and docstring, as they stand in the
 * sources. Follows `src/index.ts`; what is private, or marked `@internal`, is left out.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseSync } from 'oxc-parser'

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

interface File {
  readonly text: string
  readonly body: readonly Node[]
  readonly comments: readonly {
    readonly type: string
    readonly value: string
    readonly start: number
    readonly end: number
  }[]
}

const files = new Map<string, File>()

function read(path: string): File {
  let file = files.get(path)
  if (!file) {
    const text = readFileSync(path, 'utf8')
    const { program, comments } = parseSync(path, text)
    files.set(path, (file = { text, body: program.body as unknown as Node[], comments }))
  }
  return file
}

/** The exported names in their order, each with the file that declares it. */
function exported(index: string): { name: string; path: string }[] {
  return read(index).body.flatMap((statement) => {
    const source = statement['source'] as { value: string } | null
    if (statement.type !== 'ExportNamedDeclaration' || !source) return []
    const specifiers = statement['specifiers'] as { exported: { name: string } }[]
    return specifiers.map(({ exported: { name } }) => ({ name, path: join(dirname(index), source.value) }))
  })
}

/** The docstring that ends where `start` begins. */
function docstring({ text, comments }: File, start: number): string | undefined {
  const comment = comments.findLast(({ end }) => end <= start)
  if (comment?.type !== 'Block' || !comment.value.startsWith('*') || text.slice(comment.end, start).trim() !== '')
    return undefined
  return comment.value
    .slice(1)
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
    .join('\n')
    .trim()
}

const code = (text: string) => ['```ts', text, '```']

/** Without the indentation of all lines but the first. */
function dedent(text: string): string {
  const lines = text.split('\n')
  const indents = lines
    .slice(1)
    .filter((line) => line.trim() !== '')
    .map((line) => /^ */.exec(line)![0].length)
  const least = Math.min(...indents, Infinity)
  return lines.map((line, i) => (i === 0 || least === Infinity ? line : line.slice(least))).join('\n')
}

function memberLines(file: File, member: Node): string[] {
  const doc = docstring(file, member.start)
  const key = member['key'] as (Node & { name?: string }) | undefined
  if (key?.type === 'PrivateIdentifier' || member['accessibility'] === 'private' || doc?.includes('@internal'))
    return []
  const body = (member['value'] as Node | null)?.['body'] as Node | null | undefined
  const initial = member.type === 'PropertyDefinition' ? (member['value'] as Node | null) : undefined
  const end = body?.start ?? initial?.start ?? member.end
  let signature = dedent(file.text.slice(member.start, end))
    .replace(/\s*=?\s*$/, '')
    .replace(/^async /, '')
  // Implementations of overloads are not for callers.
  if (member.type === 'MethodDefinition' && member['kind'] === 'constructor') return []
  signature = signature.replace(/^override /, '')
  return ['', ...code(signature), ...(doc === undefined ? [] : ['', doc])]
}

/** Overloads come before their implementation, which then is not shown. */
function classMembers(members: readonly Node[]): Node[] {
  const named = (member: Node) => (member['key'] as { name?: string } | undefined)?.name
  const overloaded = new Set(
    members
      .filter(({ type }) => type === 'TSEmptyBodyFunctionExpression' || type === 'TSAbstractMethodDefinition')
      .map(named),
  )
  const signatures = members.filter(
    (member) => (member['value'] as Node | null)?.type === 'TSEmptyBodyFunctionExpression',
  )
  for (const member of signatures) overloaded.add(named(member))
  return members.filter((member) => !overloaded.has(named(member)) || signatures.includes(member))
}

function section(name: string, path: string, root: string): string[] {
  const file = read(path)
  for (const statement of file.body) {
    const node = statement.type === 'ExportNamedDeclaration' ? (statement['declaration'] as Node | null) : undefined
    if (!node) continue
    const own = (node['id'] as { name: string } | undefined)?.name
    const declared = own ?? (node['declarations'] as { id: { name: string } }[] | undefined)?.[0]?.id.name
    if (declared !== name) continue
    const doc = docstring(file, statement.start)
    const head = ['', `## ${name}`, '', `From \`${relative(root, path)}\`.`, ...(doc === undefined ? [] : ['', doc])]
    if (node.type === 'ClassDeclaration') {
      const body = node['body'] as Node & { body: Node[] }
      const title = file.text.slice(node.start, body.start).trim()
      return [...head, '', ...code(title), ...classMembers(body.body).flatMap((member) => memberLines(file, member))]
    }
    return [...head, '', ...code(dedent(file.text.slice(node.start, node.end)))]
  }
  throw new Error(`${name} is not declared in ${path}`)
}

/** The page's text. */
export function reference(root: string): string {
  const names = exported(join(root, 'src/index.ts'))
  const lines = [
    '# Reference of the library',
    '',
    'Made by `npm run docs` from the docstrings of what `src/index.ts` exports. [library.md](library.md) is the guide.',
    '',
    names.map(({ name }) => `[${name}](#${name.toLowerCase()})`).join(' · '),
    ...names.flatMap(({ name, path }) => section(name, path, root)),
  ]
  return `${lines.join('\n')}\n`
}

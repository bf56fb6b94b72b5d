/** The examples of docs/library.md run, and print what stands below them. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const guide = readFileSync(join(root, 'docs/library.md'), 'utf8')
const examples = [...guide.matchAll(/```ts\n([^]*?)```\n\n```text\n([^]*?)```/g)].map(([, code, output]) => ({
  code: code!.replace("'paravirt'", `'${join(root, 'src/index.ts')}'`),
  output: output!,
}))

// Inside the project: its tsconfig is what they are checked by.
const folder = mkdtempSync(join(root, 'test/boot/.guide-'))
afterAll(() => rmSync(folder, { recursive: true }))
const run = (file: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, [...args, file], { timeout: 500_000, env: { ...process.env, NO_COLOR: '1' } })

test('the guide has examples, each with its output', () => {
  expect(examples.length).toBeGreaterThan(4)
  expect(guide.match(/```ts/g)).toHaveLength(examples.length)
})

test.each(examples.map(({ code, output }, i) => [i + 1, code, output] as const))(
  'example %i',
  async (i, code, output) => {
    const file = join(folder, `example-${i}.ts`)
    writeFileSync(file, code)
    expect((await run(file)).stdout).toBe(output)
  },
)

test('their types are right', async () => {
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: join(root, 'tsconfig.json'), include: ['./*.ts'], exclude: [], files: [] }),
  )
  for (const [i, { code }] of examples.entries()) writeFileSync(join(folder, `example-${i + 1}.ts`), code)
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(join(folder, 'tsconfig.json'), tsc, '-p').catch((error: { stdout: string }) => error)
  expect(stdout).toBe('')
})

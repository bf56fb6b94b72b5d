/** The examples of docs/web.md as somebody's project: built by vite from the published module, run in Chromium. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { bundleForBrowsers, root } from '../../scripts/bundle.ts'
import { openChromium } from '../../scripts/web/chromium.ts'
import { serve } from '../../scripts/web/server.ts'
import { Machine } from '../../src/index.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'

const guide = readFileSync(join(root, 'docs/web.md'), 'utf8')
const block = (name: string) => new RegExp(`\`\`\`js\n// ${name}\n([^]*?)\`\`\``).exec(guide)![1]!
const results = [...guide.matchAll(/```text\n([^]*?)```/g)].map(([, text]) => text!.trim())

const project = mkdtempSync(join(tmpdir(), 'paravirt-vite-'))
afterAll(() => rmSync(project, { recursive: true, force: true }))

beforeAll(async () => {
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, 'paravirt'), { recursive: true })
  const { name, version, type, exports, dependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, unknown> & { dependencies: Record<string, string> }
  writeFileSync(join(modules, 'paravirt/package.json'), JSON.stringify({ name, version, type, exports }))
  for (const dependency of Object.keys(dependencies))
    symlinkSync(join(root, 'node_modules', dependency), join(modules, dependency))
  await bundleForBrowsers(join(modules, 'paravirt/dist/browser'))
  writeFileSync(
    join(project, 'index.html'),
    '<link rel="icon" href="data:,"><script type="module" src="./main.js"></script>',
  )
  writeFileSync(join(project, 'main.js'), block('main.js'))
  for (const which of ['boot', 'restore']) writeFileSync(join(project, `${which}.js`), block(`${which}.js`))
  await build({
    configFile: false,
    root: project,
    logLevel: 'warn',
    base: './',
    worker: { format: 'es' },
    build: { target: 'esnext', assetsDir: '.' },
  })
})

test('a kernel boots and a snapshot of Node’s goes on', async () => {
  const machine = await Machine.boot({
    on: 'xen-pvh',
    memory: '256M',
    disks: [new Uint8Array(4096)],
    networks: ['user'],
  })
  await machine.exec('echo prepared > /tmp/state')
  const snapshot = join(project, 'shell.snap')
  writeFileSync(snapshot, new Uint8Array(await new Response(machine.snapshot()).arrayBuffer()))
  await machine.stop()

  const guest = {
    vmlinuz: await kernelFile(DEFAULT_KERNEL),
    busybox: await busyboxFile('amd64'),
    'shell.snap': snapshot,
  }
  const server = await serve(join(project, 'dist'), guest)
  onTestFinished(() => server.close())
  const chromium = await openChromium()
  onTestFinished(() => chromium.close())
  const failures: string[] = []
  chromium.page.on('pageerror', ({ message }) => failures.push(message))
  chromium.page.on('console', (message) => message.type() === 'error' && failures.push(message.text()))
  await chromium.page.goto(server.url)
  const lines = async () =>
    [...failures, ...(await chromium.page.locator('p').allTextContents())].map((text) => text.trim())
  await expect.poll(lines, { timeout: 400_000, interval: 500 }).toHaveLength(results.length)
  expect((await lines()).sort()).toEqual(results.toSorted())
})

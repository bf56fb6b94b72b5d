/**
 * Bundles of the sources by vite. A bundle has the processor compiled and the guest's scripts in it, or in files beside
 * it, in place of what a checkout takes from sources and cache (`imports` in package.json).
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { build, type Plugin } from 'vite'
import packageJson from '../package.json' with { type: 'json' }
import { cachedInterpreter } from '../src/cpu/interpreter/cached.ts'
import { tablesToText } from '../src/cpu/interpreter/tables.ts'
import { buildSystem } from '../src/cpu/system/build.ts'

export const root = join(import.meta.dirname, '..')

interface Processor {
  readonly system: Uint8Array
  readonly interpreter: Uint8Array
  readonly tables: string
}

export async function compiledProcessor(): Promise<Processor> {
  const interpreter = cachedInterpreter()
  return { system: await buildSystem(), interpreter: interpreter.bytes, tables: tablesToText(interpreter) }
}

const tablesModule = JSON.stringify(join(root, 'src/cpu/interpreter/tables.ts'))

/** In the module itself, so that no bundler needs to know of files. */
function inside({ system, interpreter, tables }: Processor): string {
  const text = (bytes: Uint8Array | string) => JSON.stringify(deflateRawSync(bytes, { level: 9 }).toString('base64'))
  return `
    import { interpreterFrom } from ${tablesModule}
    const unpacked = async (text) => {
      const packed = new Blob([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))])
      const stream = packed.stream().pipeThrough(new DecompressionStream('deflate-raw'))
      return new Uint8Array(await new Response(stream).arrayBuffer())
    }
    export const systemModule = () => unpacked(${text(system)})
    export const interpreter = async () => {
      const [bytes, tables] = await Promise.all([unpacked(${text(interpreter)}), unpacked(${text(tables)})])
      return interpreterFrom(bytes, new TextDecoder().decode(tables))
    }
  `
}

const BESIDE = { system: 'system.wasm', interpreter: 'interpreter.wasm', tables: 'interpreter.json' } as const

const beside = `
  import { readFileSync } from 'node:fs'
  import { join } from 'node:path'
  import { interpreterFrom } from ${tablesModule}
  const file = (name) => new Uint8Array(readFileSync(join(import.meta.dirname, name)))
  export const systemModule = async () => file('${BESIDE.system}')
  export const interpreter = () =>
    interpreterFrom(file('${BESIDE.interpreter}'), readFileSync(join(import.meta.dirname, '${BESIDE.tables}'), 'utf8'))
`

function guestScripts(): string {
  const folder = join(root, 'guests/init')
  const texts = Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
  return `const texts = ${JSON.stringify(texts)}\nexport const guestScript = (name) => texts[name]`
}

function resources(processor: () => string): Plugin {
  const modules: Readonly<Record<string, () => string>> = {
    '#processor': processor,
    '#guest-scripts': guestScripts,
  }
  return {
    name: 'paravirt-resources',
    enforce: 'pre',
    resolveId: (id) => (Object.hasOwn(modules, id) ? `\0paravirt:${id}` : undefined),
    load: (id) => modules[id.replace('\0paravirt:', '')]?.(),
  }
}

/** For bundles that run in browsers. */
export const browserResources = (processor: Processor): Plugin => resources(() => inside(processor))

/** The library for browsers: one module, whose own dependencies are the bundler's business. */
export async function bundleForBrowsers(folder: string): Promise<void> {
  const dependencies = Object.keys(packageJson.dependencies)
  await build({
    configFile: false,
    root,
    logLevel: 'warn',
    publicDir: false,
    plugins: [browserResources(await compiledProcessor())],
    worker: { format: 'es' },
    build: {
      outDir: folder,
      emptyOutDir: false,
      target: 'esnext',
      minify: false,
      lib: { entry: 'src/index.ts', formats: ['es'], fileName: 'index' },
      rolldownOptions: {
        external: (id) => dependencies.some((name) => id === name || id.startsWith(`${name}/`)),
        output: { codeSplitting: false },
      },
    },
  })
}

/** Loaded whenever something starts, and of many files: they are in the bundle, as far as they are used. */
const INSIDE = ['zod', 'cborg']

/**
 * Command, library and the matrix's worker for Node, in one folder: few files, so that they start soon. `more`: other
 * files that become programs, by name.
 */
export async function bundleForNode(folder: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  await build({
    configFile: false,
    root,
    logLevel: 'warn',
    publicDir: false,
    plugins: [resources(() => beside)],
    ssr: { noExternal: INSIDE },
    build: {
      outDir: folder,
      target: 'esnext',
      minify: false,
      emptyOutDir: false,
      ssr: true,
      rolldownOptions: {
        input: {
          index: 'src/index.ts',
          main: 'src/cli/main.ts',
          worker: 'src/matrix/worker.ts',
          'serve-node': 'src/cpu/translator/serve-node.ts',
          ...more,
        },
        output: { entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' },
      },
    },
  })
  const processor = await compiledProcessor()
  for (const [part, name] of Object.entries(BESIDE))
    writeFileSync(join(folder, name), processor[part as keyof Processor])
  const licences = INSIDE.map((name) => {
    const home = join(root, 'node_modules', name)
    const file = readdirSync(home).find((one) => /^licen[cs]e/i.test(one)) as string
    return `${name}:\n\n${readFileSync(join(home, file), 'utf8').trim()}\n`
  })
  writeFileSync(join(folder, 'LICENSES.txt'), licences.join('\n'))
}

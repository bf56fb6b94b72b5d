/**
 * Builds the AssemblyScript procedures (`index.ts` and what it imports) into one WebAssembly module, kept in a cache
 * by the hash of its sources: the project's one build step.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, writeWhole } from '../../cache.ts'
import { asLayout } from '../layout.ts'

const here = dirname(fileURLToPath(import.meta.url))
const notProcedures = new Set(['build.ts'])

const OPTIONS =
  'index.ts --outFile system.wasm --runtime stub --importMemory --noAssert --initialMemory 1 --maximumMemory 65536 -O3 ' +
  '--enable simd --enable bulk-memory --enable sign-extension --enable nontrapping-f2i --memoryBase 1024'

function sources(): Map<string, string> {
  const files = new Map<string, string>([['layout.ts', asLayout()]])
  for (const name of readdirSync(here).sort())
    if (name.endsWith('.ts') && !name.endsWith('.test.ts') && !notProcedures.has(name))
      files.set(name, readFileSync(join(here, name), 'utf8'))
  return files
}

/** The compiled module's bytes. Throws with the compiler's messages if a source is wrong. */
export async function buildSystem(): Promise<Uint8Array<ArrayBuffer>> {
  const files = sources()
  const hash = createHash('sha256')
  for (const [name, text] of files) hash.update(name).update('\0').update(text).update('\0')
  const cached = join(cacheFolder(), `system-${hash.digest('hex').slice(0, 24)}.wasm`)
  if (existsSync(cached)) return new Uint8Array(readFileSync(cached))

  process.stderr.write('paravirt: compiling the processor (once for each version)\n')
  const asc = (await import('assemblyscript/asc')).default
  let output: Uint8Array<ArrayBuffer> | undefined
  const { error, stderr } = await asc.main(OPTIONS.split(' '), {
    readFile: (name: string) => files.get(name.replace(/^\.\//, '')) ?? null,
    writeFile: (name: string, contents: Uint8Array | string) => {
      if (name.endsWith('.wasm') && typeof contents !== 'string') output = new Uint8Array(contents)
    },
    listFiles: () => [...files.keys()],
  })
  if (error || !output) throw new Error(`AssemblyScript: ${error?.message ?? 'no output'}\n${stderr.toString()}`)
  writeWhole(cached, output)
  return output
}

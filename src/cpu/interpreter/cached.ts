/** The interpreter's module from the cache, or built and put there: keyed by the hash of the sources that make it. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, readCached, writeWhole } from '../../cache.ts'
import { buildInterpreter, type Interpreter } from './build.ts'
import { interpreterFrom, tablesToText } from './tables.ts'

const cpu = join(dirname(fileURLToPath(import.meta.url)), '..')

function sourcesHash(): string {
  const hash = createHash('sha256')
  for (const folder of ['isa', 'interpreter', 'wasm'])
    for (const name of readdirSync(join(cpu, folder)).sort())
      if (!name.endsWith('.test.ts')) hash.update(name).update(readFileSync(join(cpu, folder, name)))
  return hash
    .update(readFileSync(join(cpu, 'layout.ts')))
    .digest('hex')
    .slice(0, 24)
}

/** The interpreter for this version of the instruction table. */
export function cachedInterpreter(): Interpreter {
  const name = `interpreter-${sourcesHash()}`
  const wasm = readCached(`${name}.wasm`)
  const tables = readCached(`${name}.json`)
  if (wasm && tables) return interpreterFrom(Uint8Array.from(wasm), new TextDecoder().decode(tables))
  const built = buildInterpreter()
  writeWhole(join(cacheFolder(), `${name}.wasm`), built.bytes)
  writeWhole(join(cacheFolder(), `${name}.json`), tablesToText(built))
  return built
}

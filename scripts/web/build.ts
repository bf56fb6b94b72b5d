/** Bundles src/web into a folder: the page, its worker, and the processor, compiled. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'vite'
import { cachedInterpreter } from '../../src/cpu/interpreter/cached.ts'
import { tablesToText } from '../../src/cpu/interpreter/tables.ts'
import { buildSystem } from '../../src/cpu/system/build.ts'

/** What only Node has, behind imports that a browser never reaches. */
const isNodes = (id: string): boolean => /\/(interpreter\/cached|system\/build|translator\/thread-node)\.ts$/.test(id)

export async function buildWeb(folder: string): Promise<void> {
  const output = { entryFileNames: '[name].js', chunkFileNames: '[name].js', assetFileNames: '[name][extname]' }
  await build({
    configFile: false,
    root: join(import.meta.dirname, '../../src/web'),
    base: './',
    logLevel: 'warn',
    build: {
      outDir: folder,
      emptyOutDir: true,
      assetsDir: '.',
      target: 'esnext',
      modulePreload: false,
      rolldownOptions: { output },
    },
    worker: { format: 'es', rolldownOptions: { external: isNodes, output } },
  })
  const interpreter = cachedInterpreter()
  writeFileSync(join(folder, 'system.wasm'), await buildSystem())
  writeFileSync(join(folder, 'interpreter.wasm'), interpreter.bytes)
  writeFileSync(join(folder, 'interpreter.json'), tablesToText(interpreter))
}

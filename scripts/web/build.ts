/** Bundles src/web into a folder: the page and its worker. */
import { join } from 'node:path'
import { build } from 'vite'
import { browserResources, compiledProcessor, root } from '../bundle.ts'

export async function buildWeb(folder: string): Promise<void> {
  const output = { entryFileNames: '[name].js', chunkFileNames: '[name].js', assetFileNames: '[name][extname]' }
  const processor = await compiledProcessor()
  await build({
    configFile: false,
    root: join(root, 'src/web'),
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
    worker: { format: 'es', plugins: () => [browserResources(processor)], rolldownOptions: { output } },
  })
}

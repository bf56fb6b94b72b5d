/** Bundles src/web into a folder: the page and its worker, with the project's own kernel beside them. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'vite'
import { pvopsKernel } from '../../guests/pvops/kernel.ts'
import { publishedImage } from '../../src/demo/image.ts'
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
  for (const bits of [32, 64] as const) writeFileSync(publishedImage(folder, bits), pvopsKernel(bits))
}

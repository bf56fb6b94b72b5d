/**
 * `npm run build`: what is published. Bundles for Node and for browsers, declarations of the library, our own kernel
 * assembled, so that users need no compiler, and the page (dist/web).
 */
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pvopsKernel } from '../guests/pvops/kernel.ts'
import { publishedImage } from '../src/demo/image.ts'
import { bundleForBrowsers, bundleForNode, root } from './bundle.ts'
import { buildWeb } from './web/build.ts'

const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })
const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
await bundleForNode(dist)
for (const bits of [32, 64] as const) writeFileSync(publishedImage(dist, bits), pvopsKernel(bits))
await bundleForBrowsers(join(dist, 'browser'))
await buildWeb(join(dist, 'web'))

/**
 * `npm run build`: what is published. JavaScript and declarations of everything the command and the library import,
 * the AssemblyScript procedures compiled and our own kernel assembled, so that users need no compiler, and the page for
 * browsers (dist/web).
 */
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pvopsKernel } from '../guests/pvops/kernel.ts'
import { buildSystem } from '../src/cpu/system/build.ts'
import { publishedImage } from '../src/demo/image.ts'
import { buildWeb } from './web/build.ts'

const root = join(import.meta.dirname, '..')
rmSync(join(root, 'dist'), { recursive: true, force: true })
const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
writeFileSync(join(root, 'dist/cpu/system/system.wasm'), await buildSystem())
for (const bits of [32, 64] as const) writeFileSync(publishedImage(join(root, 'dist/demo'), bits), pvopsKernel(bits))
await buildWeb(join(root, 'dist/web'))

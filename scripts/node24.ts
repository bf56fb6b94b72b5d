/**
 * `npm run node24`: the published package on the oldest Node that it is for. Bundles it, fetches that Node from npm into
 * the cache, and uses there what differs between Nodes: type stripping, explicit resource management, zstd, workers,
 * WebAssembly. Fails with the first thing that does not work.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../src/cache.ts'
import { bundleForNode, root } from './bundle.ts'

const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { engines: { node: string } }
const oldest = engines.node.replace(/^>=/, '')

/** The binary of Node's npm package. */
function oldNode(): string {
  const folder = join(cacheFolder(), `node-${oldest}`)
  const binary = join(folder, 'node_modules/node/bin/node')
  if (!existsSync(binary))
    execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', `node@${oldest}`], {
      stdio: 'inherit',
    })
  return binary
}

const node = oldNode()
// Its dependencies are found from there.
const folder = mkdtempSync(join(root, 'node_modules/.node24-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const part of ['bin', 'package.json', 'guests/init'])
  cpSync(join(root, part), join(folder, part), { recursive: true })
await bundleForNode(join(folder, 'dist'))
writeFileSync(
  join(folder, 'library.js'),
  `import { Machine } from './dist/index.js'
  await using machine = await Machine.boot({ on: 'kvm', memory: '256M' })
  await machine.exec('echo saved > /tmp/state')
  const snapshot = new Uint8Array(await new Response(machine.snapshot()).arrayBuffer())
  await using restored = await Machine.restore(snapshot)
  process.stdout.write((await restored.exec('cat /tmp/state')).stdout)`,
)

function works(what: string, args: readonly string[], expected: RegExp): void {
  const { status, stdout, stderr } = spawnSync(node, args, { encoding: 'utf8' })
  if (status !== 0 || !expected.test(stdout)) {
    process.stderr.write(`${stdout}${stderr}node24: ${what}: exit code ${status}\n`)
    process.exit(1)
  }
  console.log(`ok ${what}`)
}

const published = join(folder, 'bin/paravirt.cjs')
works(`is Node ${oldest}`, ['--version'], new RegExp(`^v${oldest}\\.`))
works('doctor', [published, 'doctor'], /processor: built, and executes/)
works('doctor of a checkout', [join(root, 'bin/paravirt.cjs'), 'doctor'], /processor: built, and executes/)
works('run', [published, 'run', '--exec', 'echo $((6 * 7))'], /^42$/m)
works('matrix, by workers', [published, 'matrix', '--platforms', 'native,xen-pv'], /xen-pv *│ ok/)
works('library, snapshots', [join(folder, 'library.js')], /^saved$/m)

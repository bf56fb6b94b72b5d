/** How each peer is started. All write the guest's console to stdout. */
import { join } from 'node:path'
import { bundleForNode, root } from '../scripts/bundle.ts'
import { cacheFolder } from '../src/cache.ts'
import type { Guest } from './guest.ts'

export interface Peer {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
}

/** On this Node, which keeps compiled code between runs as for the command (bin/paravirt.cjs). */
function onNode(name: string, file: string, args: readonly string[]): Peer {
  const cache = `NODE_COMPILE_CACHE=${join(cacheFolder(), 'compiled')}`
  return { name, command: 'env', args: [cache, process.execPath, file, ...args] }
}

const peer = (file: string) => join(import.meta.dirname, 'peers', file)

const bundled = join(root, 'dist/bench')
let bundling: Promise<void> | undefined

/** Bundled, as what is published, which starts sooner than some 400 sources. */
async function bundledFile(name: 'main.js' | 'peer.js'): Promise<string> {
  await (bundling ??= bundleForNode(bundled, { peer: peer('paravirt.ts') }))
  return join(bundled, name)
}

export const paravirt = async ({ kernel, initrd, memory, append }: Guest): Promise<Peer> =>
  onNode('paravirt', await bundledFile('peer.js'), [kernel, initrd, memory, append])

/** `paravirt ARGUMENTS`. */
export const command = async (...args: string[]): Promise<Peer> =>
  onNode('paravirt', await bundledFile('main.js'), args)

/** QEMU without hardware virtualization. */
export function tcg(guest: Guest): Peer {
  const machine = ['-M', 'pc', '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', guest.memory]
  const devices = ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot']
  const boot = ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append]
  return { name: 'tcg', command: 'qemu-system-x86_64', args: [...machine, ...devices, ...boot] }
}

/** The npm package v86. It runs the kernel's own decompressor. */
export const v86 = ({ image, initrd, memory, append }: Guest): Peer =>
  onNode('v86', peer('v86.ts'), [image, initrd, memory, append])

/** The program on this machine's own processor. */
export function native(program: string, busybox: string, work: readonly string[]): Peer {
  const script = `${program} ${work.join(' ')}; echo bench: done; sleep 5`
  return { name: 'native', command: 'env', args: ['TMPDIR=/dev/shm', `BUSYBOX=${busybox}`, 'sh', '-c', script] }
}

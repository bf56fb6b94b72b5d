/** How each peer is started. All write the guest's console to stdout. */
import { join } from 'node:path'
import type { Guest } from './guest.ts'

export interface Peer {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
}

export function paravirt(guest: Guest): Peer {
  const args = [guest.kernel, guest.initrd, guest.memory, guest.append]
  return {
    name: 'paravirt',
    command: process.execPath,
    args: [join(import.meta.dirname, 'peers/paravirt.ts'), ...args],
  }
}

/** QEMU without hardware virtualization. */
export function tcg(guest: Guest): Peer {
  const machine = ['-M', 'pc', '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', guest.memory]
  const devices = ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot']
  const boot = ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append]
  return { name: 'tcg', command: 'qemu-system-x86_64', args: [...machine, ...devices, ...boot] }
}

/** The npm package v86, on the same Node. It runs the kernel's own decompressor. */
export function v86(guest: Guest): Peer {
  const args = [guest.image, guest.initrd, guest.memory, guest.append]
  return { name: 'v86', command: process.execPath, args: [join(import.meta.dirname, 'peers/v86.ts'), ...args] }
}

/** The program on this machine's own processor. */
export function native(program: string, busybox: string, work: readonly string[]): Peer {
  const script = `${program} ${work.join(' ')}; echo bench: done; sleep 5`
  return { name: 'native', command: 'env', args: ['TMPDIR=/dev/shm', `BUSYBOX=${busybox}`, 'sh', '-c', script] }
}

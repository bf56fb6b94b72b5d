/** Plays guests/xen here, and on Debian's Xen in QEMU's TCG, where it is dom0: the lines that it writes. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { loadKernel } from '../../src/boot/kernel.ts'
import { Machine } from '../../src/machine/machine.ts'
import type { MachineOptions } from '../../src/machine/types.ts'

const MEMORY = 64 << 20
const SECONDS = 300
const HYPERVISOR = '/boot/xen-4.17-amd64.gz'

/** Seeds that are played in one go. */
export const BATCH = 20
/** The first seed of each. */
export const batches: readonly number[] = Array.from({ length: 12 }, (_, i) => 1 + i * BATCH)
/** The command line; every other batch has FIFO events. */
export const batchLine = (first: number): string => `first=${first} seeds=${BATCH} fifo=${((first - 1) / BATCH) % 2}`

export async function playHere(
  guest: string,
  cmdline: string,
  options: Partial<Pick<MachineOptions, 'observe' | 'translate'>> = {},
): Promise<{ lines: string[]; exit: string }> {
  let text = ''
  const machine = await Machine.create({
    memory: MEMORY,
    cpu: 'inorder',
    platform: 'xen-pv',
    deterministic: true,
    serial: { com1: (bytes) => (text += Buffer.from(bytes).toString('latin1')) },
    boot: { kernel: await loadKernel(guest), cmdline },
    ...options,
  })
  const { kind } = await machine.run(AbortSignal.timeout(SECONDS * 1000))
  return { lines: linesOf(text), exit: kind }
}

/** Xen goes on after its dom0's end; it is stopped when the guest has written `end`. */
export async function playOnXen(guest: string, cmdline: string): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-xen-'))
  try {
    const xen = join(folder, 'xen')
    writeFileSync(xen, gunzipSync(readFileSync(HYPERVISOR)))
    const append = 'com1=115200,8n1 console=com1 dom0_mem=64M,max:65M dom0_max_vcpus=1 loglvl=error guest_loglvl=none'
    const boot = ['-kernel', xen, '-append', append, '-initrd', `${guest} ${cmdline}`]
    // Without SMAP: this QEMU's IRET at CPL 3 reads the stack as the supervisor.
    const machine = ['-M', 'pc', '-accel', 'tcg', '-cpu', 'max,-smap', '-m', '256M', '-no-reboot']
    const args = [...machine, '-display', 'none', '-serial', 'stdio', '-monitor', 'none', ...boot]
    const child = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: SECONDS * 1000 })
    let text = ''
    child.stdout.setEncoding('latin1').on('data', (part: string) => {
      text += part
      if (/^end\r?$/m.test(text.slice(-200))) child.kill()
    })
    await new Promise<void>((resolve, reject) => child.on('exit', () => resolve()).on('error', reject))
    return linesOf(text.replaceAll('\r', '')).filter(
      (line) => !line.startsWith('(XEN)') && /^( {2}|seed|end)/.test(line),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '')

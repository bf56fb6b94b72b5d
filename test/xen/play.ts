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

/** Seeds that one machine plays, one after the other. */
export interface Batch {
  readonly first: number
  readonly seeds: number
  /** What is played: guests/xen/main.c has the numbers. */
  readonly set: number
  readonly vcpus: number
}

/** 240 seeds of everything that one vCPU does, 60 with up to eight, 40 of 32-bit user code and LDTs, 40 of SYSENTER and memory_op. */
export const batches: readonly Batch[] = [
  ...Array.from({ length: 12 }, (_, i) => ({ first: 1 + i * 20, seeds: 20, set: 0, vcpus: 1 })),
  ...Array.from({ length: 6 }, (_, i) => ({ first: 241 + i * 10, seeds: 10, set: 1, vcpus: i < 2 ? 2 : 8 })),
  ...Array.from({ length: 2 }, (_, i) => ({ first: 301 + i * 20, seeds: 20, set: 2, vcpus: 1 })),
  ...Array.from({ length: 2 }, (_, i) => ({ first: 341 + i * 20, seeds: 20, set: 3, vcpus: 1 })),
]
/** The command line; every other batch has FIFO events. */
export const batchLine = ({ first, seeds, set }: Batch): string =>
  `first=${first} seeds=${seeds} fifo=${(Math.floor((first - 1) / 10) / (set === 1 ? 1 : 2)) % 2} set=${set}`

export async function playHere(
  guest: string,
  cmdline: string,
  vcpus = 1,
  options: Partial<Pick<MachineOptions, 'observe' | 'translate'>> = {},
): Promise<{ lines: string[]; exit: string }> {
  let text = ''
  const machine = await Machine.create({
    memory: MEMORY,
    cpus: vcpus,
    // SYSCALL of 32-bit code is AMD's only, as in QEMU.
    cpu: cmdline.includes('set=2') ? 'amd' : 'inorder',
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
export async function playOnXen(guest: string, cmdline: string, vcpus = 1): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-xen-'))
  try {
    const xen = join(folder, 'xen')
    writeFileSync(xen, gunzipSync(readFileSync(HYPERVISOR)))
    // Else the last lines of many are lost when the guest ends; it costs some seconds.
    const all = /show=[1-9]/.test(cmdline) ? ' sync_console' : ''
    const console = 'com1=115200,8n1 console=com1 loglvl=error guest_loglvl=none'
    const append = `${console} dom0_mem=64M,max:65M dom0_max_vcpus=${vcpus}${all}`
    const boot = ['-kernel', xen, '-append', append, '-initrd', `${guest} ${cmdline}`]
    // Without SMAP: this QEMU's IRET at CPL 3 reads the stack as the supervisor. SYSENTER in long mode is Intel's only.
    const model = cmdline.includes('set=3') ? 'SandyBridge' : 'max,-smap'
    const machine = ['-M', 'pc', '-accel', 'tcg', '-cpu', model, '-m', '256M', '-no-reboot']
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

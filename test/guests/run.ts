/** Runs a test kernel here and in QEMU's TCG: what it writes to COM1. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Kernel } from '../../src/boot/entries.ts'
import { layoutBoot } from '../../src/boot/layout.ts'
import type { Listener } from '../../src/paravirt/observe.ts'
import { Machine } from '../../src/machine/machine.ts'
import type { ExitReason, MachineOptions } from '../../src/machine/types.ts'
import { cpuModel } from '../../src/cpu/models.ts'
import { qemuCpu } from '../qemu/cpu.ts'
import { bootArguments } from '../qemu/entry.ts'

const MEMORY = 16 << 20
const SECONDS = 60
/** How Xen marks what a domain writes. */
const CONSOLE = /^\(d\d+\) /
const cmdline = ''

export interface Outcome {
  readonly lines: readonly string[]
  readonly exit: ExitReason['kind']
}

export async function runHere(
  kernel: Kernel,
  options: Partial<
    Pick<MachineOptions, 'observe' | 'translate' | 'platform' | 'cpus' | 'features' | 'boot' | 'devices'>
  > = {},
  listener?: Listener,
): Promise<Outcome> {
  let text = ''
  const machine = await Machine.create({
    memory: MEMORY,
    cpu: 'inorder',
    platform: 'native',
    deterministic: true,
    serial: { com1: (bytes) => (text += Buffer.from(bytes).toString('latin1')) },
    onReport: (lines) => {
      // Guests of Xen write to its console.
      for (const line of lines) if (CONSOLE.test(line)) text += `${line.replace(CONSOLE, '')}\n`
    },
    boot: { kernel, cmdline },
    ...options,
  })
  if (listener) machine.requests.listen(listener)
  const { kind } = await machine.run(AbortSignal.timeout(SECONDS * 1000))
  return { lines: linesOf(text), exit: kind }
}

/** A triple fault resets QEMU's machine, which ends it. */
export async function runInTcg(kernel: Kernel): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-guest-'))
  const output = join(folder, 'com1')
  const boot = layoutBoot({ kernel, cmdline, memory: MEMORY })
  const machine = ['-M', 'microvm,pit=on,pic=on,rtc=on,isa-serial=on', '-accel', 'tcg', '-m', `${MEMORY >>> 20}M`]
  const quiet = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', `file:${output}`]
  const args = [...machine, '-cpu', qemuCpu(cpuModel('inorder')), ...quiet, ...bootArguments(boot, folder)]
  try {
    const child = spawn('qemu-system-x86_64', args, { stdio: 'ignore', timeout: SECONDS * 1000, killSignal: 'SIGKILL' })
    const ended = await new Promise<boolean>((resolve, reject) => {
      child.on('exit', (code) => resolve(code === 0))
      child.on('error', reject)
    })
    return { lines: linesOf(readFileSync(output, 'latin1')), exit: ended ? 'triple-fault' : 'aborted' }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '')

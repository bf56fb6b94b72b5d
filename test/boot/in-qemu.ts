/** Runs a boot layout in QEMU until its end: it shows that a layout is right on a machine that is not ours. */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Boot } from '../../src/boot/layout.ts'
import { bootArguments } from '../qemu/entry.ts'

export interface QemuOutcome {
  /** What the guest wrote to COM1 to COM4. */
  serial: string[]
}

/** Runs until the guest has reported an exit code on COM4, or `seconds` have passed. `folder` gets scratch files. */
export async function runInQemu(boot: Boot, memory: number, folder: string, seconds = 60): Promise<QemuOutcome> {
  const scratch = (name: string) => join(folder, name)
  const ports = [0, 1, 2, 3].map((i) => scratch(`serial${i}`))
  for (const port of ports) writeFileSync(port, '')
  const machine = [
    '-M',
    'pc',
    '-cpu',
    'max',
    '-accel',
    'tcg',
    '-m',
    `${memory >>> 20}M`,
    '-display',
    'none',
    '-no-reboot',
  ]
  const serials = ports.flatMap((port) => ['-serial', `file:${port}`])
  const qemu = spawn('qemu-system-x86_64', [...machine, ...bootArguments(boot, folder), ...serials], {
    stdio: 'ignore',
  })
  const ended = new Promise<void>((done, fail) => {
    qemu.on('exit', () => done())
    qemu.on('error', fail)
  })
  const poll = setInterval(() => {
    if (readFileSync(ports[3]!, 'latin1').includes('\n')) qemu.kill()
  }, 100)
  const limit = setTimeout(() => qemu.kill(), seconds * 1000)
  await ended.finally(() => {
    clearInterval(poll)
    clearTimeout(limit)
  })
  return { serial: ports.map((port) => readFileSync(port, 'latin1')) }
}

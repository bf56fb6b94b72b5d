/** Boots a kernel with the default initramfs, deterministic, and hashes the machine's state on the way. */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../src/boot/kernel.ts'
import type { Translate } from '../src/cpu/translator/translator.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { hashRam, hashRegisters } from '../src/machine/state-hash.ts'
import { busyboxFile, isKernelPackage, kernelFile } from '../src/packages/debian.ts'

const MILLION = 1_000_000

export interface Checkpoint {
  readonly instructions: number
  readonly registers: number
  readonly ram?: number
}

export interface FingerprintOptions {
  readonly kernel: string
  readonly memory: number
  /** Command in the guest; without one the machine runs until `instructions`. */
  readonly exec?: string
  readonly instructions: number
  /** Instructions between looks at the machine, a divisor of a million: where slices end must make no difference. */
  readonly every?: number
  /** Millions of instructions between hashes of RAM. */
  readonly ramEvery: number
  readonly translate?: Translate
}

/** The state at each million of instructions until the guest ends. */
export async function fingerprint(options: FingerprintOptions): Promise<Checkpoint[]> {
  const { kernel: name, memory, exec, instructions: limit, every = MILLION, ramEvery, translate } = options
  const kernel = await loadKernel(isKernelPackage(name) ? await kernelFile(name) : name)
  const busybox = readFileSync(await busyboxFile(kernel.bits === 64 ? 'amd64' : 'i386'))
  const checkpoints: Checkpoint[] = []
  const ending = new AbortController()
  const machine = await Machine.create({
    memory,
    cpu: 'inorder',
    platform: 'native',
    deterministic: true,
    translate,
    serial: {},
    boot: { kernel, initrd: buildInitramfs({ busybox, exec }), cmdline: 'console=ttyS0 panic=-1' },
    observe: {
      every,
      at(core, instructions) {
        if (instructions % MILLION !== 0) return
        const ram = instructions % (ramEvery * MILLION) === 0 ? { ram: hashRam(core) } : {}
        checkpoints.push({ instructions, registers: hashRegisters(core, 0), ...ram })
        if (instructions >= limit) ending.abort()
      },
    },
  })
  await machine.run(ending.signal)
  checkpoints.push({
    instructions: machine.stats().instructions,
    registers: hashRegisters(machine.core, 0),
    ram: hashRam(machine.core),
  })
  return checkpoints
}

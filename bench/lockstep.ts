/**
 * `npm run lockstep -- [KERNEL] [--instructions N] [--memory 256M] [--append S]`: the same PVH boot in QEMU's TCG and
 * here, instruction by instruction; prints the first difference. docs/testing.md says what is taken over from QEMU.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { firmwareTables } from '../src/boot/firmware.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { layoutBoot } from '../src/boot/layout.ts'
import { parseMemory } from '../src/cli/options.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, isKernelPackage, kernelFile } from '../src/packages/debian.ts'
import { cpuid, cpuModel, signature } from '../src/cpu/models.ts'
import { disassemble } from './lockstep/code.ts'
import { qemuCpu } from '../test/qemu/cpu.ts'
import { Ours } from './lockstep/ours.ts'
import type { Instruction } from './lockstep/ours.ts'
import { Qemu } from './lockstep/qemu.ts'
import type { Event } from './lockstep/qemu.ts'
import { gprNames } from './lockstep/state.ts'
import type { QemuState } from './lockstep/state.ts'

const PROGRESS = 100_000
const TRAIL = 12
/** Repetitions that are worth a stop of QEMU: its log has one entry for each step. */
const LONG_REPETITION = 20_000
const ROM = [0xf0000, 0x100000] as const
const PAGE = 4096
/** TCG does not set it when CS is loaded by a far transfer or an interrupt (SDM Vol. 3A 3.4.5.1). */
const DESCRIPTOR_ACCESSED = 1n << 40n

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    instructions: { type: 'string', default: '1000000' },
    memory: { type: 'string', default: '256M' },
    append: { type: 'string', default: '' },
  },
})
const name = positionals[0] ?? DEFAULT_KERNEL
const limit = Number(values.instructions)
const memory = parseMemory(values.memory)
const kernel = await loadKernel(isKernelPackage(name) ? await kernelFile(name) : name)
const busybox = readFileSync(await busyboxFile(kernel.bits === 64 ? 'amd64' : 'i386'))
const model = cpuModel('inorder')
const state = { apicId: 0, vcpus: 1, osxsave: false, apicEnabled: true }
const firmware = firmwareTables({
  vcpus: 1,
  serialPorts: 1,
  signature: signature(model),
  features: cpuid(model, 1, 0, state)[3],
})
const cmdline = `console=ttyS0 ${values.append}`.trim()
const boot = layoutBoot({ kernel, initrd: buildInitramfs({ busybox }), cmdline, memory, ...firmware })

const folder = mkdtempSync(join(tmpdir(), 'paravirt-lockstep-'))
const qemu = await Qemu.start(boot, memory, qemuCpu(model), folder)
try {
  await compare(qemu, await Ours.create(boot, memory, model))
} finally {
  qemu.kill()
  rmSync(folder, { recursive: true })
}

/** The story: both at the same instruction; it runs; both must be at the next one, with the same registers. */
async function compare(theirs: Qemu, ours: Ours): Promise<void> {
  const trail: { rip: bigint; mode: number }[] = []
  const began = performance.now()
  let count = 0
  let interrupts = 0
  let current: Instruction | undefined
  let skipping: { rip: bigint; done: boolean } | undefined
  let ending: Promise<bigint> | undefined
  let interrupted = false
  let failure: unknown

  const report = (different: readonly string[], after: QemuState) => {
    console.log(`\ndifference after ${count} instructions (${interrupts} interrupts): ${different.join('; ')}`)
    for (const { rip, mode } of trail) console.log(`  ${disassemble(ours.core, ours.p, rip, mode)}`)
    for (const [i, register] of gprNames.entries()) {
      const mine = ours.core.u64[(ours.p >> 3) + i]!
      const other = (BigInt(after.gpr[2 * i + 1]! >>> 0) << 32n) | BigInt(after.gpr[2 * i]! >>> 0)
      const text = (value: bigint) => value.toString(16).padStart(16, '0')
      console.log(`  ${register.padEnd(3)} ours ${text(mine)} QEMU's ${text(other)}${mine === other ? '' : '  <'}`)
    }
    process.exitCode = 1
  }

  for await (const event of theirs.events()) {
    if (current === undefined) {
      // The ROM's instructions come first.
      if (event.state.rip !== BigInt(boot.entry.rip)) continue
      ours.adopt(event.state)
      ours.adoptSystemSegments(event.state)
    } else if (!interrupted) {
      // QEMU begins instructions that touch devices a second time, as the last of a block; a jump to itself may be
      // left out as well.
      if (event.kind === 'before' && event.state.rip === ours.rip && ours.compare(event.state).length === 0) continue
      // One event for each step of a repetition.
      if (current.repeated && event.kind === 'before' && event.state.rip === ours.rip) {
        const left = event.state.gpr[2]! >>> 0
        if (!skipping && left > LONG_REPETITION) {
          const here = { rip: ours.rip, done: false }
          skipping = here
          const failed = (error: unknown) => {
            failure = error
            theirs.kill()
          }
          void theirs.skip(here.rip, here.rip + BigInt(current.length)).then(() => (here.done = true), failed)
        }
        continue
      }
      count++
      if (!advance(ours, current, event)) return report(['we shut down'], event.state)
      ours.takeOver(current, event.state)
    }
    const different = ours.compare(event.state)
    if (different.length > 0) return report(different, event.state)
    if (skipping?.done) skipping = undefined
    interrupted = event.kind === 'interrupt'
    if (event.kind === 'interrupt') {
      ours.interrupt(event.vector)
      interrupts++
      continue
    }
    current = ours.instruction()
    trail.push({ rip: ours.rip, mode: ours.mode })
    if (trail.length > TRAIL) trail.shift()
    if (count % PROGRESS === 0 && count > 0) {
      const rate = Math.round(count / (performance.now() - began))
      console.log(`${count} instructions, ${interrupts} interrupts, RIP ${ours.rip.toString(16)}, ${rate}k/s`)
    }
    if (count >= limit && !skipping) ending ??= theirs.stop()
  }
  if (failure !== undefined) throw failure
  if (current === undefined || ending === undefined) throw new Error('QEMU ended early')
  // What QEMU logged last it has executed, too.
  if (!interrupted && ours.rip !== (await ending)) ours.step(current)
  console.log(`${count} instructions, ${interrupts} interrupts: no register differs`)
  compareMemory(ours, theirs.memory())
}

function advance(ours: Ours, current: Instruction, { kind, state: after }: Event): boolean {
  const part = current.repeated && kind === 'interrupt' && after.rip === ours.rip
  return part ? ours.stepPart(current, after) : ours.step(current)
}

function compareMemory(ours: Ours, theirs: Buffer): void {
  const mine = Buffer.from(ours.core.ram(0, memory))
  mine.copy(theirs, ROM[0], ...ROM)
  const different: number[] = []
  let accessed = 0
  for (let page = 0; page < memory; page += PAGE) {
    if (mine.compare(theirs, page, page + PAGE, page, page + PAGE) === 0) continue
    for (let at = page; at < page + PAGE; at += 8) {
      const change = mine.readBigUInt64LE(at) ^ theirs.readBigUInt64LE(at)
      if (change === DESCRIPTOR_ACCESSED) accessed++
      else if (change !== 0n) different.push(at)
    }
  }
  console.log(`RAM: ${different.length} quadwords differ, besides ${accessed} accessed bits of descriptors`)
  for (const at of different.slice(0, 10)) {
    const text = (bytes: Buffer) => bytes.readBigUInt64LE(at).toString(16).padStart(16, '0')
    console.log(`  at ${at.toString(16)}: ours ${text(mine)}, QEMU's ${text(theirs)}`)
  }
  if (different.length > 0) process.exitCode = 1
}

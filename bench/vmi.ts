/**
 * `node bench/vmi.ts [ROUNDS]`: what a VMI call costs that is native code in the ROM, against the bare instruction: our
 * own kernel (guests/pvops, 32 bits) on bare hardware and on VMI in turn. In nanoseconds, and in instructions.
 */
import { pvopsImage } from '../src/demo/image.ts'
import { type PvopsRun, runPvops } from '../src/demo/run.ts'
import { median, table, verdict } from './measure.ts'

/** Operations whose sites are the instruction itself on bare hardware and a CALL into the ROM on VMI. */
const ops = ['irq.irq_disable', 'irq.save_fl', 'irq.restore_fl', 'cpu.clts', 'mmu.flush_tlb_single', 'mmu.write_cr3']
const LIMIT = 120_000

const [rounds = '7'] = process.argv.slice(2)
const image = await pvopsImage(32)
const run = (platform: 'native' | 'vmi', deterministic = false) =>
  runPvops({ image, bits: 32, platform, cpus: 1, deterministic, signal: AbortSignal.timeout(LIMIT) })
const cost = ({ costs }: PvopsRun, op: string, which: 'before' | 'after') =>
  costs.find((each) => each.op === op)?.[which] ?? NaN

const native: PvopsRun[] = []
const vmi: PvopsRun[] = []
for (let round = 0; round < Number(rounds); round++) {
  native.push(await run('native'))
  vmi.push(await run('vmi'))
}
const counted = { native: await run('native', true), vmi: await run('vmi', true) }

const rows = ops.map((op) => {
  const ns = (runs: readonly PvopsRun[], which: 'before' | 'after') => median(runs.map((each) => cost(each, op, which)))
  return {
    op,
    bare: ns(native, 'after'),
    called: ns(native, 'before'),
    rom: ns(vmi, 'after'),
    instructions: [
      cost(counted.native, op, 'after'),
      cost(counted.native, op, 'before'),
      cost(counted.vmi, op, 'after'),
    ],
  }
})
console.log(`nanoseconds (and instructions, with the padding of the site); medians of ${rounds}`)
console.log(
  table([
    ['', 'instruction in place', 'function of the kernel', 'function of the ROM', 'ROM / kernel'],
    ...rows.map(({ op, bare, called, rom, instructions }) => [
      op,
      ...[bare, called, rom].map((value, i) => `${value.toFixed(1)} (${instructions[i]})`),
      (rom / called).toFixed(2),
    ]),
  ]),
)
const ratio = median(rows.map(({ called, rom }) => rom / called))
verdict(`a function of the ROM costs what one of the kernel's own does: ${ratio.toFixed(2)} times`, ratio <= 1.1)

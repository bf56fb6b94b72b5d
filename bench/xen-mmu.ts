/**
 * `node bench/xen-mmu.ts [ROUNDS]`: what direct paging costs by request, without a processor: entries changed in
 * batches of 32 (as Linux makes them), single update_va_mapping, emulated stores, pinning a tree of page tables.
 */
import { mmuHypercalls } from '../src/platforms/xen/mm/hypercalls.ts'
import { PRESENT, RW } from '../src/platforms/xen/mm/entries.ts'
import { Mmuext } from '../src/platforms/xen/mm/mmuext-op.ts'
import { FIRST_OWN, TestCalls } from '../src/platforms/xen/mm/testing.ts'
import { emulateStore } from '../src/platforms/xen/mm/write-emulation.ts'
import { DOMID } from '../src/platforms/xen/constants.ts'
import { table } from './measure.ts'

const rounds = Number(process.argv[2] ?? 20_000)
const BATCH = 32
const L1_TABLES = 64
const [L4, L3, L2, L1] = [0, 1, 2, 3].map((i) => FIRST_OWN + i) as [number, number, number, number]
const DATA = L1 + L1_TABLES

const host = new TestCalls({ frames: 2048 })
host.frames.set(L4, 0, L3, PRESENT | RW)
host.frames.set(L3, 0, L2, PRESENT | RW)
for (let i = 0; i < L1_TABLES; i++) host.frames.set(L2, i, L1 + i, PRESENT | RW)
for (let i = 0; i < L1_TABLES; i++)
  for (let slot = 0; slot < 512; slot++) host.frames.set(L1 + i, slot, DATA + ((i * 512 + slot) % 1024), PRESENT | RW)
host.mmuext(Mmuext.NEW_BASEPTR, L4)
/** A table that nothing else uses. */
const SPARE = DATA + 1100
for (let slot = 0; slot < 512; slot++) host.frames.set(SPARE, slot, DATA + slot, PRESENT | RW)

const [mmuUpdate, updateVaMapping] = mmuHypercalls
const entry = (frame: number) => (BigInt(frame) << 12n) | 3n

/** Nanoseconds of one of `each` things that a call of `work` does. */
function cost(each: number, work: (round: number) => void): number {
  for (let i = 0; i < rounds / 10; i++) work(i)
  const before = process.cpuUsage()
  for (let i = 0; i < rounds; i++) work(i)
  return (process.cpuUsage(before).user * 1000) / (rounds * each)
}

const batch = Array.from({ length: BATCH }, (_, i) => [entry(L1) - 3n + BigInt(8 * i), entry(DATA + i)]).flat()
const other = batch.map((word, i) => (i % 2 ? 0n : word))
host.write(host.buffer, ...batch)
host.write(host.buffer + 2048, ...other)

const figures: readonly (readonly [name: string, nanoseconds: number])[] = [
  [
    `mmu_update, an L1 entry of ${BATCH}`,
    cost(BATCH, (i) => mmuUpdate?.run?.(host.args(host.buffer + (i & 1 ? 2048 : 0), BATCH, 0, DOMID.SELF))),
  ],
  ['update_va_mapping', cost(1, (i) => updateVaMapping?.run?.(host.args(0x5000, i & 1 ? 0n : entry(DATA), 0)))],
  ['emulated store', cost(1, (i) => emulateStore(host.mm, L1 * 4096 + 64, 8, i & 1 ? 0 : (DATA << 12) | 3, 0))],
  [
    'pin and unpin an L1 table, an entry',
    cost(512, () => {
      host.mmuext(Mmuext.PIN_L1_TABLE, SPARE)
      host.mmuext(Mmuext.UNPIN_TABLE, SPARE)
    }),
  ],
]
console.log(table([['request', 'ns'], ...figures.map(([name, ns]) => [name, ns.toFixed(0)])]))

/**
 * What a kernel does on a platform that trap-and-emulate would have to trap, against what it asks for instead, in a boot
 * that runs one command: a counting machine, so interpreted. A batch (multicall, mmu_update, mmuext_op) is one request
 * with several things in it.
 */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../src/boot/kernel.ts'
import { sensitive } from '../src/cpu/interpreter/sensitive.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { ExitCounts } from '../src/machine/exits.ts'
import { Machine } from '../src/machine/machine.ts'
import { busyboxFile } from '../src/packages/debian.ts'
import type { Event } from '../src/paravirt/observe.ts'
import type { PlatformName } from '../src/platforms/index.ts'

/** Rows of the table, and which of the census's names each sums up. */
const kinds: readonly (readonly [name: string, match: RegExp])[] = [
  ['CLI, STI, POPF, PUSHF', /^(cli|sti|popf|pushf)$/],
  ['page-table stores', /^store to a level/],
  ['control registers', /^(mov (from|to) Cr|clts|lmsw|smsw)/],
  ['TLB: INVLPG, INVPCID', /^(invlpg|invpcid)$/],
  ['IRET, SYSRET, SWAPGS', /^(iret|sysret|sysexit|swapgs|syscall|sysenter)$/],
  ['clock: RDTSC', /^rdtscp?$/],
  ['MSR, CPUID', /^(rdmsr|wrmsr|rdpmc|cpuid)$/],
]
const OTHERS = 'others'
const PORTS = 'ports'
export const rows: readonly string[] = [...kinds.map(([name]) => name), PORTS, OTHERS]

export interface Counted {
  readonly platform: PlatformName
  /** Executions and stores by row. */
  readonly done: ReadonlyMap<string, number>
  /** What was asked for: every entry of a batch is one. */
  readonly wishes: number
  /** How often the hypervisor was entered for it. */
  readonly requests: number
}

export async function count(platform: PlatformName, kernelPath: string, append: string): Promise<Counted> {
  const exits = new ExitCounts()
  const machine = await Machine.create({
    memory: 512 << 20,
    cpu: 'inorder',
    platform,
    deterministic: true,
    census: true,
    exits,
    serial: {},
    boot: {
      kernel: await loadKernel(kernelPath),
      initrd: buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')), exec: 'true' }),
      cmdline: `console=ttyS0 console=hvc0 panic=-1 ${append}`,
    },
  })
  let wishes = 0
  let requests = 0
  machine.requests.listen((event) => {
    // What is on rings is asked for by the hypercall that tells of it.
    if (event.request.kind === 'ring') return
    const { inside, within } = batch(event)
    wishes += inside
    requests += 1 - within
  })
  await machine.run()
  const done = new Map(rows.map((row) => [row, 0]))
  const add = (row: string, by: number) => void done.set(row, (done.get(row) as number) + by)
  for (const { what, count: times } of machine.census?.list() ?? [])
    if (traps(what)) add(kinds.find(([, match]) => match.test(what))?.[0] ?? OTHERS, times)
  for (const name of ['port in', 'port out']) add(PORTS, exits.counts.get(name)?.count ?? 0)
  return { platform, done, wishes, requests }
}

/** Not what goes by memory that is shared with the hypervisor. */
const traps = (what: string): boolean =>
  what.startsWith('store to a level') || sensitive.some((name) => what.startsWith(name.replaceAll('_', ' ')))

/** What a request holds, and how many others are noted that came within it. */
function batch({ request, args }: Event): { inside: number; within: number } {
  const length = Number(args[1] ?? 0n)
  if (request.name === 'multicall') return { inside: 0, within: length }
  const entries = request.name === 'mmu_update' || request.name === 'mmuext_op'
  return { inside: entries ? length : 1, within: 0 }
}

/**
 * `node bench/observer.ts [PAIRS]`: what it costs that requests can be observed, while nobody listens. Deterministic
 * boots on each hypervisor's platform, in pairs, each in a process of its own: as it is, and with a `note` that does
 * nothing. Then the requests of a boot noted again and again, for a figure that the host's other work cannot hide.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import { type Event, Observer } from '../src/paravirt/observe.ts'
import { median, table, verdict } from './measure.ts'

const platforms = ['kvm', 'vmware', 'hyperv'] as const
type Hypervisor = (typeof platforms)[number]

/** Issue 4. */
const GOAL = 0.01
/** Several vCPUs ask more: interrupts, flushes. */
const CPUS = 4
const REPEATS = 1_000_000

interface Boot {
  /** Of processor time, all threads. */
  readonly seconds: number
  readonly instructions: number
}

/** Seconds of processor time from the first instruction to power-off. */
async function boot(platform: Hypervisor, listen?: (event: Event) => void): Promise<Boot> {
  const kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  const initrd = buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')), exec: 'true' })
  const machine = await Machine.create({
    memory: 512 << 20,
    cpu: 'inorder',
    platform,
    cpus: CPUS,
    deterministic: true,
    serial: {},
    boot: { kernel, initrd, cmdline: 'console=ttyS0 panic=-1 cryptomgr.notests' },
  })
  if (listen) machine.requests.listen(listen)
  const before = process.cpuUsage()
  await machine.run()
  const { user, system } = process.cpuUsage(before)
  return { seconds: (user + system) / 1e6, instructions: machine.stats().instructions }
}

/** Nanoseconds of one `note` among a boot's, and how many of them there were. */
async function costOfNote(platform: Hypervisor): Promise<{ nanoseconds: number; notes: number }> {
  const events: Event[] = []
  await boot(platform, (event) => events.push(event))
  const observer = new Observer(() => 0)
  const began = process.cpuUsage()
  for (let i = 0; i < REPEATS; i++) {
    const { vcpu, request, access, args, result } = events[i % events.length] as Event
    observer.note(vcpu, request, access, () => args, result)
  }
  const { user, system } = process.cpuUsage(began)
  return { nanoseconds: ((user + system) * 1000) / REPEATS, notes: events.length }
}

const child = (...args: string[]) =>
  JSON.parse(execFileSync(process.execPath, [import.meta.filename, ...args], { encoding: 'utf8' }))

const [first = '10', platform] = process.argv.slice(2)
if (first === 'with' || first === 'without') {
  if (first === 'without') Observer.prototype.note = () => {}
  console.log(JSON.stringify(await boot(platform as Hypervisor)))
} else if (first === 'note') console.log(JSON.stringify(await costOfNote(platform as Hypervisor)))
else {
  const rows = [['', 'without, s', 'with, s', 'median of ratios', 'requests', 'ns each', 'share']]
  let worst = 0
  for (const name of platforms) {
    const pairs = Array.from({ length: Number(first) }, (_, i) => {
      const order = i % 2 ? (['with', 'without'] as const) : (['without', 'with'] as const)
      const both = Object.fromEntries(order.map((which) => [which, child(which, name) as Boot]))
      return both as Record<'with' | 'without', Boot>
    })
    const { nanoseconds, notes } = child('note', name)
    const without = median(pairs.map((pair) => pair.without.seconds))
    const share = (notes * nanoseconds) / 1e9 / without
    worst = Math.max(worst, share)
    rows.push([
      name,
      without.toFixed(2),
      median(pairs.map((pair) => pair.with.seconds)).toFixed(2),
      median(pairs.map((pair) => pair.with.seconds / pair.without.seconds)).toFixed(3),
      String(notes),
      nanoseconds.toFixed(0),
      `${(100 * share).toFixed(4)} %`,
    ])
  }
  console.log(table(rows))
  verdict(`observing costs less than ${100 * GOAL} % of a boot`, worst < GOAL)
}

/** The page's machine, or the demo's one after another, in a Web Worker. */
import { elfKernel } from '../boot/entries.ts'
import { demoPlatforms, runPvops } from '../demo/run.ts'
import { summary } from '../demo/summary.ts'
import { Machine } from '../machine/machine.ts'
import type { Demo, FromWorker, Start, ToWorker } from './protocol.ts'

const post = (message: FromWorker) => self.postMessage(message, [])
const output = (bytes: Uint8Array) => post({ kind: 'output', bytes: bytes.slice() })
const ending = new AbortController()
let machine: Machine | undefined

async function bytesOf(url: string): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`)
  return new Uint8Array(await answer.arrayBuffer())
}

async function start({ kernel, initrd, cmdline, memory }: Start): Promise<void> {
  const [image, archive] = await Promise.all([bytesOf(kernel), bytesOf(initrd)])
  machine = await Machine.create({
    memory,
    cpu: 'inorder',
    platform: 'native',
    boot: { kernel: elfKernel(image, kernel), initrd: archive, cmdline },
    serial: { com1: output },
  })
  const reason = await machine.run(ending.signal)
  post({
    kind: 'ended',
    reason,
    stats: machine.stats(),
    translator: JSON.stringify(machine.core.translator?.stats ?? {}),
  })
}

async function demo({ image, bits, cpus, platforms }: Demo): Promise<void> {
  const bytes = await bytesOf(image)
  const known = demoPlatforms(bits)
  for (const name of platforms ?? [])
    if (!known.some((each) => each === name)) throw new Error(`${name} is none of ${known.join(', ')}`)
  const told = (text: string) => output(new TextEncoder().encode(text))
  let passed = true
  for (const platform of known.filter((each) => platforms?.includes(each) ?? true)) {
    told(`\n--- ${platform}\n`)
    // By the guest's own time: its checks of timers must not depend on how busy the browser is.
    const timing = { deterministic: true, signal: ending.signal }
    const run = await runPvops({ image: bytes, bits, platform, cpus, onOutput: output, ...timing })
    told(`${summary(platform, run)}\n`)
    passed &&= run.passed
  }
  post({ kind: 'demonstrated', passed })
}

const failed = (error: unknown) => post({ kind: 'failed', message: String(error) })

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case 'start':
      start(data).catch(failed)
      break
    case 'demo':
      demo(data).catch(failed)
      break
    case 'input':
      machine?.serial[0]?.send(data.bytes)
      break
    case 'stop':
      ending.abort()
      break
    default:
  }
})

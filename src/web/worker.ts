/** The page's machine, in a Web Worker. */
import { elfKernel } from '../boot/entries.ts'
import { Machine } from '../machine/machine.ts'
import type { FromWorker, Start, ToWorker } from './protocol.ts'

const post = (message: FromWorker) => self.postMessage(message, [])
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
    serial: { com1: (bytes) => post({ kind: 'output', bytes: bytes.slice() }) },
  })
  const reason = await machine.run(ending.signal)
  post({
    kind: 'ended',
    reason,
    stats: machine.stats(),
    translator: JSON.stringify(machine.core.translator?.stats ?? {}),
  })
}

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case 'start':
      start(data).catch((error: unknown) => post({ kind: 'failed', message: String(error) }))
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

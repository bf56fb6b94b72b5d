/**
 * A machine in a Web Worker. Interpreter and procedures come compiled, from beside this file (scripts/web/build.ts); the
 * kernel is an ELF file, because the decoders of packed ones are Node's.
 */
import { elfKernel } from '../boot/entries.ts'
import { interpreterFrom } from '../cpu/interpreter/tables.ts'
import { Machine } from '../machine/machine.ts'
import type { FromWorker, Start, ToWorker } from './protocol.ts'

const post = (message: FromWorker) => self.postMessage(message, [])
const ending = new AbortController()
let machine: Machine | undefined

async function bytesOf(url: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`)
  return new Uint8Array(await answer.arrayBuffer())
}

const beside = (name: string): URL => new URL(name, import.meta.url)

async function start({ kernel, initrd, cmdline, memory }: Start): Promise<void> {
  const [system, module, tables, image, archive] = await Promise.all([
    bytesOf(beside('system.wasm')),
    bytesOf(beside('interpreter.wasm')),
    bytesOf(beside('interpreter.json')),
    bytesOf(kernel),
    bytesOf(initrd),
  ])
  machine = await Machine.create({
    memory,
    cpu: 'inorder',
    platform: 'native',
    system,
    interpreter: interpreterFrom(module, new TextDecoder().decode(tables)),
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

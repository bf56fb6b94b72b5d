/**
 * The page: a machine's console as text, or, where there is no guest to boot, the project's own kernel on one platform
 * after another. Its address says which: ?kernel=URL&initrd=URL&cmdline=TEXT&memory=MIB, or
 * ?demo=64|32&on=PLATFORM,...&cpus=N.
 */
import { runDemo, WebMachine } from './client.ts'

declare global {
  /** What runs, and who else listens to it: benchmarks and tests. */
  var machine: WebMachine | undefined
  var onOutput: ((text: string, milliseconds: number) => void) | undefined
}

interface Key {
  readonly key: string
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly altKey: boolean
}
const codes = new Map([
  ['Enter', 13],
  ['Backspace', 127],
  ['Tab', 9],
  ['Escape', 27],
])

const given = new URLSearchParams(location.search)
const here = (path: string) => new URL(path, location.href).href
const shown = document.body.appendChild(document.createElement('div'))
const decoder = new TextDecoder('latin1')

function show(bytes: Uint8Array): void {
  const text = decoder.decode(bytes)
  globalThis.onOutput?.(text, performance.now())
  say(text)
}

function say(text: string): void {
  shown.append(text.replaceAll('\r', ''))
  scrollTo(0, document.body.scrollHeight)
}

function boot(kernel: string): Promise<string> {
  const machine = new WebMachine(
    {
      kernel,
      initrd: here(given.get('initrd') ?? 'guest/initrd'),
      cmdline: given.get('cmdline') ?? 'console=ttyS0 panic=-1',
      memory: Number(given.get('memory') ?? 512) << 20,
    },
    show,
  )
  globalThis.machine = machine
  addEventListener('keydown', (event) => {
    const { key, ctrlKey, metaKey, altKey } = event as Event & Key
    const code = codes.get(key)
    const letter = key.length === 1 ? key.charCodeAt(0) & (ctrlKey ? 31 : 255) : code
    if (letter === undefined || metaKey || altKey) return
    event.preventDefault()
    machine.send(Uint8Array.of(letter))
  })
  return machine.ended.then(({ reason }) => reason.kind)
}

async function demo(): Promise<string> {
  const bits = given.get('demo') === '32' ? 32 : 64
  const cpus = Number(given.get('cpus') ?? 2)
  const passed = await runDemo(
    { image: here(`pvops${bits}.elf`), bits, cpus, platforms: given.get('on')?.split(',') },
    show,
  )
  return passed ? 'all passed' : 'failed'
}

const isThere = (url: string) =>
  fetch(url, { method: 'HEAD' }).then(
    ({ ok }) => ok,
    () => false,
  )

const kernel = here(given.get('kernel') ?? 'guest/kernel')
const booting = given.has('kernel') || (!given.has('demo') && (await isThere(kernel)))
if (!booting && !given.has('demo')) say('No guest is served here; this is a kernel of our own, guests/pvops.\n')
const end = await (booting ? boot(kernel) : demo()).catch((error: Error) => error.message)
say(`\n[${end}]\n`)

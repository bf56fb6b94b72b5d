/**
 * `node bench/bisect.ts N [KERNEL]`: a deterministic boot by the interpreter alone and with the translator, to the first
 * instruction up to N after which their registers differ. Each step boots both anew.
 */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../src/boot/kernel.ts'
import { S } from '../src/cpu/layout.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { hashRegisters } from '../src/machine/state-hash.ts'
import { busyboxFile, DEFAULT_KERNEL, isKernelPackage, kernelFile } from '../src/packages/debian.ts'

const [last = '100000000', name = DEFAULT_KERNEL] = process.argv.slice(2)
const kernel = await loadKernel(isKernelPackage(name) ? await kernelFile(name) : name)
const busybox = readFileSync(await busyboxFile(kernel.bits === 64 ? 'amd64' : 'i386'))
const initrd = buildInitramfs({ busybox, exec: 'true' })
const slots = [
  'RAX',
  'RCX',
  'RDX',
  'RBX',
  'RSP',
  'RBP',
  'RSI',
  'RDI',
  'R8',
  'R9',
  'R10',
  'R11',
  'R12',
  'R13',
  'R14',
  'R15',
]

/** Hash and registers after `count` instructions. */
async function stateAt(count: number, translate: boolean): Promise<{ hash: number; registers: string }> {
  const ending = new AbortController()
  const machine = await Machine.create({
    memory: 512 << 20,
    cpu: 'inorder',
    platform: 'native',
    deterministic: true,
    translate,
    serial: {},
    boot: { kernel, initrd, cmdline: 'console=ttyS0 panic=-1' },
    observe: { every: count, at: () => ending.abort() },
  })
  await machine.run(ending.signal)
  const { core } = machine
  const p = core.vcpus[0] as number
  const registers = [...slots, 'RIP'].map(
    (slot) => `${slot} ${core.u64[(p + S[slot as keyof typeof S]) >> 3]!.toString(16)}`,
  )
  const flags = `EFLAGS ${core.system.readEflags(p).toString(16)}`
  return { hash: hashRegisters(core, 0), registers: [...registers, flags].join('\n') }
}

const same = async (count: number) => (await stateAt(count, false)).hash === (await stateAt(count, true)).hash

let [low, high] = [0, Number(last)]
if (await same(high)) console.log(`the same after ${high}`)
else {
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (await same(middle)) low = middle
    else high = middle
  }
  console.log(`first difference after ${high}`)
  const [ours, theirs] = [await stateAt(high, false), await stateAt(high, true)].map(({ registers }) =>
    registers.split('\n'),
  )
  ours!.forEach((text, i) => text !== theirs![i] && console.log(`${text}, translated ${theirs![i]}`))
  process.exitCode = 1
}

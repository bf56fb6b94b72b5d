/**
 * Counts how often each of the interpreter's handlers runs, for the choice of the inline ones (src/cpu/interpreter/hot.ts):
 *
 *   node bench/handlers.ts [KERNEL] [--instructions N]
 *
 * boots the kernel with the default initramfs, deterministic, and prints the handlers by their share.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildInterpreter } from '../src/cpu/interpreter/build.ts'
import { M } from '../src/cpu/layout.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, isKernelPackage, kernelFile } from '../src/packages/debian.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    instructions: { type: 'string', default: '2000000000' },
    exec: { type: 'string' },
    append: { type: 'string', default: '' },
  },
})
const name = positionals[0] ?? DEFAULT_KERNEL
const kernel = await loadKernel(isKernelPackage(name) ? await kernelFile(name) : name)
const busybox = readFileSync(await busyboxFile(kernel.bits === 64 ? 'amd64' : 'i386'))
const interpreter = buildInterpreter({ profile: true })
const exec = values.exec === undefined ? {} : { exec: values.exec }
const machine = await Machine.create({
  memory: 512 << 20,
  cpu: 'inorder',
  platform: 'native',
  deterministic: true,
  interpreter,
  translate: false,
  serial: {},
  boot: { kernel, initrd: buildInitramfs({ busybox, ...exec }), cmdline: `console=ttyS0 panic=-1 ${values.append}` },
})
const ending = new AbortController()
const limit = Number(values.instructions)
const watch = setInterval(() => {
  if (machine.stats().instructions > limit) ending.abort()
}, 20)
await machine.run(ending.signal)
clearInterval(watch)

const counts = interpreter.names.map((handler, i) => ({
  handler,
  count: Number(machine.core.u64[(M.PROFILE >> 3) + i]),
}))
counts.sort((a, b) => b.count - a.count)
const total = counts.reduce((sum, { count }) => sum + count, 0)
let sum = 0
for (const { handler, count } of counts.slice(0, 700)) {
  sum += count
  process.stdout.write(`${((100 * count) / total).toFixed(3)} ${((100 * sum) / total).toFixed(2)} ${handler}\n`)
}

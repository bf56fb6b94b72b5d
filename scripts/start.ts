/**
 * `npm start`: the matrix of the default kernel, or whatever `paravirt matrix` is given: `npm start -- --platforms kvm`.
 * Where no stock kernel can be had (no apt, no network), the project's own kernel runs on every platform instead.
 */
import { InputError } from '../src/errors.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'

const given = process.argv.slice(2)
let command = ['matrix', ...given]
if (given.length === 0)
  try {
    await kernelFile(DEFAULT_KERNEL)
    await busyboxFile('amd64')
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    process.stderr.write(`start: no stock kernel can be had (${error.message}); this is our own, guests/pvops\n`)
    command = ['demo']
  }
process.argv.splice(2, process.argv.length, ...command)
await import('../src/cli/main.ts')

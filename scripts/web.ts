/** `npm run web [-- PORT]`: builds the page and serves it with the default guest to a browser on this machine. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeElf } from '../src/boot/elf.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import { buildWeb } from './web/build.ts'
import { serve } from './web/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-web-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
const guest = { kernel: join(folder, 'vmlinux'), initrd: join(folder, 'initrd') }
const { elf } = await loadKernel(await kernelFile(DEFAULT_KERNEL))
writeFileSync(guest.kernel, writeElf(elf!))
writeFileSync(guest.initrd, buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')) }))
await buildWeb(join(folder, 'page'))
const { url } = await serve(join(folder, 'page'), guest, Number(process.argv[2] ?? 8080))
console.log(url)

/** The page in headless Chromium: Debian's cloud kernel boots and runs commands; our own kernel runs on platforms. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { buildWeb } from '../../scripts/web/build.ts'
import { openChromium } from '../../scripts/web/chromium.ts'
import { serve } from '../../scripts/web/server.ts'
import { writeElf } from '../../src/boot/elf.ts'
import { loadKernel } from '../../src/boot/kernel.ts'
import { buildInitramfs } from '../../src/initramfs/build.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'

test('the cloud kernel boots in Chromium, types and powers off', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-web-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const guest = { kernel: join(folder, 'vmlinux'), initrd: join(folder, 'initrd') }
  const { elf } = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  writeFileSync(guest.kernel, writeElf(elf!))
  writeFileSync(guest.initrd, buildInitramfs({ busybox: readFileSync(await busyboxFile('amd64')) }))
  await buildWeb(join(folder, 'page'))
  const server = await serve(join(folder, 'page'), guest)
  onTestFinished(() => server.close())
  const chromium = await openChromium()
  onTestFinished(() => chromium.close())

  const { page } = chromium
  let output = ''
  const seen = (text: string) => expect.poll(() => output, { timeout: 300_000, interval: 200 }).toContain(text)
  await page.exposeFunction('onOutput', (text: string) => (output += text))
  await page.goto(`${server.url}?cmdline=${encodeURIComponent('console=ttyS0 panic=-1 quiet cryptomgr.notests')}`)
  await seen('paravirt: user space')
  await seen('# ')
  await page.keyboard.type('echo $((6 * 7)) of $(uname -m)\n')
  await seen('42 of x86_64')
  await page.keyboard.type('poweroff -f\n')
  expect(await page.evaluate('machine.ended.then(({ reason }) => reason)')).toEqual({ kind: 'power-off' })

  // Where no guest is served the page has the kernel of our own.
  const bare = await serve(join(folder, 'page'), {})
  onTestFinished(() => bare.close())
  await page.goto(`${bare.url}?on=native,kvm,xen-pv`)
  for (const [platform, title] of [
    ['native', 'bare hardware'],
    ['kvm', 'KVM'],
    ['xen-pv', 'Xen'],
  ])
    await seen(`${platform!.padEnd(9)}"${title}": 41 of 41 checks`)
  await page.goto(`${bare.url}?demo=32&on=vmi,lguest,xen-pv32`)
  for (const platform of ['vmi', 'lguest', 'xen-pv32'])
    await expect
      .poll(() => output, { timeout: 300_000, interval: 200 })
      .toMatch(new RegExp(`${platform} .*: (\\d+) of \\1 checks`))
  await page.getByText('[all passed]').waitFor()
})

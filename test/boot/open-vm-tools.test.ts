/** Debian's open-vm-tools in a guest of VMware: programs in user mode that know the backdoor from the real host. */
import { beforeAll, expect, test } from 'vitest'
import { packageTree } from '../../src/packages/debian.ts'
import { withPrograms } from './with-programs.ts'

const PACKAGES = (
  'open-vm-tools libc6 libglib2.0-0 libpcre2-8-0 libffi8 libgcc-s1 zlib1g libtirpc3 ' +
  'libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libssl3'
).split(' ')

/** What each prints, and its exit code. */
const commands = {
  'vmware-checkvm': 'VMware software version 6 (good)\n[0]',
  'vmware-checkvm -p': 'ESX Server\n[0]',
  'vmware-toolbox-cmd stat speed': '1000 MHz\n[0]',
  // One clock is the host's, the other the guest's.
  'vmware-toolbox-cmd stat hosttime | cut -c1-17 > /tmp/host; date "+%d %b %Y %H:%M" | cmp - /tmp/host': '[0]',
  'vmware-rpctool "info-set guestinfo.greeting from the guest"': '\n[0]',
  'vmware-rpctool "info-get guestinfo.greeting"': 'from the guest\n[0]',
  'vmtoolsd --cmd "info-get guestinfo.none" 2>&1': 'No value found\n[1]',
  'vmware-rpctool "no such request" 2>&1': 'Unknown command\n[1]',
  'vmware-rpctool "log the tools were here"': '\n[0]',
  // The service itself: its own channel and the host's, in which there is nothing.
  'timeout 5 vmtoolsd -n vmsvc > /dev/null 2>&1; true': '[0]',
} as const

const MARK = '=====8<=====\n'
let ended: Awaited<ReturnType<typeof withPrograms>>
let outputs: readonly string[]

beforeAll(async () => {
  // A minute that ends between two readings of the clock would be a difference.
  const script = ['while [ $(date +%S) -gt 50 ]; do sleep 1; done']
  for (const command of Object.keys(commands)) script.push(`${command}; echo "[$?]=====8<====="`)
  const files = await packageTree(PACKAGES)
  ended = await withPrograms({ files, exec: script.join('\n'), platform: 'vmware' })
  outputs = ended.output.split(MARK)
})

test.for(Object.entries(commands))('%s', ([command, wanted]) => {
  expect(outputs[Object.keys(commands).indexOf(command)]).toBe(wanted)
})

test('they asked through the backdoor', () => {
  expect(ended.reports).toContain('log: the tools were here')
  for (const name of ['GETVERSION', 'GETTIMEFULL', 'GETMHZ'])
    expect(ended.count(`BDOOR_CMD_${name}`)).toBeGreaterThan(0)
  for (const name of ['OPEN', 'SENDSIZE', 'RECVSIZE', 'RECVSTATUS', 'CLOSE'])
    expect([name, ended.count(`MESSAGE_TYPE_${name}`)]).toEqual([name, expect.toSatisfy((n: number) => n > 0)])
  expect(ended.count('BDOORHB_CMD_MESSAGE')).toBeGreaterThan(0)
})

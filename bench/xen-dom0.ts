/**
 * `node bench/xen-dom0.ts [ROUNDS]`: the default kernel as a PV guest here, and as dom0 of Debian's Xen 4.17 in QEMU's
 * TCG, until the kernel says that init begins, in turn. Ours counts from the start of the process; there the time until
 * the kernel's first line, which is Xen's own, is taken off. Needs qemu-system-x86 and xen-hypervisor-4.17-amd64.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { prepareGuest } from './guest.ts'
import { measureUntil, median, type Sample, table, verdict } from './measure.ts'
import { command } from './peers.ts'

const HYPERVISOR = '/boot/xen-4.17-amd64.gz'
const FIRST_LINE = 'Linux version'
const LAST_LINE = 'Run /init as init process'
/** Issue 5: as many times as fast. */
const GOAL = 4
const APPEND = 'cryptomgr.notests panic=-1'

const [rounds = '3'] = process.argv.slice(2)
const { image, initrd } = await prepareGuest({})
const folder = mkdtempSync(join(tmpdir(), 'paravirt-dom0-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const xen = join(folder, 'xen')
writeFileSync(xen, gunzipSync(readFileSync(HYPERVISOR)))

const guest = [image, '--initrd', initrd, '--memory', '512M', '--append', APPEND]
const ours = await command('run', ...guest, '--on', 'xen-pv')
const options = 'com1=115200,8n1 console=com1 dom0_mem=512M,max:512M dom0_max_vcpus=1 loglvl=error guest_loglvl=none'
// Without SMAP: this QEMU's IRET at CPL 3 reads the stack as the supervisor.
const pc = ['-M', 'pc', '-accel', 'tcg', '-cpu', 'max,-smap', '-m', '768M', '-nodefaults', '-display', 'none']
const boot = [
  '-kernel',
  xen,
  '-append',
  options,
  '-initrd',
  `${image} console=hvc0 earlyprintk=xen ${APPEND},${initrd}`,
]
const dom0 = [...pc, '-serial', 'stdio', '-no-reboot', ...boot]

const here: Sample[] = []
const there: Sample[] = []
for (let round = 0; round < Number(rounds); round++) {
  here.push(await measureUntil(LAST_LINE, ours.command, ours.args))
  there.push(await measureUntil(LAST_LINE, 'qemu-system-x86_64', dom0, /Linux version/))
}
const ofKernel = ({ cpu, lines }: Sample) => cpu - (lines.find(({ text }) => text.includes(FIRST_LINE))?.cpu ?? 0)
const [cpu, peer] = [median(here.map((sample) => sample.cpu)), median(there.map(ofKernel))]
console.log(
  table([
    ['boot to init, CPU s', 'xen-pv here', 'dom0 of Xen in TCG'],
    [`medians of ${rounds}`, cpu.toFixed(2), peer.toFixed(2)],
  ]),
)
verdict(`at least ${GOAL} times as fast: ${(peer / cpu).toFixed(1)}`, peer >= GOAL * cpu)

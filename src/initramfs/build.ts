/**
 * The default guest's initial RAM file system: busybox, our own init (guests/init/init.sh) and whatever files the
 * caller adds. The command to run, if any, is an archive of its own at the end; Linux unpacks one after another.
 */
import { guestScript } from '#guest-scripts'
import { concat, writeCpio } from './cpio.ts'
import type { CpioEntry } from './cpio.ts'

export interface InitramfsOptions {
  /** A static busybox for the guest's processor. */
  busybox: Uint8Array
  /** More files by absolute path; the folders that they need are made. */
  files?: ReadonlyMap<string, CpioEntry> | undefined
  /** A command for /bin/sh; without it there is an interactive shell on the console. */
  exec?: string | undefined
}

const folder = (mode = 0o755): CpioEntry => ({ mode: 0o040000 | mode })
const file = (bytes: Uint8Array | string, mode = 0o644): CpioEntry => ({
  mode: 0o100000 | mode,
  bytes: typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes,
})
const link = (target: string): CpioEntry => ({ mode: 0o120777, bytes: new TextEncoder().encode(target) })

const fstab = `proc /proc proc defaults 0 0
sys /sys sysfs defaults 0 0
pts /dev/pts devpts mode=620,ptmxmode=666 0 0
shm /dev/shm tmpfs mode=1777 0 0
tmp /tmp tmpfs mode=1777 0 0
run /run tmpfs mode=755 0 0
`

/** As on Debian since 12 these are links into /usr: its older packages name the one path, newer ones the other. */
const merged = ['bin', 'sbin', 'lib', 'lib32', 'lib64'] as const
const mergedPath = new RegExp(`^/(${merged.join('|')})(?=/|$)`)

export function buildInitramfs({ busybox, files = new Map(), exec }: InitramfsOptions): Uint8Array {
  const entries = new Map<string, CpioEntry>()
  for (const path of ['/dev', '/etc', '/proc', '/run', '/sys', '/usr', '/var']) entries.set(path, folder())
  for (const name of merged) {
    entries.set(`/usr/${name}`, folder())
    entries.set(`/${name}`, link(`usr/${name}`))
  }
  entries.set('/root', folder(0o700))
  entries.set('/tmp', folder(0o1777))
  // The kernel opens it for init before anything is mounted.
  entries.set('/dev/console', { mode: 0o020600, device: [5, 1] })
  entries.set('/usr/bin/busybox', file(busybox, 0o755))
  entries.set('/usr/bin/sh', link('busybox'))
  entries.set('/init', file(guestScript('init.sh'), 0o755))
  entries.set('/paravirt', folder())
  entries.set('/paravirt/agent', file(guestScript('agent.sh')))
  entries.set('/etc/fstab', file(fstab))
  entries.set('/etc/passwd', file('root:x:0:0:root:/root:/bin/sh\n'))
  entries.set('/etc/group', file('root:x:0:\n'))
  for (const [given, entry] of files) {
    const path = given.replace(mergedPath, '/usr/$1')
    addParents(entries, path)
    entries.set(path, entry)
  }
  const archives = [writeCpio(entries)]
  if (exec !== undefined)
    archives.push(
      writeCpio(
        new Map([
          ['/paravirt', folder()],
          ['/paravirt/exec', file(`${exec}\n`)],
        ]),
      ),
    )
  return concat(archives)
}

function addParents(entries: Map<string, CpioEntry>, path: string): void {
  const parent = path.slice(0, path.lastIndexOf('/'))
  if (parent === '' || entries.has(parent)) return
  addParents(entries, parent)
  entries.set(parent, folder())
}

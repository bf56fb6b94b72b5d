/** What a machine boots: kernel, initramfs and command line, as `run` and `matrix` make them. */
import { readFileSync } from 'node:fs'
import { checkInitrd } from '../boot/initrd.ts'
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import { deviceFiles, type GuestDevices } from '../initramfs/devices.ts'
import { buildInitramfs } from '../initramfs/build.ts'
import type { CpioEntry } from '../initramfs/cpio.ts'
import type { BootPlan } from '../machine/types.ts'
import { busyboxFile } from '../packages/debian.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import { kernelCommandLine, type CommandLineOptions } from './command-line.ts'

export interface GuestOptions extends Omit<CommandLineOptions, 'console'> {
  readonly kernel: Kernel
  readonly platform: PlatformName
  /** The user's own; default: busybox, with a shell or the command. */
  readonly initrd?: Uint8Array | undefined
  readonly exec?: string | undefined
  readonly devices?: GuestDevices | undefined
  /** For the default initramfs; default: Debian's. */
  readonly busybox?: Uint8Array | undefined
  /** For the default initramfs. */
  readonly files?: ReadonlyMap<string, CpioEntry>
}

/** Another system than Linux gets no initramfs of ours, and nothing that it might not understand. */
export async function guestPlan({
  kernel,
  platform,
  initrd,
  exec,
  devices,
  busybox,
  files,
  ...options
}: GuestOptions): Promise<BootPlan> {
  const { console, diskName = 'xvd' }: PlatformDefinition = definitions[platform]
  const linux = kernel.entries.multiboot === undefined
  return {
    kernel,
    initrd: initrd ?? (linux ? await defaultInitramfs({ kernel, exec, devices, busybox, files, diskName }) : undefined),
    cmdline: linux
      ? kernelCommandLine({ ...options, console })
      : [kernel.name, options.append].filter(Boolean).join(' '),
  }
}

async function defaultInitramfs({
  kernel: { bits },
  exec,
  devices,
  busybox,
  files = new Map(),
  diskName,
}: Pick<GuestOptions, 'kernel' | 'exec' | 'devices' | 'busybox' | 'files'> & {
  readonly diskName: string
}): Promise<Uint8Array> {
  return buildInitramfs({
    busybox: busybox ?? readFileSync(await busyboxFile(bits === 64 ? 'amd64' : 'i386')),
    exec,
    files: new Map([...(devices ? deviceFiles(devices, diskName) : []), ...files]),
  })
}

/** Throws InputError for what is no initrd, or one that a guest with so much memory cannot unpack. */
export async function readInitrd(path: string, memory: number): Promise<Uint8Array> {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new InputError(
      `--initrd ${path}: ${code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : message}`,
    )
  }
  await checkInitrd(bytes, `--initrd ${path}`, memory)
  return bytes
}

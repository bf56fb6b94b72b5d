/** `paravirt restore`: a machine goes on from a file. */
import { readSnapshot } from '../library/node.ts'
import { Machine } from '../machine/machine.ts'
import { hardwareOf, identity } from '../machine/snapshot.ts'
import { openSnapshot } from '../snapshot/file.ts'
import { type DeviceOptions, openDevices } from './devices.ts'
import { parseTimeout } from './options.ts'
import { supervise } from './supervise.ts'

export interface RestoreOptions extends DeviceOptions {
  readonly timeout?: string
  readonly stats?: true
  readonly snapshot?: string
}

/** Returns the exit code. */
export async function restore(file: string, options: RestoreOptions): Promise<number> {
  const timeout = options.timeout === undefined ? undefined : parseTimeout(options.timeout)
  const snapshot = await openSnapshot(await readSnapshot(file), identity, file)
  using devices = openDevices(options, hardwareOf(snapshot).platform)
  return await supervise((serial) => Machine.restore(snapshot, { serial, devices }), {
    executing: false,
    timeout,
    stats: options.stats === true,
    snapshot: {
      file: options.snapshot ?? file,
      when: undefined,
      agent: snapshot.header.about['agent'] !== undefined,
    },
  })
}
